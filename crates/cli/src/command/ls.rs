//! `holdfast ls`: the caller's objects.

use clap::Args;
use serde_json::json;

use crate::{connect::ClientArgs, failure::Failure, output, show};

/// List your objects.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Ls {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let objects = self.client.ask(|auditor| async move { Ok(auditor.objects().await?) })?;
        if self.client.json {
            let described = |object: &holdfast_wire::convert::ObjectSummary| {
                json!({
                    "object": object.id,
                    "name": object.name,
                    "bytes": object.plain_len,
                    "sealed_bytes": object.sealed_len,
                    "created_unix_ms": object.created.0,
                })
            };
            return output::done(json!({ "objects": objects.iter().map(described).collect::<Vec<_>>() }));
        }
        let rows: Vec<_> = objects
            .iter()
            .map(|object| {
                let created = show::time(object.created);
                vec![object.id.to_string(), show::bytes(object.plain_len), created, object.name.clone()]
            })
            .collect();
        output::table(&["OBJECT", "SIZE", "STORED", "NAME"], &rows)
    }
}
