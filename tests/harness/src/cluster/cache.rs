//! Where things live on this machine: never in the checkout.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The cache directory: `$MEDLEY_CACHE`, else `$XDG_CACHE_HOME/medley`, else `$HOME/.cache/medley`.
///
/// # Errors
/// When none of the three variables is set, or the path is not absolute.
pub fn root() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("MEDLEY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("medley")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/medley")))
        .context("no place for the cache: set MEDLEY_CACHE, XDG_CACHE_HOME or HOME")?;
    if !root.is_absolute() {
        bail!(
            "the cache directory must be an absolute path, not `{}`: check MEDLEY_CACHE and XDG_CACHE_HOME",
            root.display()
        );
    }
    Ok(root)
}

/// Where built programs and images live, one directory for each hash of what they are built from.
pub(super) fn clusters() -> Result<PathBuf> {
    Ok(root()?.join("cluster"))
}

/// The paths of one cluster, running or not.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The cluster's name.
    pub name: String,
    /// Everything of a running cluster; gone once it is down.
    pub run: PathBuf,
    /// Held by the supervisor for as long as it lives.
    pub lock: PathBuf,
    /// The logs of the last cluster of this name that was taken down.
    pub last_log: PathBuf,
}

impl Layout {
    /// The paths of the cluster `name`.
    ///
    /// # Errors
    /// When the name is not 1 to 32 characters of `a-z`, `0-9`, `-`, or when the run directory's path is too long for
    /// the Unix sockets in it.
    pub fn of(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            bail!("cluster name `{name}`: use 1 to 32 characters of a-z, 0-9 and -");
        }
        let runs = root()?.join("run");
        let run = runs.join(name);
        // sun_path holds 108 bytes, and the longest socket name is `/containerd.sock.ttrpc`
        if run.as_os_str().len() > 80 {
            bail!(
                "run directory `{}` is too long for Unix sockets (80 bytes at most): set a shorter MEDLEY_CACHE",
                run.display()
            );
        }
        Ok(Self {
            name: name.to_owned(),
            lock: runs.join(format!("{name}.lock")),
            last_log: runs.join(format!("{name}.last-log")),
            run,
        })
    }

    /// The layouts of all clusters that have left a trace here.
    ///
    /// # Errors
    /// When the run directory cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let runs = root()?.join("run");
        let entries = match runs.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", runs.display())),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| format!("reading {}", runs.display()))?.file_name();
            if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".lock")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.iter().map(|name| Self::of(name)).collect()
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.run.join("log")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    pub(super) fn pids(&self) -> PathBuf {
        self.run.join("pid")
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.run.join("pki")
    }

    pub(super) fn control(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    pub(super) fn containerd(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    /// Path of the kubeconfig of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    pub(super) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.run.join(format!("{user}.kubeconfig"))
    }
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first 16 hexadecimal digits of a hash over `parts`; each part counts with its length, so that moving a byte from
/// one part to the next changes the result.
pub(super) fn short_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut text = hex(&hash.finalize());
    text.truncate(16);
    text
}

/// `path` as text.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("path `{}` is not UTF-8", path.display()))
}
