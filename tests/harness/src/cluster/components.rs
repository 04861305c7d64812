//! The processes of one cluster, as their parent sees them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep};

use super::cache::Layout;
use super::process::{Record, launcher};

/// How long a component may take to end on TERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// All components started so far, by name.
pub(super) struct Components {
    layout: Layout,
    search_path: String,
    all: Mutex<BTreeMap<String, Component>>,
}

struct Component {
    command: Vec<OsString>,
    child: Child,
    record: Option<Record>,
    /// Ended because it was told to.
    stopped: bool,
}

impl Components {
    pub(super) fn new(layout: &Layout, search_path: String) -> Self {
        Self { layout: layout.clone(), search_path, all: Mutex::default() }
    }

    /// Starts `command` under `name`; its output goes to the log of that name. Must be called on the supervisor's main
    /// thread, which the kernel ties the process to.
    pub(super) fn start(&self, name: &str, command: Vec<OsString>) -> Result<()> {
        self.spawn(name, command, Stdio::null()).map(|_| ())
    }

    /// Like [`Self::start`], with a pipe to its standard input.
    pub(super) fn start_with_input(&self, name: &str, command: Vec<OsString>) -> Result<ChildStdin> {
        self.spawn(name, command, Stdio::piped())?.with_context(|| format!("{name} has no standard input"))
    }

    fn spawn(&self, name: &str, command: Vec<OsString>, input: Stdio) -> Result<Option<ChildStdin>> {
        let path = self.layout.logs().join(format!("{name}.log"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        let mut launch = tokio::process::Command::from(launcher(true)?);
        launch.args(&command).env("PATH", &self.search_path).stdin(input).stdout(log.try_clone()?).stderr(log);
        let mut child = launch.spawn().with_context(|| format!("starting {name}"))?;
        let input = child.stdin.take();
        let record = child.id().and_then(|pid| Record::of(i32::try_from(pid).ok()?));
        if let Some(record) = record {
            let path = self.layout.pids().join(name);
            fs::write(&path, serde_json::to_vec(&record)?).with_context(|| format!("writing {}", path.display()))?;
        }
        self.lock().insert(name.to_owned(), Component { command, child, record, stopped: false });
        Ok(input)
    }

    /// Fails if a component ended that nobody stopped.
    pub(super) fn check(&self) -> Result<()> {
        for (name, component) in self.lock().iter_mut() {
            if component.stopped {
                continue;
            }
            if let Some(status) = component.child.try_wait().with_context(|| format!("waiting for {name}"))? {
                bail!("{name} ended by itself ({status}); the end of its log:\n{}", self.log_end(name));
            }
        }
        Ok(())
    }

    /// Polls `condition` until it gives a value. Fails when `limit` has passed or a component has ended.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            // one call may not answer at all, for instance while an API server starts
            if let Ok(Some(value)) = tokio::time::timeout(Duration::from_secs(5), condition()).await {
                return Ok(value);
            }
            self.check()?;
            if Instant::now() >= end {
                bail!("not ready after {} s: {what}", limit.as_secs());
            }
            sleep(PAUSE).await;
        }
    }

    /// Pid of a component that runs.
    pub(super) fn pid(&self, name: &str) -> Option<i32> {
        self.lock().get(name)?.record.filter(|record| record.alive()).map(|record| record.pid)
    }

    /// The names of all components and whether they run.
    pub(super) fn list(&self) -> Vec<(String, bool)> {
        let running = |component: &Component| component.record.is_some_and(Record::alive);
        self.lock().iter().map(|(name, component)| (name.clone(), running(component))).collect()
    }

    /// Ends a component with `signal`, and kills it if it has not ended in time.
    pub(super) async fn stop(&self, name: &str, signal: Signal) -> Result<()> {
        let record = {
            let mut all = self.lock();
            let component = all.get_mut(name).with_context(|| unknown(name))?;
            component.stopped = true;
            component.record
        };
        if let Some(record) = record {
            record.signal(signal);
            let end = Instant::now() + GRACE;
            while record.alive() {
                if Instant::now() >= end {
                    record.signal(Signal::KILL);
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Starts a stopped component again, with the same command.
    pub(super) fn restart(&self, name: &str) -> Result<()> {
        let command = {
            let all = self.lock();
            let component = all.get(name).with_context(|| unknown(name))?;
            if component.record.is_some_and(Record::alive) {
                bail!("{name} runs already");
            }
            if name == super::node::NAME {
                bail!("the node cannot be started again: its state went with it; take the cluster down and up");
            }
            component.command.clone()
        };
        self.start(name, command)
    }

    /// Drops an ended component and its log, as if it had never been started.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        self.lock().remove(name);
        for file in [self.layout.logs().join(format!("{name}.log")), self.layout.pids().join(name)] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills all components at once and waits until they are gone.
    pub(super) async fn kill_all(&self) {
        let records: Vec<_> = self.lock().values().filter_map(|component| component.record).collect();
        for record in &records {
            record.signal(Signal::KILL);
        }
        for record in records {
            while record.alive() {
                sleep(PAUSE).await;
            }
        }
        self.lock().clear();
    }

    /// Whether the log of `name` holds `text`.
    pub(super) fn log_says(&self, name: &str, text: &str) -> bool {
        fs::read(self.layout.logs().join(format!("{name}.log")))
            .is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
    }

    fn log_end(&self, name: &str) -> String {
        let log = fs::read(self.layout.logs().join(format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Component>> {
        // the map is never left half changed
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(name: &str) -> String {
    format!("this cluster has no component `{name}`")
}
