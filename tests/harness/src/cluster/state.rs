//! What is known about a running cluster: one file in its run directory, written by its supervisor alone.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::cache::Layout;
use super::lock;
use super::process::Record;
use super::{Profile, Spec};

/// How far a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On the way up.
    Starting,
    /// Up: every component answered once.
    Ready,
}

/// A running cluster as its supervisor describes it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// The cluster's name.
    pub name: String,
    /// What it consists of.
    pub profile: Profile,
    /// How many nodes it was asked to have.
    pub nodes: u32,
    /// How far it is.
    pub phase: Phase,
    /// The directory of its programs.
    pub bin: PathBuf,
    /// The command that started it.
    pub command: String,
    /// When it was started, in seconds of Unix time.
    pub started: u64,
    /// Value of [`super::supervisor::MARK`] in the environment of everything the owner's command started.
    pub(super) mark: String,
    pub(super) supervisor: Record,
}

impl State {
    pub(super) fn new(spec: &Spec, bin: PathBuf) -> Result<Self> {
        Ok(Self {
            name: spec.name.clone(),
            profile: spec.profile,
            nodes: spec.nodes,
            phase: Phase::Starting,
            bin,
            command: spec.command.clone(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            mark: spec.mark.clone(),
            supervisor: Record::own()?,
        })
    }

    /// Replaces the file in one step, so that a reader never sees half of it.
    pub(super) fn save(&self, layout: &Layout) -> Result<()> {
        let path = file(layout);
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_vec_pretty(self)?).with_context(|| format!("writing {}", part.display()))?;
        fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// The state of the cluster of this layout, whether its supervisor still lives or not; `None` without a file.
    pub(super) fn stored(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(layout)).ok()?).ok()
    }

    /// The state of the cluster of this layout if its supervisor lives.
    #[must_use]
    pub fn running(layout: &Layout) -> Option<Self> {
        Self::stored(layout).filter(|state| state.supervisor.alive())
    }

    /// Pid of the process that started all others.
    #[must_use]
    pub fn supervisor_pid(&self) -> i32 {
        self.supervisor.pid
    }
}

/// The holder of a cluster's lock, if that process lives.
pub(super) fn holder(layout: &Layout) -> Option<lock::Holder> {
    lock::holder(&layout.lock).filter(|holder| holder.process.alive())
}

fn file(layout: &Layout) -> PathBuf {
    layout.run.join("cluster.json")
}
