//! `holdfast put`: stores files.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use holdfast_client::{PutOptions, PutReport, Source};
use serde_json::{Value, json};

use crate::{bars::Bar, connect::ClientArgs, failure::Failure, output, process, show};

/// Store files: sealed with your key, coded, spread over the nodes, durable when it says so.
#[derive(Debug, Args)]
#[command(
    after_help = "All files are acknowledged together. A put of files that was interrupted goes on where it was \
    when the same command is given again; standard input cannot be read twice."
)]
pub(crate) struct Put {
    /// Files; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to call the object, instead of the file's name; for one FILE only
    #[arg(long)]
    name: Option<String>,
    /// The policy, which says how many shards and where [default: the configuration's]
    #[arg(long)]
    policy: Option<String>,
    /// The objects' media type, sealed with them
    #[arg(long, value_name = "TYPE/SUBTYPE")]
    media_type: Option<String>,
    /// Begin anew, even if a put of the same files was interrupted
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Put {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let sources = self.sources()?;
        let options = PutOptions { policy: self.policy, media_type: self.media_type, fresh: self.fresh };
        let json = self.client.json;
        let report = self.client.act(|client| async move {
            let bar = Arc::new(Bar::new("put", !json));
            let report = client.put(sources, options, bar.clone()).await;
            bar.finish();
            Ok(report?)
        })?;
        if json {
            return output::object(&described(&report));
        }
        for object in &report.objects {
            output::line(&format!("{}  {}  {}", object.id, show::bytes(object.bytes), object.name))?;
        }
        if report.resumed_bytes > 0 {
            output::note(&format!("of it, {} were stored by the interrupted run", show::bytes(report.resumed_bytes)));
        }
        if report.owed_shards > 0 {
            output::note(&format!("{} shards found no node yet; repair places them", report.owed_shards));
        }
        let rate = show::mb_per_s(report.bytes, report.seconds);
        output::note(&format!("{} in {:.1} s, {rate:.1} MB/s", show::bytes(report.bytes), report.seconds));
        Ok(())
    }

    fn sources(&self) -> Result<Vec<Source>, Failure> {
        if self.name.is_some() && self.files.len() > 1 {
            return Err(Failure::Usage("--name goes with one FILE; put the others by themselves".into()));
        }
        if self.files.iter().filter(|file| output::is_dash(file)).count() > 1 {
            return Err(Failure::Usage("standard input (-) can be read once only".into()));
        }
        let source = |file: &PathBuf| {
            let source = if output::is_dash(file) { Source::stdin("stdin") } else { Source::file(file) };
            match &self.name {
                Some(name) => source.named(name),
                None => source,
            }
        };
        Ok(self.files.iter().map(source).collect())
    }
}

fn described(report: &PutReport) -> Value {
    let objects: Vec<Value> = report
        .objects
        .iter()
        .map(|object| json!({ "object": object.id, "name": object.name, "bytes": object.bytes, "sealed_bytes": object.sealed }))
        .collect();
    json!({
        "ok": true,
        "upload": report.upload,
        "objects": objects,
        "bytes": report.bytes,
        "resumed_bytes": report.resumed_bytes,
        "stored_bytes": report.stored_bytes,
        "segments": report.segments,
        "owed_shards": report.owed_shards,
        "seconds": show::rounded(report.seconds),
        "mb_per_s": show::mb_per_s(report.bytes, report.seconds),
        "peak_rss_mb": process::own_peak_rss().map(|bytes| show::rounded(bytes as f64 / 1e6)),
    })
}
