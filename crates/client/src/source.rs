//! Where the bytes of a put come from. Only files can be read again, so only a put of files can be
//! resumed after a crash of the client.

use std::{
    fmt,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use holdfast_wire::convert::NAME_LEN_MAX;

use crate::ClientError;

/// One object to be.
pub struct Source {
    name: String,
    origin: Origin,
}

/// Where its bytes come from.
pub(crate) enum Origin {
    File(PathBuf),
    Stream(Box<dyn Read + Send>),
}

impl Source {
    /// A file; the object is called like it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { name, origin: Origin::File(path) }
    }

    /// Standard input, to its end. Cannot be resumed.
    pub fn stdin(name: impl Into<String>) -> Self {
        Self::reader(name, io::stdin())
    }

    /// These bytes. Cannot be resumed.
    pub fn bytes(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::reader(name, Cursor::new(bytes))
    }

    /// Whatever can be read, to its end. Cannot be resumed.
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), origin: Origin::Stream(Box::new(reader)) }
    }

    /// Calls the object otherwise: at most 1024 bytes, readable for the auditor.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What the object will be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) => Some(path),
            Origin::Stream(_) => None,
        }
    }

    /// The same once more, if it can be read again.
    pub(crate) fn again(&self) -> Option<Self> {
        Some(Self { name: self.name.clone(), origin: Origin::File(self.path()?.to_owned()) })
    }

    pub(crate) fn into_origin(self) -> Origin {
        self.origin
    }

    /// A name that the auditor will take, so that a long put does not end with a refusal.
    pub(crate) fn accept(&self) -> Result<(), ClientError> {
        if self.name.len() > NAME_LEN_MAX || self.name.chars().any(char::is_control) {
            let got: String = self.name.escape_debug().take(80).collect();
            return Err(ClientError::Invalid(format!(
                "expected a name of at most {NAME_LEN_MAX} bytes without control characters, got {got:?}; name the object otherwise"
            )));
        }
        Ok(())
    }

    /// Bytes of the file, as far as is known before it is read; 0 for streams.
    pub(crate) fn len_hint(&self) -> Result<u64, ClientError> {
        let Some(path) = self.path() else { return Ok(0) };
        let metadata = path.metadata().map_err(|error| self.failed(error))?;
        if metadata.is_dir() {
            return Err(ClientError::Invalid(format!(
                "{} is a directory; expected a file: put its files one by one",
                path.display()
            )));
        }
        Ok(metadata.len())
    }

    fn failed(&self, error: io::Error) -> ClientError {
        let name = self.path().map_or_else(|| self.name.clone(), |path| path.display().to_string());
        ClientError::Source { name, error }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("path", &self.path()).finish_non_exhaustive()
    }
}
