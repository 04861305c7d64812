//! The process that a cluster lives and dies with: parent of all components, holder of the locks.
//!
//! It ends, and the cluster with it, on TERM, on INT, and when its owner dies, which it sees as the end of its standard
//! input. An owner that wants the cluster to stay says `detach` first.

use std::io::BufRead;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
use tokio::process::ChildStdin;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::cache::Layout;
use super::components::Components;
use super::control::Control;
use super::lock::{Holder, Lock};
use super::plane::Site;
use super::process::Record;
use super::report::{Report, Reporter};
use super::state::{Phase, State};
use super::{Profile, fake, lock, node, packages, plane, programs, remains, state};

/// Environment variable that marks what the owner's command started; its value is different for every run.
pub(super) const MARK: &str = "MEDLEY_CLUSTER_RUN";
/// What an owner says to let the cluster outlive it.
pub(super) const DETACH: &str = "detach";

/// What a supervisor is asked to bring up.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// The cluster's name.
    pub name: String,
    /// What it consists of.
    pub profile: Profile,
    /// Number of nodes; the node profile has one.
    pub nodes: u32,
    /// The owner's command, for people who want to know who holds a lock.
    pub command: String,
    /// Value of the environment variable that marks the owner's processes.
    pub mark: String,
}

/// Brings a cluster up, keeps it, takes it down. This is what the hidden `supervise` command of the `cluster` program
/// runs, on its main thread.
///
/// # Errors
/// When taking the cluster down fails. A failure to bring it up is reported to the owner instead.
pub fn supervise(spec: &Spec) -> Result<()> {
    rustix::process::setsid().context("starting a session of its own")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(session(spec))
}

async fn session(spec: &Spec) -> Result<()> {
    let report = Reporter::new();
    let layout = Layout::of(&spec.name)?;
    let mut end = End::watch()?;
    let locks = match take_locks(spec, &layout) {
        Ok(Locks::Taken(locks)) => locks,
        Ok(Locks::Busy(text)) => {
            report.send(&Report::Busy(text));
            return Ok(());
        }
        Err(error) => {
            report.send(&Report::Failed(format!("{error:#}")));
            return Ok(());
        }
    };
    let components = Components::new(&layout, packages::search_path());
    let mut node = None;
    let result = tokio::select! {
        result = bring_up(spec, &layout, &components, &report, &mut node) => result,
        reason = end.wait() => Err(anyhow::anyhow!("{reason} while the cluster was coming up")),
    };
    if let Ok((mut state, control)) = result {
        state.phase = Phase::Ready;
        state.save(&layout)?;
        report.send(&Report::Ready);
        tokio::select! {
            reason = end.wait() => eprintln!("taking `{}` down: {reason}", spec.name),
            result = control.serve(&components) => result?,
        }
        take_down(spec, &layout, &components).await?;
    } else {
        let failure = result.err();
        let down = take_down(spec, &layout, &components).await;
        if let Some(error) = failure {
            let logs = layout.last_log.display();
            report.send(&Report::Failed(format!("{error:#}\nThe logs are in {logs}")));
        }
        down?;
    }
    drop(locks.machine);
    locks.own.remove()
}

type Brought = (State, Control);

async fn bring_up(
    spec: &Spec,
    layout: &Layout,
    components: &Components,
    report: &Reporter,
    node: &mut Option<ChildStdin>,
) -> Result<Brought> {
    let bin = programs::ensure(&mut |text| report.progress(text))?;
    for dir in [layout.run.clone(), layout.logs(), layout.pids()] {
        make_private(&dir)?;
    }
    let state = State::new(spec, bin.clone())?;
    state.save(layout)?;
    let control = Control::open(layout)?;
    let site = Site { layout, bin: &bin, components, report };
    match spec.profile {
        Profile::Fake => {
            let client = plane::up(&site, spec.profile).await?;
            fake::up(&site, client, spec.nodes).await?;
        }
        Profile::Node => {
            remains::save_sysctls()?;
            remains::make_cgroups()?;
            node::make_link()?;
            let (client, prepared) = tokio::try_join!(plane::up(&site, spec.profile), node::prepare(&site))?;
            *node = Some(node::up(&site, client, prepared).await?);
        }
    }
    components.check()?;
    Ok((state, control))
}

async fn take_down(spec: &Spec, layout: &Layout, components: &Components) -> Result<()> {
    components.kill_all().await;
    remains::clear(layout)?;
    if spec.profile == Profile::Node {
        remains::clear_machine()?;
    }
    Ok(())
}

enum Locks {
    Taken(Held),
    Busy(String),
}

struct Held {
    own: Lock,
    machine: Option<Lock>,
}

/// Takes the locks of the name and, for the node profile, of the machine, and removes what their last holders left.
fn take_locks(spec: &Spec, layout: &Layout) -> Result<Locks> {
    let holder = Holder {
        process: Record::own()?,
        name: spec.name.clone(),
        run: layout.run.clone(),
        command: spec.command.clone(),
    };
    let Some(mut own) = Lock::try_take(&layout.lock)? else {
        return Ok(Locks::Busy(busy_name(layout)));
    };
    own.sign(&holder)?;
    remains::clear(layout)?;
    if spec.profile == Profile::Fake {
        return Ok(Locks::Taken(Held { own, machine: None }));
    }
    let Some(mut machine) = Lock::try_take(&remains::machine_lock())? else {
        own.remove()?;
        return Ok(Locks::Busy(busy_machine()));
    };
    machine.sign(&holder)?;
    remains::clear_machine()?;
    Ok(Locks::Taken(Held { own, machine: Some(machine) }))
}

fn busy_name(layout: &Layout) -> String {
    let by = state::holder(layout).map_or_else(String::new, |holder| by(&holder));
    format!(
        "the cluster `{name}` exists already{by}. Wait for it (--wait SECONDS), take it down (`cluster down all --name {name}`), or use another --name",
        name = layout.name
    )
}

fn busy_machine() -> String {
    let by = lock::holder(&remains::machine_lock()).map_or_else(String::new, |holder| by(&holder));
    format!(
        "a cluster of the node profile runs on this machine already{by}; there can be only one at a time. Wait for it (--wait SECONDS) or take it down (`cluster down node`)"
    )
}

fn by(holder: &Holder) -> String {
    format!(": `{}`, process {}, in {}", holder.command, holder.process.pid, holder.run.display())
}

fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).with_context(|| format!("creating {}", dir.display()))
}

/// The reasons to take the cluster down.
struct End {
    owner: mpsc::UnboundedReceiver<Word>,
    detached: bool,
    terminate: Signal,
    interrupt: Signal,
}

enum Word {
    Detach,
    Gone,
}

impl End {
    fn watch() -> Result<Self> {
        let (send, owner) = mpsc::unbounded_channel();
        // a thread, since reading standard input cannot be given up
        thread::Builder::new().name("owner".into()).spawn(move || {
            for line in std::io::stdin().lock().lines() {
                match line {
                    Ok(line) if line == DETACH => drop(send.send(Word::Detach)),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            // refused only when the supervisor is ending anyway
            let _ = send.send(Word::Gone);
        })?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { owner, detached: false, terminate, interrupt })
    }

    /// Waits for the first reason. Nothing is lost when it is called again.
    async fn wait(&mut self) -> &'static str {
        loop {
            tokio::select! {
                word = self.owner.recv(), if !self.detached => match word {
                    Some(Word::Detach) => self.detached = true,
                    Some(Word::Gone) | None => return "the owner is gone",
                },
                _ = self.terminate.recv() => return "asked to (TERM)",
                _ = self.interrupt.recv() => return "asked to (INT)",
            }
        }
    }
}

/// Fails early on what no supervisor could bring up.
pub(super) fn check(profile: Profile, nodes: Option<u32>) -> Result<u32> {
    match (profile, nodes) {
        (Profile::Fake, nodes) => match nodes.unwrap_or(3) {
            nodes @ 1..=5000 => Ok(nodes),
            other => bail!("--nodes {other}: a fake cluster has 1 to 5000 nodes"),
        },
        (Profile::Node, None | Some(1)) => Ok(1),
        (Profile::Node, Some(other)) => {
            bail!("--nodes {other}: the node profile has one real node; --nodes is for `fake`")
        }
    }
}
