//! Why a command came to nothing: one sentence for people, one exit code for programs.

use std::{io, path::Path, process::ExitCode};

use holdfast_client::ClientError;
use holdfast_node::NodeError;
use holdfast_transport::TransportError;
use thiserror::Error;

use crate::output::{self, Voice};

/// Why a command came to nothing.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// It was asked for wrongly.
    #[error("{0}")]
    Usage(String),
    /// It did not come to be.
    #[error("{0}")]
    Failed(String),
    /// Put, get, or a question to the auditor.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Certificates and connections.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The storage daemon.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Whoever read our output has enough.
    #[error("the reader of the output went away")]
    ClosedPipe,
    /// Whoever read an object's bytes went away before their end.
    #[error("the reader of the object's bytes went away before their end")]
    CutOff,
    /// A JSON object with the failure is on standard output already.
    #[error("{0}")]
    Told(String),
}

/// Asked for wrongly, as clap has it too.
pub(crate) const USAGE: u8 = 2;
/// 128 and the number of SIGPIPE.
const CUT_OFF: u8 = 141;

impl Failure {
    pub(crate) fn file(path: &Path, error: impl ToString) -> Self {
        Self::Failed(format!("{}: {}", path.display(), error.to_string()))
    }

    /// Says it and answers the exit code.
    pub(crate) fn report(&self, voice: Voice) -> ExitCode {
        match self {
            Self::ClosedPipe => return ExitCode::SUCCESS,
            // As a program that SIGPIPE ended looks to a shell: without a word, and not as a success.
            Self::CutOff => return ExitCode::from(CUT_OFF),
            Self::Usage(_) | Self::Failed(_) | Self::Client(_) | Self::Transport(_) | Self::Node(_) => {
                tell(voice, &self.to_string(), &format!("holdfast: {self}"));
            }
            Self::Told(_) => output::note(&format!("holdfast: {self}")),
        }
        match self {
            // A daemon that is started with a configuration that cannot be run is asked for wrongly: whoever starts it
            // again and again must know.
            Self::Usage(_) | Self::Node(NodeError::Config { .. }) => ExitCode::from(USAGE),
            Self::Failed(_) | Self::Client(_) | Self::Transport(_) | Self::Node(_) | Self::Told(_) => ExitCode::FAILURE,
            Self::ClosedPipe => ExitCode::SUCCESS,
            Self::CutOff => ExitCode::from(CUT_OFF),
        }
    }
}

/// Says a failure, for people and, where that was asked for, for programs: the object is the last line of its stream.
pub(crate) fn tell(voice: Voice, error: &str, words: &str) {
    let object = serde_json::json!({ "ok": false, "error": error });
    if voice == Voice::Json {
        // Nobody may be reading; the exit code says it too.
        let _ = output::object(&object);
    }
    output::note(words);
    if voice == Voice::JsonAside {
        output::note(&object.to_string());
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_had_enough_is_no_failure() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::from(error), Failure::ClosedPipe));
    }
}
