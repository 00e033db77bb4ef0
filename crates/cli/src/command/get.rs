//! `holdfast get`: reads an object back.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use holdfast_client::{Client, ClientError, GetReport, MetShard};
use holdfast_protocol::get::{Met, Trouble};
use holdfast_types::{ByteRange, ObjectId};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    bars::Bar,
    connect::ClientArgs,
    failure::Failure,
    output::{self, Voice},
    process, quantity, show,
};

/// Bytes gathered for one write.
const BUFFER_LEN: usize = 1 << 20;

/// Read an object back, verified byte for byte, around whatever is damaged, and say what was met.
#[derive(Debug, Args)]
#[command(
    after_help = "A FILE appears under its name once it is whole; one that is there is replaced with --force only. What is no file (a \
    pipe, a device) gets the bytes as they come, each verified; half of them may have come when the exit code is not 0.\n\
    With standard output as FILE, the summary goes to standard error; with --json as one object on its last line, also \
    of a failure."
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
    /// Failures are never told where the object's bytes go.
    pub(crate) fn voice(&self) -> Voice {
        match (self.client.json, &self.file) {
            (false, _) => Voice::Words,
            (true, Some(path)) if !output::is_dash(path) => Voice::Json,
            (true, _) => Voice::JsonAside,
        }
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        let sink = match &self.file {
            Some(path) if !output::is_dash(path) => Sink::at(path, self.force)?,
            Some(_) => Sink::Stream(Box::new(io::stdout())),
            None if io::stdout().is_terminal() => {
                return Err(Failure::Usage("give a FILE, or - to have the bytes on this terminal".into()));
            }
            None => Sink::Stream(Box::new(io::stdout())),
        };
        let (voice, object, range) = (self.voice(), self.object, self.range);
        let report = self.client.act(|client| async move {
            let range = bounded(&client, object, range).await?;
            let bar = Arc::new(Bar::new("get", voice == Voice::Words));
            let report = match sink {
                Sink::File { path, force } => to_file(&client, object, range, &path, force, bar.clone()).await,
                Sink::Stream(stream) => to_sink(&client, object, range, stream, bar.clone()).await.map(|ended| ended.0),
            };
            bar.finish();
            report
        })?;
        tell(&report, voice)
    }
}

/// Where the bytes go.
enum Sink {
    /// A regular file, which is there when it is whole.
    File { path: PathBuf, force: bool },
    /// Whatever takes bytes as they come: replacing it by a file would take it from its owner.
    Stream(Box<dyn Write + Send>),
}

impl Sink {
    /// Looks at what is there before anything is read.
    fn at(path: &Path, force: bool) -> Result<Self, Failure> {
        let kind = match fs::metadata(path) {
            Ok(found) => found.file_type(),
            // Also a link to nowhere: the file appears where it points to, if it can.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new_file(path, force),
            Err(error) => return Err(Failure::file(path, error)),
        };
        if kind.is_dir() {
            return Err(Failure::Usage(format!("{} is a directory; give the name of a file in it", path.display())));
        }
        // A disk is overwritten as a file is.
        if !force && (kind.is_file() || kind.is_block_device()) {
            return Err(Failure::file(path, "there is a file already; give --force to replace it"));
        }
        if kind.is_file() {
            // The file that a link points to, not the link.
            let path = fs::canonicalize(path).map_err(|error| Failure::file(path, error))?;
            return Ok(Self::File { path, force });
        }
        let stream = OpenOptions::new().write(true).open(path).map_err(|error| Failure::file(path, error))?;
        Ok(Self::Stream(Box::new(stream)))
    }

    fn new_file(path: &Path, force: bool) -> Result<Self, Failure> {
        let linked = fs::symlink_metadata(path).is_ok();
        if linked && !force {
            return Err(Failure::file(path, "there is a link already, to nowhere; give --force to replace it"));
        }
        Ok(Self::File { path: path.to_owned(), force })
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

/// Through a new file beside it, of a name that nobody else's file has.
async fn to_file(
    client: &Client,
    object: ObjectId,
    range: Option<ByteRange>,
    path: &Path,
    force: bool,
    bar: Arc<Bar>,
) -> Result<GetReport, Failure> {
    let part = part(path)?;
    let (report, part) = to_sink(client, object, range, part, bar).await?;
    keep(part, path, force)?;
    Ok(report)
}

/// Goes when it is dropped: what was written is right, but who would look for it under this name?
fn part(path: &Path) -> Result<NamedTempFile, Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file: for whom, the umask says.
    let mode = fs::Permissions::from_mode(0o666);
    let part = tempfile::Builder::new().prefix(".holdfast-get-").suffix(".part").permissions(mode).tempfile_in(dir);
    part.map_err(|error| Failure::file(path, error))
}

fn keep(part: NamedTempFile, path: &Path, force: bool) -> Result<(), Failure> {
    let kept = match force {
        true => part.persist(path),
        // It may have appeared meanwhile.
        false => part.persist_noclobber(path),
    };
    kept.map(drop).map_err(|error| Failure::file(path, error.error))
}

async fn to_sink<W>(
    client: &Client,
    object: ObjectId,
    range: Option<ByteRange>,
    sink: W,
    bar: Arc<Bar>,
) -> Result<(GetReport, W), Failure>
where
    W: Write + Send + 'static,
{
    let sink = BufWriter::with_capacity(BUFFER_LEN, sink);
    let (report, mut sink) = client.get(object, range, sink, bar).await.map_err(|error| match error {
        ClientError::Sink(error) => unwritten(error),
        error => Failure::Client(error),
    })?;
    sink.flush().map_err(unwritten)?;
    let sink = sink.into_inner().map_err(|error| unwritten(error.into_error()))?;
    Ok((report, sink))
}

/// Half an object that passes for a whole one is worse than none: whoever waits for this process must hear of it.
fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::CutOff,
        _ => Failure::Client(ClientError::Sink(error)),
    }
}

fn tell(report: &GetReport, voice: Voice) -> Result<(), Failure> {
    match voice {
        Voice::Words => {}
        Voice::Json => return output::object(&described(report)),
        Voice::JsonAside => {
            output::note(&described(report).to_string());
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_that_is_there_is_touched_before_the_object_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        fs::write(dir.path().join("out.part"), "somebody's").unwrap();
        assert!(matches!(Sink::at(&path, false), Err(Failure::Failed(_))));
        assert!(matches!(Sink::at(dir.path(), true), Err(Failure::Usage(_))), "a directory, with --force too");

        drop(part(&path).unwrap());
        assert_eq!(entries(dir.path()), ["out", "out.part"], "one that failed leaves nothing");
        let mut new = part(&path).unwrap();
        new.write_all(b"new").unwrap();
        let Err(Failure::Failed(_)) = keep(new, &path, false) else { panic!("it appeared meanwhile") };
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut new = part(&path).unwrap();
        new.write_all(b"new").unwrap();
        keep(new, &path, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(dir.path().join("out.part")).unwrap(), b"somebody's");
        assert_eq!(entries(dir.path()), ["out", "out.part"]);
    }

    #[test]
    fn what_is_no_file_is_written_to_and_never_replaced() {
        let Ok(Sink::Stream(mut null)) = Sink::at(Path::new("/dev/null"), true) else { panic!("a device") };
        null.write_all(b"gone").unwrap();
        assert!(matches!(Sink::at(Path::new("/dev/null"), false), Ok(Sink::Stream(_))));

        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        let Ok(Sink::File { path, .. }) = Sink::at(&link, true) else { panic!("a file") };
        assert_eq!(path, fs::canonicalize(&file).unwrap(), "the link stays");
        symlink(dir.path().join("nowhere"), dir.path().join("dangling")).unwrap();
        assert!(Sink::at(&dir.path().join("dangling"), false).is_err());
    }
}
