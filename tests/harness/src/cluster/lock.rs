//! Locks that end with the process that holds them, however it dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::process::Record;

/// An exclusive lock on a file; the file's text names the holder.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock if it is free.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => {
                    return Ok(Some(Self { file, path: path.to_owned() }));
                }
                // its last holder removed the file between the opening and the locking
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
    }

    /// Takes the lock, calling `waiting` once if another process holds it.
    pub(super) fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        waiting();
        loop {
            let file = open(path)?;
            file.lock().with_context(|| format!("locking {}", path.display()))?;
            if is_at(&file, path) {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Gives the lock up and removes its file.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }

    /// Writes who holds it.
    pub(super) fn sign(&mut self, holder: &Holder) -> Result<()> {
        let text = serde_json::to_string(holder)?;
        let path = &self.path;
        self.file.set_len(0).with_context(|| format!("writing {}", path.display()))?;
        self.file.rewind().with_context(|| format!("writing {}", path.display()))?;
        self.file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
    }
}

/// Who holds a lock.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Holder {
    /// The supervisor.
    pub(super) process: Record,
    /// Name of its cluster.
    pub(super) name: String,
    /// Run directory of its cluster.
    pub(super) run: PathBuf,
    /// The command that started it.
    pub(super) command: String,
}

/// Who signed the lock last: the holder, if the lock is held.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether `path` still names the open file: a lock on a removed one excludes nobody.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

fn open(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_free_again_with_or_without_its_file() {
        let path = std::env::temp_dir().join(format!("medley-lock-{}", std::process::id()));
        let first = Lock::try_take(&path).unwrap().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(first);
        let second = Lock::try_take(&path).unwrap().unwrap();
        // one that was opened before the removal must not count as the lock of the new file
        let stale = open(&path).unwrap();
        second.remove().unwrap();
        assert!(!path.exists());
        stale.try_lock().unwrap();
        assert!(!is_at(&stale, &path));
        Lock::try_take(&path).unwrap().unwrap().remove().unwrap();
    }
}
