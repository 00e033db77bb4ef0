//! Where everything of a local cluster lies.
//!
//! ```text
//! DIR/  cluster.toml   lock   log/*.log   pki/ca.pem, ca-key.pem
//!       auditor/auditor.toml, tls/, state/      (catalog, commitment lists, keys)
//!       nodes/n01/node.toml, node.key, tls/, state/
//!       client/client.toml, owner.key, tls/, uploads/
//! ```

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::failure::Failure;

/// Paths of a local cluster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// One supervisor a directory, for as long as this lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

impl Layout {
    /// Makes the directory, for its owner only: keys lie in it.
    pub(crate) fn make(root: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root).and_then(|()| root.canonicalize());
        let layout = Self { root: made.map_err(|error| Failure::file(root, error))? };
        for dir in [layout.log_dir(), layout.auditor_dir(), layout.client_dir()] {
            fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, error))?;
        }
        Ok(layout)
    }

    /// Refuses when another process runs this cluster.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let path = self.root.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| Failure::file(&path, error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Lock(held)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Failure::Failed(format!(
                "another process runs the cluster of {}; use it, stop it, or give another --dir",
                self.root.display()
            ))),
            Err((_, errno)) => Err(Failure::file(&path, errno)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn shape_file(&self) -> PathBuf {
        self.root.join("cluster.toml")
    }

    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn auditor_dir(&self) -> PathBuf {
        self.root.join("auditor")
    }

    pub(crate) fn auditor_config(&self) -> PathBuf {
        self.auditor_dir().join("auditor.toml")
    }

    pub(crate) fn client_dir(&self) -> PathBuf {
        self.root.join("client")
    }

    pub(crate) fn client_config(&self) -> PathBuf {
        self.client_dir().join("client.toml")
    }

    pub(crate) fn node_dir(&self, name: &str) -> PathBuf {
        self.root.join("nodes").join(name)
    }

    pub(crate) fn node_config(&self, name: &str) -> PathBuf {
        self.node_dir(name).join("node.toml")
    }
}

/// Puts a file in place whole: a start that is cut off must not leave half a configuration for the next one.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let staged = path.with_extension("new");
    let written = fs::write(&staged, text).and_then(|()| fs::rename(&staged, path));
    written.map_err(|error| Failure::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_supervisor_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::make(&dir.path().join("deep/cluster")).unwrap();
        let held = layout.lock().unwrap();
        assert!(layout.lock().unwrap_err().to_string().contains("another process"));
        drop(held);
        assert!(layout.lock().is_ok());
    }
}
