//! `holdfast get`: reads an object back.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use holdfast_client::{Client, ClientError, GetReport, MetShard};
use holdfast_protocol::get::{Met, Trouble};
use holdfast_types::{ByteRange, ObjectId};
use serde_json::{Value, json};

use crate::{bars::Bar, connect::ClientArgs, failure::Failure, output, process, quantity, show};

/// Bytes gathered for one write.
const BUFFER_LEN: usize = 1 << 20;

/// Read an object back, verified byte for byte, around whatever is damaged, and say what was met.
#[derive(Debug, Args)]
#[command(
    after_help = "A FILE appears under its name once it is whole. With standard output as FILE, the summary goes to standard error."
)]
pub(crate) struct Get {
    /// The object's id, as `put` and `ls` print it
    object: ObjectId,
    /// Where to; - for standard output, which is also meant when it is absent and output is redirected
    file: Option<PathBuf>,
    /// Only these bytes, half open, for instance 0..1MiB or 4096..
    #[arg(long, value_name = "A..B", value_parser = quantity::range)]
    range: Option<(u64, Option<u64>)>,
    /// Overwrite FILE
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl Get {
    /// Whether failures go to standard output too: not where the object's bytes go.
    pub(crate) fn wants_json(&self) -> bool {
        self.client.json && self.file.as_deref().is_some_and(|file| !output::is_dash(file))
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        let path = match &self.file {
            Some(path) if !output::is_dash(path) => Some(path.clone()),
            Some(_) => None,
            None if io::stdout().is_terminal() => {
                return Err(Failure::Usage("give a FILE, or - to have the bytes on this terminal".into()));
            }
            None => None,
        };
        let (json, object, range) = (self.client.json, self.object, self.range);
        let to_stdout = path.is_none();
        if let Some(path) = path.as_deref().filter(|path| path.exists() && !self.force) {
            return Err(Failure::file(path, "there is a file already; give --force to replace it"));
        }
        let report = self.client.act(|client| async move {
            let range = bounded(&client, object, range).await?;
            let bar = Arc::new(Bar::new("get", !json));
            let report = match path {
                Some(path) => to_file(&client, object, range, &path, bar.clone()).await,
                None => to_sink(&client, object, range, io::stdout(), bar.clone()).await,
            };
            bar.finish();
            report
        })?;
        tell(&report, json, to_stdout)
    }
}

/// A range without an end goes on to the object's.
async fn bounded(
    client: &Client,
    object: ObjectId,
    range: Option<(u64, Option<u64>)>,
) -> Result<Option<ByteRange>, Failure> {
    let Some((from, to)) = range else { return Ok(None) };
    let to = match to {
        Some(to) => to,
        None => client.auditor().object(object).await?.summary.plain_len,
    };
    let beyond = || Failure::Usage(format!("object {object} has {to} bytes, expected a range inside, got {from}.."));
    ByteRange::new(from, to).map(Some).ok_or_else(beyond)
}

async fn to_file(
    client: &Client,
    object: ObjectId,
    range: Option<ByteRange>,
    path: &Path,
    bar: Arc<Bar>,
) -> Result<GetReport, Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let file = File::create(&part).map_err(|error| Failure::file(&part, error))?;
    match to_sink(client, object, range, file, bar).await {
        Ok(report) => {
            fs::rename(&part, path).map_err(|error| Failure::file(path, error))?;
            Ok(report)
        }
        Err(failure) => {
            // What was written is right, but who would look for it under this name?
            let _ = fs::remove_file(&part);
            Err(failure)
        }
    }
}

async fn to_sink<W>(
    client: &Client,
    object: ObjectId,
    range: Option<ByteRange>,
    sink: W,
    bar: Arc<Bar>,
) -> Result<GetReport, Failure>
where
    W: Write + Send + 'static,
{
    let sink = BufWriter::with_capacity(BUFFER_LEN, sink);
    let (report, mut sink) = client.get(object, range, sink, bar).await.map_err(|error| match error {
        ClientError::Sink(error) => unwritten(error),
        error => Failure::Client(error),
    })?;
    sink.flush().map_err(unwritten)?;
    Ok(report)
}

/// Half an object that passes for a whole one is worse than none: whoever waits for this process must hear of it.
fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::CutOff,
        _ => Failure::Client(ClientError::Sink(error)),
    }
}

fn tell(report: &GetReport, json: bool, to_stdout: bool) -> Result<(), Failure> {
    if json {
        let object = described(report);
        if to_stdout {
            output::note(&object.to_string());
            return Ok(());
        }
        return output::object(&object);
    }
    for met in &report.met {
        let (shard, node) = (met.shard, met.node);
        output::note(&format!(
            "{}: shard {shard} of segment {} on {node}; read around it",
            words(&met.what),
            met.segment
        ));
    }
    let rate = show::mb_per_s(report.bytes, report.seconds);
    output::note(&format!("{} in {:.1} s, {rate:.1} MB/s", show::bytes(report.bytes), report.seconds));
    if report.is_damaged() {
        output::note("the bytes are right; `holdfast stat` and `holdfast repair ls` show what becomes of the damage");
    }
    Ok(())
}

fn words(met: &Met) -> String {
    match met {
        Met::Trouble(Trouble::Corrupt) => "wrong bytes".into(),
        Met::Trouble(Trouble::Damaged(_)) => "damaged, says its node".into(),
        Met::Trouble(Trouble::Missing) => "missing, says its node".into(),
        Met::Trouble(Trouble::Silent) => "no answer".into(),
        Met::Trouble(Trouble::Busy { .. }) => "its node is busy".into(),
        Met::Trouble(Trouble::Refused(why)) => format!("refused ({why})"),
        Met::Known(_) => "known to be damaged".into(),
        Met::Slow(_) => "slow".into(),
    }
}

fn described(report: &GetReport) -> Value {
    let met = |met: &MetShard| json!({ "segment": met.segment, "index": met.index, "shard": met.shard, "node": met.node, "what": words(&met.what) });
    json!({
        "ok": true,
        "object": report.object,
        "name": report.name,
        "object_bytes": report.object_len,
        "bytes": report.bytes,
        "fetched_bytes": report.fetched_bytes,
        "segments": report.segments,
        "reconstructed": report.reconstructed,
        "damaged": report.is_damaged(),
        "met": report.met.iter().map(met).collect::<Vec<_>>(),
        "seconds": show::rounded(report.seconds),
        "mb_per_s": show::mb_per_s(report.bytes, report.seconds),
        "peak_rss_mb": process::own_peak_rss().map(|bytes| show::rounded(bytes as f64 / 1e6)),
    })
}
