//! Processes of a cluster: how one starts so that it cannot outlive its parent, and how one is recognised later.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal, setsid};

/// A process, told apart from a later one of the same pid by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    pub(super) pid: i32,
    /// Clock ticks after boot.
    started: u64,
}

impl Record {
    /// The record of the running process `pid`; `None` if there is none.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: started(pid)? })
    }

    pub(super) fn own() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("own pid")?;
        Self::of(pid).context("reading /proc/self/stat: is /proc mounted?")
    }

    pub(super) fn alive(self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Signals it if it still runs.
    pub(super) fn signal(self, signal: Signal) {
        if !self.alive() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.pid) {
            // an error means that it ended in between
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it is gone; false if it is still there after `limit`.
    pub(super) fn gone_within(self, limit: Duration) -> bool {
        poll(limit, Duration::from_millis(10), || !self.alive())
    }
}

/// Polls `condition` every `pause` until it holds; false after `limit`.
pub(super) fn poll(limit: Duration, pause: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(pause);
    }
}

/// Start time of `pid` in clock ticks. A zombie counts as gone: whoever should reap it may take its time.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the command name, in parentheses, may itself hold spaces and parentheses
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Kills every process that carries `variable=value` in its environment, apart from this one. It finds what a test run
/// started and lost, whatever process group or session it went to.
pub(super) fn kill_marked(variable: &str, value: &str) {
    let mark = format!("{variable}={value}");
    let end = Instant::now() + Duration::from_secs(5);
    // a program that is just being executed has no environment to read for a moment, so one empty look is not enough
    let mut clean = 0;
    while clean < 2 && Instant::now() < end {
        let found = marked(mark.as_bytes());
        clean = if found.is_empty() { clean + 1 } else { 0 };
        for record in found {
            record.signal(Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// All other processes with this entry in their environment.
fn marked(mark: &[u8]) -> Vec<Record> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = pids.filter(|pid| u32::try_from(*pid) != Ok(std::process::id()));
    others
        .filter_map(|pid| {
            // first the record, so that a later process of this pid is not taken for it
            let record = Record::of(pid)?;
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment.split(|byte| *byte == 0).any(|entry| entry == mark).then_some(record)
        })
        .collect()
}

/// Becomes `command`, in a process that the kernel ends when its parent does. This is what the hidden `launch`
/// command of the `cluster` program runs: the request must come from the child itself.
///
/// `parent` is the pid of the process that asked for it: if that one died before the request was in force, the child
/// has another parent by now and gives up. With `session` the child leaves the terminal's session, so that Ctrl-C
/// reaches only the owner, and is killed; without, it stays there and is asked to end (SIGTERM).
///
/// # Errors
/// When the command cannot be executed; otherwise it does not return.
pub fn launch(parent: i32, session: bool, command: &[OsString]) -> Result<Infallible> {
    let signal = if session { Signal::KILL } else { Signal::TERM };
    set_parent_process_death_signal(Some(signal)).context("asking to end with the parent")?;
    if getppid().map(Pid::as_raw_nonzero).map(std::num::NonZero::get) != Some(parent) {
        bail!("the parent {parent} is gone");
    }
    if session {
        setsid().context("starting a session")?;
    }
    let (program, arguments) = command.split_first().context("launch: no command given")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("executing {}", Path::new(program).display()))
}

/// The command line of [`launch`] for a command, to be started by a long-lived thread of this process: the kernel ties
/// the child to the thread that made it.
pub(super) fn launcher(session: bool) -> Result<Command> {
    // this very program even if the file was replaced meanwhile
    let mut command = Command::new("/proc/self/exe");
    command.arg("launch").arg("--parent").arg(std::process::id().to_string());
    if session {
        command.arg("--session");
    }
    command.arg("--");
    Ok(command)
}

/// Runs a program to its end and returns what it printed.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let what = command.get_program().display().to_string();
    let result = command.output().with_context(|| format!("starting {what}"))?;
    if !result.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.display().to_string()).collect();
        bail!(
            "`{what} {}` failed ({}):\n{}{}",
            arguments.join(" "),
            result.status,
            String::from_utf8_lossy(&result.stdout),
            String::from_utf8_lossy(&result.stderr),
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_its_process_from_another_of_the_same_pid() {
        let own = Record::own().unwrap();
        assert!(own.alive());
        assert!(!Record { started: own.started + 1, ..own }.alive());
    }

    #[test]
    fn an_ended_process_is_gone_even_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let record = Record::of(i32::try_from(child.id()).unwrap()).unwrap();
        record.signal(Signal::KILL);
        assert!(record.gone_within(Duration::from_secs(5)));
        child.wait().unwrap();
    }

    #[test]
    fn marked_processes_are_found_by_their_environment() {
        let value = format!("{}-marked", std::process::id());
        let mut marked = Command::new("sleep").arg("60").env("MEDLEY_TEST_MARK", &value).spawn().unwrap();
        let mut other = Command::new("sleep").arg("60").env("MEDLEY_TEST_MARK", "another").spawn().unwrap();
        // until it is executed it has this process's environment, or none
        let mark = format!("MEDLEY_TEST_MARK={value}");
        let ready =
            poll(Duration::from_secs(5), Duration::from_millis(5), || !super::marked(mark.as_bytes()).is_empty());
        assert!(ready);
        kill_marked("MEDLEY_TEST_MARK", &value);
        assert!(!marked.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
