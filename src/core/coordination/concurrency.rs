//! How many runs of a workflow are under way together: whose turn it is, and who makes room.

use std::cmp::Reverse;

use serde_json::Value;

use crate::{
    api::{vocabulary::Urgency, workflow::ConcurrencyPolicy, workflow_run::RunPhase},
    core::coordination::{
        definition::{ConcurrencyDefinition, Definition},
        run::{End, Flow},
        view::Rival,
    },
};

/// Longest evaluated key, in characters.
const MAX_KEY: usize = 256;

/// Whether a run that has not started may start; otherwise what it is told.
pub(super) fn admit(flow: &mut Flow<'_>, definition: &Definition) -> Result<(), End> {
    let Some(bound) = &definition.concurrency else { return Ok(()) };
    let key =
        key(flow, bound).map_err(|problem| End::Over(RunPhase::Failed, "InvalidConcurrencyKey".to_owned(), problem))?;
    flow.status.concurrency_key = Some(key.clone());
    let same: Vec<&Rival> = flow.view.rivals.iter().filter(|r| r.key.as_ref() == Some(&key)).collect();
    let active = same.iter().filter(|r| r.started).count();
    let own = turn(flow.urgency, flow.created_at(), flow.name());
    let ahead = same
        .iter()
        .filter(|r| !r.started && turn(r.urgency.unwrap_or(definition.urgency), r.created_at, &r.name) < own)
        .count();
    if active + ahead < bound.limit {
        return Ok(());
    }
    let limit = bound.limit;
    if bound.policy == ConcurrencyPolicy::Reject {
        let message = format!("spec.concurrency of the workflow allows {limit} runs at a time: try again later");
        return Err(End::Over(RunPhase::Failed, "ConcurrencyLimit".to_owned(), message));
    }
    let message =
        format!("{active} of {limit} runs that spec.concurrency allows are under way, {ahead} wait before this one");
    Err(End::Open(RunPhase::Pending, "ConcurrencyLimit", message, false))
}

/// Whether this run, which is under way, makes room for a newer one that waits.
pub(super) fn is_replaced(flow: &Flow<'_>, definition: &Definition) -> bool {
    let Some(bound) = definition.concurrency.as_ref().filter(|b| b.policy == ConcurrencyPolicy::Replace) else {
        return false;
    };
    let own = (flow.created_at(), flow.name());
    let same = || flow.view.rivals.iter().filter(|r| r.key.is_some() && r.key == flow.status.concurrency_key);
    let waiting = same().filter(|r| !r.started && (r.created_at, r.name.as_str()) > own).count();
    let older = same().filter(|r| r.started && (r.created_at, r.name.as_str()) < own).count();
    let active = same().filter(|r| r.started).count() + 1;
    // as many of the oldest go as newer ones wait and do not fit beside those that are under way
    older < (active + waiting).saturating_sub(bound.limit).min(waiting)
}

fn key(flow: &Flow<'_>, bound: &ConcurrencyDefinition) -> Result<String, String> {
    let Some(expression) = &bound.key else { return Ok(String::new()) };
    let text = match expression.evaluate(&flow.variables(expression.references())) {
        Ok(Value::String(text)) => text,
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        Ok(_) => return Err("spec.concurrency.key of the workflow must give a text, a number or a boolean".to_owned()),
        Err(e) => return Err(format!("spec.concurrency.key of the workflow: {e}")),
    };
    if text.chars().count() > MAX_KEY {
        return Err(format!("spec.concurrency.key of the workflow must give at most {MAX_KEY} characters"));
    }
    Ok(text)
}

/// Those that wait start by urgency, then in the order in which they were made.
fn turn(urgency: Urgency, created_at: jiff::Timestamp, name: &str) -> (Reverse<Urgency>, jiff::Timestamp, &str) {
    (Reverse(urgency), created_at, name)
}
