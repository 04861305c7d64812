//! `medley plan`: what would happen if the runs of a file were made now. Nothing is written.

use std::{collections::BTreeSet, io::Write as _, path::PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::{format::Format, picture},
    core::{
        coordination::capacity::{key_of, reason},
        name::Key,
        prospect::Wait,
        scheduling::amounts::in_words,
    },
};

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YAML file with WorkflowRuns, and with workflows, policies and pools that would be applied together with them; `-` is
    /// standard input.
    file: PathBuf,
    /// Namespace of objects that name none.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    source: picture::Source,
    /// How it is shown: as a table, or as JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints when the first steps of the runs would be admitted, and which steps would give way to them.
///
/// # Errors
/// When the file has no run, or something cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut picture = args.source.picture()?;
    let planned = picture::read(&args.file)?;
    if planned.runs.is_empty() {
        bail!("{}: there is no WorkflowRun in this file", args.file.display());
    }
    let mut keys = BTreeSet::new();
    for run in &planned.runs {
        let mut key = key_of(run);
        if key.namespace.is_empty() {
            key.namespace.clone_from(&args.namespace);
        }
        keys.insert(key);
    }
    picture.apply(planned, &args.namespace, now);
    let waits = picture.waits(now).map_err(anyhow::Error::msg)?;
    let of_runs: Vec<&Wait> = waits.iter().filter(|w| keys.contains(&w.run)).collect();
    let free: Vec<&Key> = keys.iter().filter(|key| !of_runs.iter().any(|w| w.run == **key)).collect();
    let out = match args.format {
        Format::Text => text(&of_runs, &free, now),
        Format::Json => {
            let free: Vec<String> = free.iter().map(|key| key.to_string()).collect();
            format!(
                "{:#}\n",
                json!({ "at": now, "steps": of_runs.iter().map(|w| value(w)).collect::<Vec<_>>(), "unbound": free })
            )
        }
    };
    std::io::stdout().write_all(out.as_bytes()).context("cannot write to standard output")
}

fn text(waits: &[&Wait], free: &[&Key], now: Timestamp) -> String {
    let mut rows = vec![["RUN", "STEP", "URGENCY", "ADMITTED", "WAITS FOR", "DISPLACES"].map(str::to_owned)];
    rows.extend(waits.iter().map(|w| {
        let displaces: Vec<String> = w.displaces.iter().map(|(run, name)| format!("{run} {}", step(name))).collect();
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let why = w.standing.as_ref().map(|s| reason(s.waits).message().to_owned()).unwrap_or_default();
        [
            w.run.to_string(),
            step(&w.step),
            w.urgency.as_str().to_owned(),
            admitted(w, now),
            or_dash(why),
            or_dash(displaces.join(", ")),
        ]
    }));
    let mut out = table(&rows);
    for key in free {
        out.push_str(&format!("{key}: its first steps ask no pool\n"));
    }
    out
}

/// A step that waits; the run as a whole has none.
pub(super) fn step(name: &str) -> String {
    if name.is_empty() { "(the run)".to_owned() } else { name.to_owned() }
}

/// When a step is admitted, as time from now.
pub(super) fn admitted(wait: &Wait, now: Timestamp) -> String {
    match wait.admitted {
        None => "not to be seen".to_owned(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("in {:#}", jiff::SignedDuration::from_secs(at.duration_since(now).as_secs().max(1))),
    }
}

/// A step that waits, for programs.
pub(super) fn value(wait: &Wait) -> Value {
    let some = |name: &String| Some(name.clone()).filter(|n| !n.is_empty());
    let displaces: Vec<Value> =
        wait.displaces.iter().map(|(run, step)| json!({ "run": run.to_string(), "step": step })).collect();
    json!({
        "run": wait.run.to_string(),
        "step": some(&wait.step),
        "urgency": wait.urgency,
        "needs": in_words(&wait.needs),
        "pool": some(&wait.asks.0),
        "share": some(&wait.asks.1),
        "since": wait.since,
        "position": wait.standing.as_ref().map(|s| s.ahead + 1),
        "reason": wait.standing.as_ref().map(|s| reason(s.waits)),
        "admitted": wait.admitted,
        "displaces": displaces,
    })
}

/// Rows with a heading, each column as wide as it must be.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("   ").trim_end());
        out.push('\n');
    }
    out
}
