//! What happened, in order: calls of operators that changed something, requests, and what went wrong on purpose.

use std::{fmt::Write, time::Duration};

use super::{plan::Plan, runner::Outcome};

/// The story of an outcome, for people.
pub(crate) fn tell(plan: &Plan, outcome: &Outcome, wrong: &[String]) -> String {
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for record in
        outcome.calls.iter().filter(|r| r.call.is_write() && r.call.resource != "leases" && !r.call.is_event())
    {
        let call = &record.call;
        let sub = if call.subresource.is_empty() { String::new() } else { format!("/{}", call.subresource) };
        let result = match record.code {
            None => "never arrives".to_owned(),
            Some(code) if record.changed => format!("{code}"),
            Some(code) => format!("{code}, changes nothing"),
        };
        lines.push((record.at, format!("{} {} {}/{}{sub}: {result}", call.user, call.verb, call.resource, call.name)));
    }
    for effect in &outcome.effects {
        let item = effect.item.map(|i| format!(" item {i}")).unwrap_or_default();
        let took = if effect.took { "takes effect" } else { "has no effect" };
        lines.push((
            effect.at,
            format!("{} asks {}{item}, attempt {}, key {}: {took}", effect.by, effect.path, effect.attempt, effect.key),
        ));
    }
    for version in &outcome.runs {
        lines.push((version.at, format!("        {}", phases(version.object()))));
    }
    for version in &outcome.pods {
        let object = version.object();
        let phase = if version.deleted { "gone" } else { object["status"]["phase"].as_str().unwrap_or_default() };
        lines.push((
            version.at,
            format!("        pod {} is {phase}", object["metadata"]["name"].as_str().unwrap_or_default()),
        ));
    }
    lines.extend(outcome.struck.iter().map(|(at, what)| (*at, format!("  !!    {what}"))));
    lines.sort_by_key(|(at, _)| *at);
    let mut story = String::new();
    for problem in wrong {
        let _ = writeln!(story, "wrong: {problem}");
    }
    for (at, line) in lines.iter().take(400) {
        let _ = writeln!(story, "{:>10.3}  {line}", at.as_secs_f64());
    }
    let _ = writeln!(story, "replay it (a few times: the order in which tasks are polled is not part of a plan):");
    let _ = writeln!(story, "MEDLEY_PLAN='{}' cargo test --test converge plans::replay", plan.to_line());
    story
}

fn phases(run: &serde_json::Value) -> String {
    let status = &run["status"];
    let mut text = format!(
        "run {} is {}:",
        run["metadata"]["name"].as_str().unwrap_or_default(),
        status["phase"].as_str().unwrap_or("new")
    );
    for (list, mark) in [("steps", ""), ("compensations", "undo ")] {
        for (name, step) in status[list].as_object().into_iter().flatten() {
            let _ = write!(text, " {mark}{name} {}", step["phase"].as_str().unwrap_or_default());
            if let Some(attempt) = step["attempt"].as_u64().filter(|&a| a > 1) {
                let _ = write!(text, "({attempt})");
            }
        }
    }
    text
}
