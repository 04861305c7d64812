//! An owner's connection to the supervisor it started.

use std::cell::Cell;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::cache::Layout;
use super::lifecycle::{Progress, tidy};
use super::process::Record;
use super::report::Report;
use super::supervisor::{DETACH, Spec};

/// How the start of a supervisor went.
pub(super) enum Start {
    Ready(Box<Supervised>),
    Busy(String),
}

/// A supervisor and the pipes to it; dropping them ends it, and its cluster, unless it was detached.
pub(super) struct Supervised {
    child: Child,
    input: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Supervised {
    /// Starts a supervisor, whose process goes to `latest`, and waits until the cluster is up. When it does not come up,
    /// nothing is left of it.
    pub(super) async fn start(
        spec: &Spec,
        layout: &Layout,
        latest: &Cell<Option<Record>>,
        progress: Progress<'_>,
    ) -> Result<Start> {
        let log = layout.lock.with_file_name("supervisor.log");
        if let Some(dir) = log.parent() {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        // not the owner's: a pipe from the owner would never end while the cluster is up
        let errors = File::options().create(true).append(true).open(&log);
        let errors = errors.with_context(|| format!("opening {}", log.display()))?;
        let mut child = Command::new("/proc/self/exe")
            .arg("supervise")
            .arg(serde_json::to_string(spec)?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("starting the supervisor")?;
        latest.set(child.id().and_then(|pid| Record::of(i32::try_from(pid).ok()?)));
        let input = child.stdin.take().context("the supervisor has no standard input")?;
        let output = child.stdout.take().context("the supervisor has no standard output")?;
        let mut supervised = Self { child, input, reports: BufReader::new(output).lines() };
        match supervised.hear(progress).await {
            Ok(None) => Ok(Start::Ready(Box::new(supervised))),
            Ok(Some(busy)) => Ok(Start::Busy(busy)),
            Err(error) => {
                supervised.end(layout, spec).await?;
                Err(error).with_context(|| format!("the cluster `{}` did not come up", layout.name))
            }
        }
    }

    /// Passes on what the supervisor reports until the cluster is up, or something else is in the way.
    async fn hear(&mut self, progress: Progress<'_>) -> Result<Option<String>> {
        while let Some(line) = self.reports.next_line().await.context("hearing from the supervisor")? {
            match serde_json::from_str(&line).with_context(|| format!("the supervisor said `{line}`"))? {
                Report::Progress(text) => progress(&text),
                Report::Ready => return Ok(None),
                Report::Busy(text) => return Ok(Some(text)),
                Report::Failed(text) => bail!("{text}"),
            }
        }
        bail!("its supervisor ended without a word; see supervisor.log beside the run directory")
    }

    /// Lets the cluster stay when this process ends.
    pub(super) async fn detach(mut self) -> Result<()> {
        let detach = format!("{DETACH}\n");
        self.input.write_all(detach.as_bytes()).await.context("detaching from the supervisor")?;
        self.input.flush().await.context("detaching from the supervisor")
    }

    /// Returns when the supervisor ends, which it does by itself only when somebody else asks it to.
    pub(super) async fn ended(&mut self) {
        // an error would mean that it cannot be waited for, since it is gone
        let _ = self.child.wait().await;
    }

    /// Has the cluster taken down and waits for it.
    pub(super) async fn end(mut self, layout: &Layout, spec: &Spec) -> Result<()> {
        drop(self.input);
        let ended = timeout(Duration::from_secs(60), self.child.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(_) => {}
            // its components die with it
            Err(_) => self.child.kill().await.context("ending the supervisor")?,
        }
        // whoever has the name by now has removed what was left
        tidy(layout, Some(spec.profile)).map(|_| ())
    }
}
