//! `holdfast put`: stores files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use holdfast_client::{Commit, ManyReport, Outcome, PutObject, PutOptions, PutReport, Source};
use serde_json::{Value, json};

use crate::{bars::Bar, connect::ClientArgs, failure::Failure, output, process, show};

/// Store files: sealed with your key, coded, spread over the nodes, durable when it says so.
#[derive(Debug, Args)]
#[command(
    after_help = "Of several files, or a directory's, each is acknowledged on its own: a line says that it is durable. Small \
    ones share segments and round trips. A put that was interrupted goes on where it was when the same command is given \
    again; standard input cannot be read twice."
)]
pub(crate) struct Put {
    /// Files; - for standard input; of a directory all regular files, named by their path in it
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
    /// When the shards' commitments are computed, without which an audit covers samples only
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    commit: When,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// When, and by whom, commitments are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum When {
    /// By the nodes, in the background after the put
    #[default]
    Later,
    /// Here, before the put ends: at 8+4 each GB takes about 350 s of one core without AVX-512 IFMA; all cores share it
    Now,
}

impl Put {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let many = self.files.len() > 1 || self.files.iter().any(|file| file.is_dir());
        let mut sources = self.sources(many)?;
        let Self { name, policy, media_type, fresh, commit, client, .. } = self;
        let commit = match commit {
            When::Later => Commit::Later,
            When::Now => Commit::Now,
        };
        let options = PutOptions { policy, media_type, fresh, commit };
        if many {
            return put_many(&client, sources, options);
        }
        if let Some(name) = name
            && let Some(source) = sources.pop()
        {
            sources.push(source.named(name));
        }
        put_one(&client, sources, options)
    }

    fn sources(&self, many: bool) -> Result<Vec<Source>, Failure> {
        if self.name.is_some() && many {
            return Err(Failure::Usage("--name goes with one FILE; put the others by themselves".into()));
        }
        if self.files.iter().filter(|file| output::is_dash(file)).count() > 1 {
            return Err(Failure::Usage("standard input (-) can be read once only".into()));
        }
        let mut sources = Vec::new();
        for file in &self.files {
            match file {
                dash if output::is_dash(dash) => sources.push(Source::stdin("stdin")),
                directory if directory.is_dir() => below(directory, &mut sources)?,
                file => sources.push(Source::file(file)),
            }
        }
        match sources.is_empty() {
            true => Err(Failure::Usage("there is no regular file in it; give one to put".into())),
            false => Ok(sources),
        }
    }
}

/// The regular files of a directory, in order of their paths. What a link points to may lie anywhere and be there
/// twice: links are left out.
fn below(root: &Path, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| Failure::file(path, error);
    let mut open = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| failed(&directory, error))? {
            let entry = entry.map_err(|error| failed(&directory, error))?;
            let kind = entry.file_type().map_err(|error| failed(&entry.path(), error))?;
            match kind {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => output::note(&format!("{} is no regular file and is left out", entry.path().display())),
            }
        }
    }
    files.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    sources.extend(files.iter().map(|path| Source::file(path).named(name(path))));
    Ok(())
}

fn put_one(client: &ClientArgs, sources: Vec<Source>, options: PutOptions) -> Result<(), Failure> {
    let json = client.json;
    let report = client.act(|client| async move {
        let bar = Arc::new(Bar::new("put", !json));
        let told = bar.clone();
        // Told before the put is forgotten: killed in between, the same command prints the same id.
        let tell = move |report: &PutReport| {
            told.finish();
            if json { output::object(&described(report)) } else { report.objects.iter().try_for_each(line) }
        };
        let report = client.put_and_tell(sources, options, bar.clone(), tell).await;
        bar.finish();
        report
    })?;
    if !json {
        tell_commitments(report.committed_bytes, report.commit_seconds);
        summarise(report.bytes, report.resumed_bytes, report.owed_shards, report.seconds);
    }
    Ok(())
}

fn put_many(client: &ClientArgs, sources: Vec<Source>, options: PutOptions) -> Result<(), Failure> {
    let json = client.json;
    let (mut stored, mut failed) = (BTreeMap::new(), BTreeMap::new());
    let (objects, errors) = (&mut stored, &mut failed);
    let report = client.act(|client| async move {
        let bar = Arc::new(Bar::new("put", !json));
        let told = bar.clone();
        let tell = |outcome: Outcome<'_>| {
            match outcome.stored {
                // The one object that JSON promises comes at the end.
                Ok(object) if json => drop(objects.insert(outcome.source, entry(object))),
                Ok(object) => told.above(|| line(object))?,
                Err(error) => {
                    let words = json!({ "name": outcome.name, "error": error.to_string() });
                    errors.insert(outcome.source, words);
                    told.above(|| output::note(&format!("not stored: {}: {error}", outcome.name)));
                }
            }
            Ok::<_, Failure>(())
        };
        let report = client.put_many(sources, options, bar.clone(), tell).await;
        bar.finish();
        report
    })?;
    if json {
        output::object(&described_many(&report, stored.into_values(), failed.into_values()))?;
    } else {
        tell_commitments(report.committed_bytes, report.commit_seconds);
        summarise(report.bytes, report.resumed_bytes, report.owed_shards, report.seconds);
    }
    match report.failed {
        0 => Ok(()),
        failed => Err(Failure::Told(format!("{failed} of {} files were not stored", failed + report.objects))),
    }
}

/// What was computed here instead of on the nodes, so that nobody has to guess what it costs.
fn tell_commitments(bytes: u64, seconds: f64) {
    if bytes > 0 {
        let rate = show::mb_per_s(bytes, seconds);
        output::note(&format!("committed to {} of shards in {seconds:.1} s, {rate:.1} MB/s", show::bytes(bytes)));
    }
}

fn summarise(bytes: u64, resumed: u64, owed: u64, seconds: f64) {
    if resumed > 0 {
        output::note(&format!("of it, {} were stored by the interrupted run", show::bytes(resumed)));
    }
    if owed > 0 {
        output::note(&format!("{owed} shards found no node yet; repair places them"));
    }
    let rate = show::mb_per_s(bytes, seconds);
    output::note(&format!("{} in {seconds:.1} s, {rate:.1} MB/s", show::bytes(bytes)));
}

fn entry(object: &PutObject) -> Value {
    json!({ "object": object.id, "name": object.name, "bytes": object.bytes, "sealed_bytes": object.sealed })
}

fn described_many(
    report: &ManyReport,
    objects: impl Iterator<Item = Value>,
    failed: impl Iterator<Item = Value>,
) -> Value {
    json!({
        "ok": report.failed == 0,
        "objects": objects.collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "uploads": report.uploads,
        "bytes": report.bytes,
        "resumed_bytes": report.resumed_bytes,
        "stored_bytes": report.stored_bytes,
        "segments": report.segments,
        "owed_shards": report.owed_shards,
        "committed_bytes": report.committed_bytes,
        "commit_seconds": show::rounded(report.commit_seconds),
        "seconds": show::rounded(report.seconds),
        "objects_per_s": show::rounded(report.objects as f64 / report.seconds.max(1e-9)),
        "mb_per_s": show::mb_per_s(report.bytes, report.seconds),
        "peak_rss_mb": process::own_peak_rss().map(|bytes| show::rounded(bytes as f64 / 1e6)),
    })
}

fn line(object: &PutObject) -> Result<(), Failure> {
    output::line(&format!("{}  {}  {}", object.id, show::bytes(object.bytes), object.name))
}

fn described(report: &PutReport) -> Value {
    let objects: Vec<Value> = report.objects.iter().map(entry).collect();
    json!({
        "ok": true,
        "upload": report.upload,
        "objects": objects,
        "bytes": report.bytes,
        "resumed_bytes": report.resumed_bytes,
        "stored_bytes": report.stored_bytes,
        "segments": report.segments,
        "owed_shards": report.owed_shards,
        "committed_bytes": report.committed_bytes,
        "commit_seconds": show::rounded(report.commit_seconds),
        "seconds": show::rounded(report.seconds),
        "mb_per_s": show::mb_per_s(report.bytes, report.seconds),
        "peak_rss_mb": process::own_peak_rss().map(|bytes| show::rounded(bytes as f64 / 1e6)),
    })
}
