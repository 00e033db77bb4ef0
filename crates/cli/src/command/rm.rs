//! `holdfast rm`: deletes objects.

use clap::Args;
use holdfast_types::ObjectId;
use holdfast_wire::ErrorCode;
use serde_json::json;

use crate::{connect::ClientArgs, failure::Failure, output};

/// Delete objects: gone from the catalog at once, from the nodes soon after, also from those that are away now.
///
/// Your key signs a tombstone for each, so that a catalog rebuilt from the nodes does not bring them back. Each is told on
/// its own, and none keeps the others.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Ids as `put` and `ls` print them
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<ObjectId>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Rm {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (objects, json) = (self.objects, self.client.json);
        let went = self.client.act(|client| async move {
            let mut went = Went::default();
            let mut objects = objects.into_iter();
            for object in objects.by_ref() {
                match client.remove(object).await {
                    Ok(true) => went.deleted.push(object),
                    Ok(false) => went.absent.push(object),
                    Err(error) => {
                        went.failed.push((object, error.to_string()));
                        // The auditor is away: the others would each wait for it as long as this one did.
                        if error.code() == ErrorCode::Retry {
                            break;
                        }
                    }
                }
            }
            went.failed.extend(objects.map(|object| (object, "not tried after that".to_owned())));
            Ok(went)
        })?;
        went.tell(json)
    }
}

/// What became of each.
#[derive(Debug, Default)]
struct Went {
    deleted: Vec<ObjectId>,
    absent: Vec<ObjectId>,
    failed: Vec<(ObjectId, String)>,
}

impl Went {
    fn tell(&self, json: bool) -> Result<(), Failure> {
        let Self { deleted, absent, failed } = self;
        let why = self.why();
        if json {
            let told: Vec<_> =
                failed.iter().map(|(object, error)| json!({ "object": object, "error": error })).collect();
            let mut object = json!({ "ok": why.is_none(), "deleted": deleted, "not_there": absent, "failed": told });
            if let Some(why) = &why {
                object["error"] = json!(why);
            }
            output::object(&object)?;
        } else {
            deleted.iter().try_for_each(|object| output::line(&format!("deleted {object}")))?;
            absent.iter().for_each(|object| output::note(&format!("{object}: you have no such object")));
            failed.iter().for_each(|(object, error)| output::note(&format!("{object}: not deleted: {error}")));
        }
        why.map_or(Ok(()), |why| Err(Failure::Told(why)))
    }

    fn why(&self) -> Option<String> {
        let (all, gone) = (self.deleted.len() + self.absent.len() + self.failed.len(), self.deleted.len());
        (gone < all).then(|| {
            let (absent, failed) = (self.absent.len(), self.failed.len());
            format!("{gone} of {all} objects deleted, {absent} were not there, {failed} could not be deleted")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_and_is_gone_is_a_success() {
        let object = ObjectId::from_bytes([1; 32]);
        assert_eq!(Went { deleted: vec![object], ..Went::default() }.why(), None);
        assert!(Went { absent: vec![object], ..Went::default() }.why().is_some());
        assert!(
            Went { deleted: vec![object], failed: vec![(object, "why".into())], ..Went::default() }.why().is_some()
        );
    }
}
