//! The client as its users meet it: `holdfast put` and `holdfast get` as processes of their own, so that what they take
//! of time and memory is theirs alone. Blocking: run beside the runtime.

use std::{
    env,
    io::{self, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Instant,
};

use holdfast_types::ObjectId;
use serde::Deserialize;

use super::content::Content;
use crate::failure::Failure;

/// Bytes compared at once.
const COMPARED_LEN: usize = 1 << 20;

/// What `put --json` says, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct PutAnswer {
    objects: Vec<StoredObject>,
    stored_bytes: u64,
    peak_rss_mb: f64,
}

#[derive(Debug, Deserialize)]
struct StoredObject {
    object: ObjectId,
    bytes: u64,
}

/// What `get --json` says.
#[derive(Debug, Deserialize)]
struct GetAnswer {
    reconstructed: u64,
    peak_rss_mb: f64,
}

/// What was stored.
#[derive(Debug)]
pub(crate) struct Put {
    /// In the order of the contents.
    pub(crate) objects: Vec<ObjectId>,
    pub(crate) bytes: u64,
    pub(crate) stored_bytes: u64,
    /// From the start of the process to its end.
    pub(crate) seconds: f64,
    pub(crate) peak_rss_mb: f64,
}

/// What was read back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) seconds: f64,
    pub(crate) peak_rss_mb: f64,
    /// Segments that had to be decoded.
    pub(crate) reconstructed: u64,
    pub(crate) bytes: u64,
    pub(crate) hash: blake3::Hash,
    /// Where what came differs first from what was stored, length included.
    pub(crate) difference: Option<u64>,
}

fn holdfast(config: &Path, verb: &str) -> Result<Command, Failure> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(verb).arg("--json").arg("--config").arg(config);
    Ok(command)
}

/// Stores all contents in one put.
pub(crate) fn put(config: &Path, contents: &[Content]) -> Result<Put, Failure> {
    let mut command = holdfast(config, "put")?;
    let made = contents.iter().find(|content| matches!(content, Content::Made { .. })).cloned();
    if let Some(Content::Made { len, .. }) = &made {
        command.arg("--name").arg(format!("demo-{len}.bin"));
    }
    command.arg("--");
    for content in contents {
        match content {
            Content::File(path) => command.arg(path),
            Content::Made { .. } => command.arg("-"),
        };
    }
    let began = Instant::now();
    let mut child = spawn(command, if made.is_some() { Stdio::piped() } else { Stdio::null() }, Stdio::inherit())?;
    let feeder = child.stdin.take().zip(made).map(|(mut stdin, content)| {
        // A put that ended early says why itself.
        thread::spawn(move || {
            let mut bytes = content.open()?;
            io::copy(&mut bytes, &mut stdin)?;
            stdin.flush()
        })
    });
    let mut text = String::new();
    let read = child.stdout.take().map(|mut stdout| stdout.read_to_string(&mut text));
    let status = child.wait()?;
    let seconds = began.elapsed().as_secs_f64();
    drop(feeder.map(thread::JoinHandle::join));
    read.transpose()?;
    if !status.success() {
        return Err(Failure::Failed(format!("the put failed ({status}): {}", error_in(&text))));
    }
    let answer: PutAnswer = answer("put", &text)?;
    Ok(Put {
        bytes: answer.objects.iter().map(|object| object.bytes).sum(),
        objects: answer.objects.into_iter().map(|object| object.object).collect(),
        stored_bytes: answer.stored_bytes,
        seconds,
        peak_rss_mb: answer.peak_rss_mb,
    })
}

/// Reads an object and compares it, as it comes, with what was stored.
pub(crate) fn get(config: &Path, object: &ObjectId, content: &Content) -> Result<Got, Failure> {
    let mut command = holdfast(config, "get")?;
    command.arg(object.to_string()).arg("-");
    let began = Instant::now();
    let mut child = spawn(command, Stdio::null(), Stdio::piped())?;
    let words = child.stderr.take().map(|mut stderr| {
        thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        })
    });
    let stdout = child.stdout.take().ok_or_else(|| Failure::Failed("the get has no output".into()))?;
    let compared = compare(stdout, content);
    let status = child.wait()?;
    let seconds = began.elapsed().as_secs_f64();
    let text = match words.map(thread::JoinHandle::join) {
        Some(Ok(text)) => text?,
        Some(Err(_)) | None => String::new(),
    };
    let (bytes, hash, difference) = compared?;
    if !status.success() {
        return Err(Failure::Failed(format!("the get failed ({status}): {}", error_in(&text))));
    }
    let answer: GetAnswer = answer("get", &text)?;
    let GetAnswer { reconstructed, peak_rss_mb } = answer;
    Ok(Got { seconds, peak_rss_mb, reconstructed, bytes, hash, difference })
}

fn spawn(mut command: Command, stdin: Stdio, stderr: Stdio) -> Result<Child, Failure> {
    Ok(command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr).spawn()?)
}

fn compare(mut came: ChildStdout, content: &Content) -> Result<(u64, blake3::Hash, Option<u64>), Failure> {
    let mut stored = content.open()?;
    let (mut here, mut there) = (vec![0; COMPARED_LEN], vec![0; COMPARED_LEN]);
    let (mut hasher, mut bytes, mut difference) = (blake3::Hasher::new(), 0u64, None);
    loop {
        let (got, expected) = (fill(&mut came, &mut here)?, fill(&mut stored, &mut there)?);
        hasher.update(&here[..got]);
        if difference.is_none() && here[..got] != there[..expected] {
            let same = here[..got].iter().zip(&there[..expected]).take_while(|(a, b)| a == b).count();
            difference = Some(bytes + same as u64);
        }
        bytes += got as u64;
        if got < COMPARED_LEN {
            return Ok((bytes, hasher.finalize(), difference));
        }
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a command says of its failure, in JSON or in words.
fn error_in(text: &str) -> String {
    let line = last_line(text);
    let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let error = object.as_ref().and_then(|object| object.get("error")?.as_str());
    error.unwrap_or(line).to_owned()
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
}

fn answer<T: for<'de> Deserialize<'de>>(verb: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(last_line(text))
        .map_err(|error| Failure::Failed(format!("the {verb} answered what is no answer: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_the_commands_own_words() {
        assert_eq!(error_in("progress\n{\"ok\":false,\"error\":\"no room\"}\n\n"), "no room");
        assert_eq!(error_in("holdfast: no room\n"), "holdfast: no room");
        assert_eq!(error_in(""), "it said nothing");
    }

    #[test]
    fn an_answer_with_more_in_it_is_still_one() {
        let text = r#"{"ok":true,"reconstructed":2,"peak_rss_mb":1.5,"later":"more"}"#;
        assert_eq!(answer::<GetAnswer>("get", text).unwrap().reconstructed, 2);
        assert!(answer::<GetAnswer>("get", "{}").is_err());
    }
}
