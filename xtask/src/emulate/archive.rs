//! The first file system of the emulated machine: a `newc` archive, the form of cpio that the Linux kernel unpacks
//! into memory (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{collections::BTreeSet, path::Path};

const REGULAR: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// The kernel opens /dev/console for its first process: major 5, minor 1.
const CONSOLE: (u32, u32) = (5, 1);

/// Files by absolute path, written in the order they come.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    pub(super) fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), entries: 0, directories: BTreeSet::new() };
        archive.make_directories("dev/console");
        archive.entry("dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
        archive.make_directories("tmp/x");
        archive
    }

    /// Adds an executable file under `path`, and the directories above it.
    pub(super) fn add(&mut self, path: &Path, content: &[u8]) -> Result<(), String> {
        let name = path.to_str().ok_or_else(|| format!("expected a path in UTF-8, got {}", path.display()))?;
        let name = name.trim_start_matches('/');
        self.make_directories(name);
        if u32::try_from(content.len()).is_err() {
            return Err(format!("{name} has {} bytes, an archive takes less than 4 GiB a file", content.len()));
        }
        self.entry(name, REGULAR, (0, 0), content);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn make_directories(&mut self, name: &str) {
        for (at, _) in name.match_indices('/') {
            let directory = &name[..at];
            if self.directories.insert(directory.to_owned()) {
                self.entry(directory, DIRECTORY, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (links, owner, time, checksum) = (1, 0, 0, 0);
        let fields: [u32; 13] = [
            self.entries,
            mode,
            owner,
            owner,
            links,
            time,
            content.len() as u32,
            0,
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            checksum,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_starts_aligned_and_directories_come_before_what_lies_in_them() {
        let mut archive = Archive::new();
        archive.add(Path::new("/lib/deep/file"), b"hello").unwrap();
        let bytes = archive.finish();
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at} after {names:?}");
            let field = |n: usize| {
                let from = at + 6 + 8 * n;
                usize::from_str_radix(std::str::from_utf8(&bytes[from..from + 8]).unwrap(), 16).unwrap()
            };
            let (size, name_len) = (field(6), field(11));
            names.push(String::from_utf8(bytes[at + 110..at + 110 + name_len - 1].to_vec()).unwrap());
            let content = (at + 110 + name_len).next_multiple_of(4);
            if names.last().unwrap() == "lib/deep/file" {
                assert_eq!(&bytes[content..content + size], b"hello");
            }
            at = (content + size).next_multiple_of(4);
        }
        assert_eq!(names, ["dev", "dev/console", "tmp", "lib", "lib/deep", "lib/deep/file", "TRAILER!!!"]);
    }
}
