//! `holdfast stat`: an object, its segments, and how each shard stands.

use clap::Args;
use holdfast_client::{ObjectStat, SegmentStat};
use holdfast_protocol::model::Standing;
use holdfast_types::ObjectId;
use serde_json::{Value, json};

use crate::{connect::ClientArgs, failure::Failure, output, show, words};

/// Show an object: what it is, where its shards are, and how they stand.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// The object's id, as `put` and `ls` print it
    object: ObjectId,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Stat {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let id = self.object;
        let stat = self.client.act(|client| async move { Ok(client.stat(id).await?) })?;
        if self.client.json {
            return output::done(described(&stat));
        }
        let summary = &stat.summary;
        let rows = [
            ("object", summary.id.to_string()),
            ("name", summary.name.clone()),
            ("size", format!("{} ({} bytes)", show::bytes(stat.plain_len), stat.plain_len)),
            ("type", stat.media_type.clone().unwrap_or_default()),
            (
                "sealed",
                format!("{} bytes in {}", summary.sealed_len, show::count(stat.segments.len() as u64, "segment")),
            ),
            ("policy", stat.policy.clone()),
            ("stored", show::time(stat.created)),
        ];
        let rows = rows.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| vec![key.to_owned(), text]);
        output::table(&["", ""], &rows.collect::<Vec<_>>())?;
        stat.segments.iter().try_for_each(print)
    }
}

fn print(segment: &SegmentStat) -> Result<(), Failure> {
    let (code, good, spare) = (segment.code, segment.good(), segment.spare());
    let total = code.total();
    let silent = match good - segment.within_reach() {
        0 => String::new(),
        silent => format!(" ({silent} of them on silent nodes)"),
    };
    output::line("")?;
    output::line(&format!(
        "segment {}: {} sealed bytes, {code}, {good} of {total} shards good{silent}, {spare} to spare",
        segment.id, segment.len
    ))?;
    let row = |shard: &holdfast_client::ShardStat| {
        let (index, id) = (shard.index.to_string(), shard.shard.to_string());
        vec![index, id, standing(shard), words::commitment(shard.commitment).into(), shard.node.to_string()]
    };
    output::table(
        &["#", "SHARD", "STANDING", "COMMITMENTS", "NODE"],
        &segment.shards.iter().map(row).collect::<Vec<_>>(),
    )
}

fn standing(shard: &holdfast_client::ShardStat) -> String {
    let mut told = match &shard.standing {
        Standing::Good => "good".into(),
        Standing::Lost => "lost".into(),
        Standing::Damaged(ranges) => {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            format!("damaged {}", ranges.join(","))
        }
    };
    if shard.silent {
        told.push_str(", node silent");
    }
    told
}

fn described(stat: &ObjectStat) -> Value {
    json!({
        "object": stat.summary.id,
        "name": stat.summary.name,
        "names": stat.names,
        "media_type": stat.media_type,
        "policy": stat.policy,
        "bytes": stat.plain_len,
        "sealed_bytes": stat.summary.sealed_len,
        "created_unix_ms": stat.created.0,
        "segments": stat.segments.iter().map(described_segment).collect::<Vec<_>>(),
    })
}

fn described_segment(segment: &SegmentStat) -> Value {
    let shard = |shard: &holdfast_client::ShardStat| {
        let (word, ranges) = match &shard.standing {
            Standing::Good => ("good", Vec::new()),
            Standing::Lost => ("lost", Vec::new()),
            Standing::Damaged(ranges) => ("damaged", ranges.iter().map(|range| show::pair(*range)).collect()),
        };
        json!({
            "index": shard.index, "shard": shard.shard, "node": shard.node, "standing": word,
            "damaged": ranges, "silent": shard.silent, "commitments": shard.commitment.map(|it| words::commitment(Some(it))),
        })
    };
    json!({
        "segment": segment.id,
        "root": segment.root,
        "bytes": segment.len,
        "object_bytes": segment.object_len,
        "data": segment.code.data(),
        "parity": segment.code.parity(),
        "shard_bytes": segment.shard_len,
        "shards_held": segment.good(),
        "within_reach": segment.within_reach(),
        "spare": segment.spare(),
        "shards": segment.shards.iter().map(shard).collect::<Vec<_>>(),
    })
}
