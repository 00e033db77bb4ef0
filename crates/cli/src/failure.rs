//! Why a command came to nothing: one sentence for people, one exit code for programs.

use std::{io, path::Path, process::ExitCode};

use holdfast_client::ClientError;
use holdfast_node::NodeError;
use holdfast_transport::TransportError;
use thiserror::Error;

use crate::output;

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

/// 128 and the number of SIGPIPE.
const CUT_OFF: u8 = 141;

impl Failure {
    pub(crate) fn file(path: &Path, error: impl ToString) -> Self {
        Self::Failed(format!("{}: {}", path.display(), error.to_string()))
    }

    /// Says it and answers the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        match self {
            Self::ClosedPipe => return ExitCode::SUCCESS,
            // As a program that SIGPIPE ended looks to a shell: without a word, and not as a success.
            Self::CutOff => return ExitCode::from(CUT_OFF),
            Self::Usage(_) | Self::Failed(_) | Self::Client(_) | Self::Transport(_) | Self::Node(_) if json => {
                let object = serde_json::json!({ "ok": false, "error": self.to_string() });
                // Nobody may be reading; the exit code says it too.
                let _ = output::object(&object);
            }
            Self::Usage(_) | Self::Failed(_) | Self::Client(_) | Self::Transport(_) | Self::Node(_) | Self::Told(_) => {
            }
        }
        output::note(&format!("holdfast: {self}"));
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
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
