//! The slots that steps hold in a scenario with a pool: never more than there are, and none when all has ended. So, too, calls at
//! work at a service that says how many it takes, and runs and pods where a policy says how many may be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{plan::Plan, runner::Outcome, troubles::Trouble};

/// What is wrong with the slots that were granted.
pub(crate) fn misgranted(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let places = u32::from(plan.scenario.places);
    if places > 0 && outcome.most_at_work > places {
        wrong.push(format!("{} calls of one leader are at work, and there may be {places}", outcome.most_at_work));
    }
    // a write that takes effect after its writer has given it up, or that of a leader whose clock lets it lead too long, is not
    // known to whoever leads next; nor are policies and pools to a leader whose lists are from before them
    let unknown = |t: &Trouble| {
        t.is_behind() || matches!(t, Trouble::Late { .. } | Trouble::Overlap { .. } | Trouble::Skew { .. })
    };
    let is_exact = !plan.troubles.iter().any(unknown);
    if is_exact && plan.scenario.limit > 0 {
        wrong.extend(too_many(outcome, i64::from(plan.scenario.limit)));
    }
    let slots = i64::from(plan.scenario.slots);
    if slots == 0 {
        return wrong;
    }
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for version in &outcome.runs {
        let object = version.object();
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let now = if version.deleted { 0 } else { slots_of(&object["status"]) };
        held.insert(uid, now);
        let all: i64 = held.values().sum();
        if is_exact && all > slots && wrong.is_empty() {
            wrong.push(format!("{all} slots are held at {:?}, and there are {slots}", held));
        }
        let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Canceled"));
        if over && now > 0 {
            wrong.push(format!("run {} has ended and holds {now} slots", object["metadata"]["name"]));
        }
    }
    wrong
}

/// Runs that are part of no other, and steps with pods, of which more are at work than a policy allows.
fn too_many(outcome: &Outcome, limit: i64) -> Option<String> {
    let mut at_work: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for version in &outcome.runs {
        let object = version.object();
        let (uid, status) = (object["metadata"]["uid"].as_str().unwrap_or_default(), &object["status"]);
        let is_part = object["metadata"]["ownerReferences"].as_array().is_some_and(|o| !o.is_empty());
        let under_way = !is_part && !status["startedAt"].is_null() && status["finishedAt"].is_null();
        let steps = status["steps"].as_object().into_iter().flat_map(|m| m.values());
        let works = |step: &&Value| matches!(step["phase"].as_str(), Some("Starting" | "Running" | "Stopping"));
        let pods = steps.filter(works).filter(|s| !s["pod"].is_null() || !s["job"].is_null());
        let pods: i64 = pods.map(|s| s["capacity"]["parts"].as_i64().unwrap_or(1)).sum();
        at_work.insert(uid, if version.deleted { (0, 0) } else { (i64::from(under_way), pods) });
        let (runs, pods) = at_work.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if runs > limit || pods > limit {
            return Some(format!("{runs} runs and {pods} pods are at work, and there may be {limit} of each"));
        }
    }
    None
}

fn slots_of(status: &Value) -> i64 {
    let lists = [&status["steps"], &status["compensations"]];
    let steps = lists.into_iter().filter_map(Value::as_object).flat_map(|m| m.values());
    steps
        .filter_map(|step| {
            let capacity = &step["capacity"];
            let unit: i64 = capacity["resources"]["slots"].as_str()?.parse().ok()?;
            Some(unit * capacity["parts"].as_i64().unwrap_or(1))
        })
        .sum()
}
