//! `medley explain`: why a run is where it is.

use std::io::Write as _;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    api::{WorkflowRun, status::SUCCEEDED, workflow_run::RunPhase},
    cli::{
        format::Format,
        picture,
        plan::{admitted, step, table, value},
    },
    core::{
        condition,
        coordination::capacity::{key_of, reason},
        name::Key,
        prospect::Wait,
        scheduling::amounts::in_words,
    },
};

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the WorkflowRun.
    run: String,
    /// Its namespace.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    source: picture::Source,
    /// How it is shown: for people, or as JSON.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Prints what the run's steps have, what they wait for, and when they will get it.
///
/// # Errors
/// When there is no such run, or something cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let picture = args.source.picture()?;
    let key = Key::new(&args.namespace, &args.run);
    let Some(run) = picture.runs.iter().find(|r| key_of(r) == key) else {
        bail!("there is no WorkflowRun `{}` in the namespace `{}`", args.run, args.namespace);
    };
    let over = run.status.as_ref().is_some_and(|s| s.phase.is_some_and(RunPhase::is_final));
    let waits = if over { Vec::new() } else { picture.waits(now).map_err(anyhow::Error::msg)? };
    let own: Vec<&Wait> = waits.iter().filter(|w| w.run == key).collect();
    let out = match args.format {
        Format::Text => text(run, &own, now),
        Format::Json => {
            let status = run.status.clone().unwrap_or_default();
            let waits: Vec<_> = own.iter().map(|w| value(w)).collect();
            format!(
                "{:#}\n",
                json!({ "run": key.to_string(), "phase": status.phase, "urgency": status.urgency,
                "decidedBy": status.decided_by, "waits": waits })
            )
        }
    };
    std::io::stdout().write_all(out.as_bytes()).context("cannot write to standard output")
}

fn text(run: &WorkflowRun, waits: &[&Wait], now: Timestamp) -> String {
    let status = run.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or(RunPhase::Pending);
    let told = condition::find(&status.conditions, SUCCEEDED);
    let why = told.map(|c| format!(": {} ({})", c.message, c.reason)).unwrap_or_default();
    let mut out = format!("{} is {phase:?}{why}\n", key_of(run));
    let asked = run.spec.urgency.map_or("that of the workflow".to_owned(), |u| u.as_str().to_owned());
    if let Some(urgency) = status.urgency {
        out.push_str(&format!("urgency {}, asked for: {asked}\n", urgency.as_str()));
    }
    for (field, policy) in &status.decided_by {
        out.push_str(&format!("scheduling.{field} is decided by ServicePolicy `{policy}`\n"));
    }
    let held = status.steps.iter().filter_map(|(name, step)| Some((name, step.capacity.as_ref()?)));
    let words = |all: &std::collections::BTreeMap<String, String>| {
        all.iter().map(|(name, q)| format!("{name}={q}")).collect::<Vec<_>>().join(" ")
    };
    let mut rows = vec![["STEP", "HAS", "OF", "SINCE"].map(str::to_owned)];
    rows.extend(held.map(|(name, c)| {
        let times = c.parts.map(|n| format!(" x {n}")).unwrap_or_default();
        let of = if c.pool.is_empty() { "-".to_owned() } else { format!("{}/{}", c.pool, c.share) };
        [name.clone(), words(&c.resources) + &times, of, c.since.to_string()]
    }));
    if rows.len() > 1 {
        out.push_str(&format!("\n{}", table(&rows)));
    }
    let mut rows = vec![["STEP", "WAITS FOR", "OF", "POSITION", "BECAUSE", "ADMITTED"].map(str::to_owned)];
    rows.extend(waits.iter().map(|w| {
        let because = w.standing.as_ref().map_or("it has its turn now", |s| reason(s.waits).message());
        let position = w.standing.as_ref().map_or("-".to_owned(), |s| (s.ahead + 1).to_string());
        let or_dash = |name: &str| if name.is_empty() { "-".to_owned() } else { name.to_owned() };
        let of = if w.asks.0.is_empty() { or_dash("") } else { format!("{}/{}", w.asks.0, or_dash(&w.asks.1)) };
        [step(&w.step), words(&in_words(&w.needs)), of, position, because.to_owned(), admitted(w, now)]
    }));
    if rows.len() > 1 {
        out.push_str(&format!("\n{}", table(&rows)));
    }
    for wait in waits.iter().filter(|w| !w.displaces.is_empty()) {
        let victims: Vec<String> =
            wait.displaces.iter().map(|(run, name)| format!("{} of {run}", step(name))).collect();
        out.push_str(&format!("{} displaces {}\n", step(&wait.step), victims.join(", ")));
    }
    out
}
