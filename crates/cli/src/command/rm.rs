//! `holdfast rm`: deletes objects.

use clap::Args;
use holdfast_types::ObjectId;
use serde_json::json;

use crate::{connect::ClientArgs, failure::Failure, output};

/// Delete objects: gone from the catalog at once, from the nodes soon after, also from those that are away now.
///
/// Your key signs a tombstone for each, so that a catalog rebuilt from the nodes does not bring them back.
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
        let objects = self.objects;
        let deleted = self.client.act(|client| async move {
            for object in &objects {
                client.remove(*object).await?;
            }
            Ok(objects)
        })?;
        if self.client.json {
            return output::object(&json!({ "deleted": deleted }));
        }
        deleted.iter().try_for_each(|object| output::line(&format!("deleted {object}")))
    }
}
