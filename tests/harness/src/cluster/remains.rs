//! What a cluster leaves behind when it did not end in good order, and how that goes away.
//!
//! Everything here may run at any time and any number of times; callers hold the cluster's lock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::cache::Layout;
use super::lock::Lock;
use super::process::{Record, kill_marked, output, poll};
use super::state::State;
use super::supervisor::MARK;
use super::{packages, programs};

/// The host's end of the veth pair.
pub(super) const HOST_LINK: &str = "medley0";
/// The cgroup, in every hierarchy, that holds the pods of the real node.
pub(super) const CGROUP: &str = "medley-node";
/// What kubelet writes and no namespace covers.
const SYSCTLS: [&str; 3] = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];
/// State of the one node profile cluster a machine can have. Not in the cache, since another user of the machine may
/// have another cache; gone at the next boot, like all it describes.
const MACHINE: &str = "/run/medley-cluster-node";

/// The lock of the node profile.
pub(super) fn machine_lock() -> PathBuf {
    Path::new(MACHINE).join("lock")
}

/// Removes what is left of the cluster itself: processes and run directory. Its logs are kept as the last ones.
pub(super) fn clear(layout: &Layout) -> Result<()> {
    for record in records(layout) {
        record.signal(Signal::KILL);
    }
    for record in records(layout) {
        if !record.gone_within(Duration::from_secs(20)) {
            bail!("process {} does not end although it was killed", record.pid);
        }
    }
    if let Some(state) = State::stored(layout) {
        kill_marked(MARK, &state.mark);
    }
    if layout.logs().is_dir() {
        programs::remove(&layout.last_log)?;
        fs::rename(layout.logs(), &layout.last_log)
            .with_context(|| format!("keeping the logs in {}", layout.last_log.display()))?;
        forget_old_logs(layout)?;
    }
    programs::remove(&layout.run)
}

/// Keeps the logs of the last few clusters only: tests give their clusters ever new names.
fn forget_old_logs(layout: &Layout) -> Result<()> {
    const KEPT: usize = 8;
    let Some(dir) = layout.last_log.parent() else {
        return Ok(());
    };
    let mut logs = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("reading {}", dir.display()))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "last-log") {
            // one that another process is removing has no age any more
            let Ok(age) = entry.metadata().and_then(|meta| meta.modified()) else {
                continue;
            };
            logs.push((age, path));
        }
    }
    logs.sort();
    let old = logs.len().saturating_sub(KEPT);
    logs.into_iter().take(old).try_for_each(|(_, path)| programs::remove(&path))
}

/// The processes that the cluster's supervisor wrote down.
fn records(layout: &Layout) -> Vec<Record> {
    let Ok(entries) = layout.pids().read_dir() else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).collect()
}

/// Removes what is left of the machine's node profile cluster, unless a living one has it.
pub(super) fn clear_idle_machine() -> Result<()> {
    // without root nobody could have made one, nor can anybody remove it
    if !Path::new(MACHINE).is_dir() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match Lock::try_take(&machine_lock())? {
        Some(_lock) => clear_machine(),
        None => Ok(()),
    }
}

/// Removes what is left of the machine's node profile cluster; the caller holds the machine's lock.
pub(super) fn clear_machine() -> Result<()> {
    // gone with the node's namespace already, but for one that died before the node was there
    if link().exists() {
        let deleted = output(Command::new("ip").env("PATH", packages::search_path()).args(["link", "del", HOST_LINK]));
        if !poll(Duration::from_secs(10), Duration::from_millis(20), || !link().exists()) {
            deleted.with_context(|| format!("removing the link {HOST_LINK}"))?;
            bail!("the link {HOST_LINK} does not go away");
        }
    }
    for dir in cgroups() {
        // a cgroup stays busy until the last process in it is reaped
        let gone = poll(Duration::from_secs(20), Duration::from_millis(20), || remove_cgroup(&dir).is_ok());
        if !gone {
            remove_cgroup(&dir).with_context(|| format!("removing the cgroup {}", dir.display()))?;
        }
    }
    restore_sysctls()
}

fn link() -> PathBuf {
    Path::new("/sys/class/net").join(HOST_LINK)
}

/// Makes the cgroup that kubelet is told to put pods in; it does not make it itself.
pub(super) fn make_cgroups() -> Result<()> {
    for hierarchy in hierarchies() {
        let dir = hierarchy.join(CGROUP);
        fs::create_dir_all(&dir).with_context(|| format!("creating the cgroup {}", dir.display()))?;
    }
    Ok(())
}

fn cgroups() -> impl Iterator<Item = PathBuf> {
    hierarchies().into_iter().map(|hierarchy| hierarchy.join(CGROUP)).filter(|dir| dir.is_dir())
}

/// The one hierarchy of cgroup v2, or the several of v1.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let Ok(entries) = root.read_dir() else {
        return Vec::new();
    };
    // a directory per controller; two controllers of one hierarchy are links to it
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Children first: a cgroup with children cannot be removed, and its files go by themselves.
fn remove_cgroup(dir: &Path) -> std::io::Result<()> {
    for entry in dir.read_dir()?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// Remembers the sysctls before kubelet writes them.
pub(super) fn save_sysctls() -> Result<()> {
    let mut saved = Vec::new();
    for name in SYSCTLS {
        let path = Path::new("/proc/sys").join(name);
        let value = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        saved.push((name, value.trim().to_owned()));
    }
    let file = saved_sysctls();
    let part = file.with_extension("part");
    fs::write(&part, serde_json::to_vec(&saved)?).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, &file).with_context(|| format!("writing {}", file.display()))
}

fn restore_sysctls() -> Result<()> {
    let file = saved_sysctls();
    let text = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.with_context(|| format!("reading {}", file.display()))?,
    };
    let saved: Vec<(String, String)> =
        serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    for (name, value) in saved {
        let path = Path::new("/proc/sys").join(name);
        // writing some of them is refused in a container even when nothing changes
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
            continue;
        }
        fs::write(&path, &value).with_context(|| format!("setting {} back to {value}", path.display()))?;
    }
    fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))
}

fn saved_sysctls() -> PathBuf {
    Path::new(MACHINE).join("sysctl.json")
}
