//! Clusters from their owners' side: up, down, run.

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::cache::{Layout, short_hash};
use super::control::{Request as Control, ask};
use super::handle::{VARIABLE, client_of};
use super::lock::Lock;
use super::owner::{Start, Supervised};
use super::process::{Record, launcher};
use super::state::{Phase, State};
use super::supervisor::{MARK, Spec, check};
use super::{Profile, images, packages, programs, remains, state};

/// What to bring up.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the cluster consists of.
    pub profile: Profile,
    /// Its name; the profile's when absent.
    pub name: Option<String>,
    /// Number of fake nodes, 3 when absent.
    pub nodes: Option<u32>,
    /// How long to wait for another cluster of the same name, or another of the node profile, to go away.
    pub wait: Duration,
}

impl Request {
    fn layout(&self) -> Result<Layout> {
        Layout::of(self.name.as_deref().unwrap_or(self.profile.as_str()))
    }

    fn spec(&self, layout: &Layout) -> Result<Spec> {
        let command: Vec<_> = env::args().collect();
        Ok(Spec {
            name: layout.name.clone(),
            profile: self.profile,
            nodes: check(self.profile, self.nodes)?,
            command: command.join(" "),
            mark: short_hash([serde_json::to_vec(&Record::own()?)?.as_slice()]),
        })
    }
}

/// Called with a line about what is being done.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Brings a cluster up that stays when this process ends. Returns at once when it is up already.
///
/// # Errors
/// When it cannot be brought up, or another cluster is in the way.
pub async fn up(request: &Request, progress: Progress<'_>) -> Result<Layout> {
    let layout = request.layout()?;
    let spec = request.spec(&layout)?;
    prepare(request.profile, progress)?;
    let end = Instant::now() + request.wait;
    loop {
        if let Some(state) = State::running(&layout).filter(|state| state.phase == Phase::Ready) {
            fits(&state, request, &layout)?;
            if healthy(&layout).await {
                return Ok(layout);
            }
            progress(&format!("the cluster `{}` is not healthy; taking it down first", layout.name));
            down(&layout, Some(request.profile))?;
        }
        match Supervised::start(&spec, &layout, &Cell::new(None), progress).await? {
            Start::Ready(supervised) => {
                supervised.detach().await?;
                return Ok(layout);
            }
            Start::Busy(text) if Instant::now() >= end => bail!("{text}"),
            Start::Busy(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Brings a cluster up, runs `command` with it, and takes it down, whatever becomes of the command. Returns the exit
/// code to end with: the command's, or 128 and the number of the signal that ended it or this process.
///
/// # Errors
/// When the cluster cannot be brought up or taken down, or the command cannot be started.
pub async fn run(request: &Request, command: &[OsString], progress: Progress<'_>) -> Result<u8> {
    let layout = request.layout()?;
    let spec = request.spec(&layout)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupted = async || {
        tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
            _ = hangup.recv() => 1,
        }
    };
    prepare(request.profile, progress)?;
    let latest = Cell::new(None);
    let mut supervised = tokio::select! {
        supervised = wait_turn(request, &spec, &layout, &latest, progress) => supervised?,
        number = interrupted() => {
            // the supervisor has seen that nobody waits for the cluster any more
            if let Some(supervisor) = latest.get() {
                supervisor.gone_within(Duration::from_secs(60));
            }
            return Ok(128 + number);
        }
    };
    let code = attend(command, &spec, &layout, &mut supervised, interrupted).await;
    supervised.end(&layout, &spec).await?;
    code
}

/// Runs the command to its end, or the cluster's, or until this process is asked to end.
async fn attend(
    command: &[OsString],
    spec: &Spec,
    layout: &Layout,
    supervised: &mut Supervised,
    mut interrupted: impl AsyncFnMut() -> u8,
) -> Result<u8> {
    let mut child = start(command, spec, layout)?;
    tokio::select! {
        status = child.wait() => Ok(code(status.context("waiting for the command")?)),
        number = interrupted() => {
            end_command(&mut child).await?;
            Ok(128 + number)
        }
        () = supervised.ended() => {
            end_command(&mut child).await?;
            bail!("the cluster `{}` was taken down or killed while the command ran", layout.name)
        }
    }
}

async fn wait_turn(
    request: &Request,
    spec: &Spec,
    layout: &Layout,
    latest: &Cell<Option<Record>>,
    progress: Progress<'_>,
) -> Result<Supervised> {
    let end = Instant::now() + request.wait;
    let mut told = false;
    loop {
        match Supervised::start(spec, layout, latest, progress).await? {
            Start::Ready(supervised) => return Ok(*supervised),
            Start::Busy(text) if Instant::now() >= end => bail!("{text}"),
            Start::Busy(text) => {
                if !told {
                    progress(&format!("waiting: {text}"));
                    told = true;
                }
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

fn start(command: &[OsString], spec: &Spec, layout: &Layout) -> Result<Child> {
    let (program, arguments) = command.split_first().context("no command given")?;
    let mut path = programs::ensure(&mut |_| {})?.into_os_string();
    if let Some(own) = env::var_os("PATH").filter(|own| !own.is_empty()) {
        path.push(":");
        path.push(own);
    }
    // launched, so that the command does not outlive a killed owner
    let mut launch = Command::from(launcher(false)?);
    launch.arg(program).args(arguments).env("PATH", path);
    launch.env(VARIABLE, &layout.run).env("KUBECONFIG", layout.kubeconfig()).env(MARK, &spec.mark);
    launch.spawn().with_context(|| format!("starting {}", program.display()))
}

fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}

/// TERM, and KILL if that does not help. What the command itself started is the supervisor's to find.
async fn end_command(child: &mut Child) -> Result<()> {
    if let Some(record) = child.id().and_then(|pid| Record::of(i32::try_from(pid).ok()?)) {
        record.signal(Signal::TERM);
    }
    if timeout(Duration::from_secs(10), child.wait()).await.is_err() {
        child.kill().await.context("ending the command")?;
    }
    Ok(())
}

/// Takes a cluster down and removes whatever may be left of it. Safe at any time; `profile` is that of the cluster if
/// known. Tells whether there was anything.
///
/// # Errors
/// When something cannot be removed; the message names it.
pub fn down(layout: &Layout, profile: Option<Profile>) -> Result<bool> {
    let ended = end_supervisor(layout)?;
    let traces = layout.run.exists();
    if !tidy(layout, profile)? {
        bail!("the cluster `{}` was brought up again meanwhile", layout.name);
    }
    Ok(ended || traces)
}

/// Removes what a cluster left whose supervisor is gone. False, and nothing done, if another has the name now.
pub(super) fn tidy(layout: &Layout, profile: Option<Profile>) -> Result<bool> {
    let profile = State::stored(layout).map(|state| state.profile).or(profile);
    if layout.lock.exists() || layout.run.exists() {
        let Some(lock) = Lock::try_take(&layout.lock)? else {
            return Ok(false);
        };
        remains::clear(layout)?;
        lock.remove()?;
    }
    if profile != Some(Profile::Fake) {
        remains::clear_idle_machine()?;
    }
    Ok(true)
}

fn end_supervisor(layout: &Layout) -> Result<bool> {
    let Some(holder) = state::holder(layout) else {
        return Ok(false);
    };
    holder.process.signal(Signal::TERM);
    if !holder.process.gone_within(Duration::from_secs(40)) {
        // its components die with it, and what they leave is removed next
        holder.process.signal(Signal::KILL);
        if !holder.process.gone_within(Duration::from_secs(10)) {
            bail!(
                "the supervisor of `{}`, process {}, does not end although it was killed",
                layout.name,
                holder.process.pid
            );
        }
    }
    Ok(true)
}

/// Whether every component runs and the API server answers.
///
/// # Errors
/// Never: a cluster that does not answer is not healthy.
pub async fn healthy(layout: &Layout) -> bool {
    let all_run = ask(layout, &Control::List).is_ok_and(|components| components.iter().all(|(_, runs)| *runs));
    let ready = async {
        let client = client_of(&layout.kubeconfig()).await.ok()?;
        client.request_text(http::Request::get("/readyz").body(Vec::new()).ok()?).await.ok()
    };
    all_run && matches!(timeout(Duration::from_secs(5), ready).await, Ok(Some(_)))
}

/// The components of a running cluster and whether they run.
///
/// # Errors
/// When it does not run.
pub fn components(layout: &Layout) -> Result<Vec<(String, bool)>> {
    ask(layout, &Control::List)
}

fn fits(state: &State, request: &Request, layout: &Layout) -> Result<()> {
    let name = &layout.name;
    let instead = format!("take it down first (`cluster down all --name {name}`) or use another --name");
    if state.profile != request.profile {
        bail!("the cluster `{name}` is of the {} profile: {instead}", state.profile);
    }
    if let Some(nodes) = request.nodes.filter(|nodes| *nodes != state.nodes) {
        bail!("the cluster `{name}` has {} nodes, not {nodes}: {instead}", state.nodes);
    }
    if state.bin != programs::home()?.join("bin") {
        bail!("the cluster `{name}` runs programs of other versions than this checkout pins: {instead}");
    }
    Ok(())
}

/// What takes long or needs a person's attention is done before a supervisor is started.
fn prepare(profile: Profile, progress: Progress<'_>) -> Result<()> {
    if profile == Profile::Node {
        packages::ensure(progress)?;
    }
    programs::ensure(progress)?;
    if profile == Profile::Node {
        images::ensure(progress)?;
    }
    Ok(())
}
