//! Puts deliberate bugs into a copy of the source tree, one at a time, and reports which ones the tests notice.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use harness::mutants::{Mutant, list};
use rustix::process::{Pid, Signal, kill_process_group};

/// Tests that take longer hang, and that is noticed, too.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Parser)]
#[command(
    about = "Puts deliberate bugs into a copy of the source tree, one at a time, and reports which ones the tests notice"
)]
struct Arguments {
    /// The source tree.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the copy goes; it is kept, so that the next time builds less.
    #[arg(long)]
    scratch: PathBuf,
    /// Only the bugs whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Plans of the simulator in each run of the tests.
    #[arg(long, default_value_t = 400)]
    plans: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all bugs were noticed.
fn run(arguments: &Arguments) -> Result<bool> {
    let mut mutants = list(&arguments.root)?;
    if let Some(only) = &arguments.only {
        mutants.retain(|m| m.name.contains(only));
    }
    ensure!(!mutants.is_empty(), "there is no such bug in the list");
    let tree = arguments.scratch.join("tree");
    copy(&arguments.root, &tree)?;
    let mut suites: Vec<&Vec<String>> = mutants.iter().map(|m| &m.tests).collect();
    suites.sort();
    suites.dedup();
    for suite in suites {
        let outcome = test(&tree, suite, arguments.plans)?;
        ensure!(outcome == Outcome::Missed, "without any bug `cargo test {}` fails", suite.join(" "));
    }
    let mut missed = 0;
    for (i, mutant) in mutants.iter().enumerate() {
        let began = Instant::now();
        let outcome = try_out(&tree, mutant, arguments.plans)?;
        println!(
            "{:>2}/{} {:<8} {:>5} s  {}",
            i + 1,
            mutants.len(),
            outcome.word(),
            began.elapsed().as_secs(),
            mutant.name
        );
        match outcome {
            Outcome::Caught => {}
            Outcome::Missed => missed += 1,
            Outcome::DoesNotBuild => bail!("`{}` does not build, so that no test can notice it", mutant.name),
        }
    }
    println!("{} of {} bugs were noticed", mutants.len() - missed, mutants.len());
    Ok(missed == 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Caught,
    Missed,
    DoesNotBuild,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::DoesNotBuild => "no build",
        }
    }
}

/// Copies what git knows, and what it would take.
fn copy(root: &Path, tree: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    for name in String::from_utf8(listed.stdout)?.split('\0').filter(|n| !n.is_empty()) {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(text) = fs::read(&from) else { continue }; // removed, and git does not know yet
        // what is the same keeps its time, so that cargo does not build it again
        if fs::read(&to).is_ok_and(|present| present == text) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn try_out(tree: &Path, mutant: &Mutant, plans: u32) -> Result<Outcome> {
    let path = tree.join(&mutant.file);
    let (whole, broken) = (fs::read_to_string(&path)?, mutant.applied(tree)?);
    fs::write(&path, broken)?;
    let outcome = test(tree, &mutant.tests, plans);
    fs::write(&path, whole)?;
    outcome
}

fn test(tree: &Path, suite: &[String], plans: u32) -> Result<Outcome> {
    let cargo = |more: &[&str]| {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--locked", "-p", "medley"])
            .args(suite)
            .args(more)
            .current_dir(tree)
            .env("MEDLEY_PLANS", plans.to_string())
            // each bug is built anew: quick to build counts for more than quick to run
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            // cargo would take what it has built here for that of the source tree
            .env("CARGO_TARGET_DIR", tree.with_file_name("target"))
            .stderr(Stdio::null());
        command
    };
    if !cargo(&["--no-run"]).stdout(Stdio::null()).status().context("cargo test")?.success() {
        return Ok(Outcome::DoesNotBuild);
    }
    // one test that fails is enough; a group of its own, so that what cargo starts ends with it
    let mut tests = cargo(&[]).stdout(Stdio::piped()).process_group(0).spawn().context("cargo test")?;
    let output = BufReader::new(tests.stdout.take().context("cargo test tells nothing")?);
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        if output.lines().map_while(Result::ok).any(|line| line.ends_with("... FAILED")) {
            // nobody listens any more when the tests were given up
            let _ = tell.send(());
        }
    });
    let failed = match told.recv_timeout(PATIENCE) {
        Ok(()) | Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    };
    if failed && let Some(group) = i32::try_from(tests.id()).ok().and_then(Pid::from_raw) {
        // it may have ended by itself already
        let _ = kill_process_group(group, Signal::KILL);
    }
    reader.join().map_err(|_| anyhow!("the reader of the tests' output panicked"))?;
    let ended_well = tests.wait().context("cargo test")?.success();
    Ok(if failed || !ended_well { Outcome::Caught } else { Outcome::Missed })
}
