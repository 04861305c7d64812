//! The slots that steps hold in a scenario with a pool: never more than there are, and none when all has ended. So, too, calls at
//! work at a service that says how many it takes.

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
    let slots = i64::from(plan.scenario.slots);
    if slots == 0 {
        return wrong;
    }
    // a write that takes effect after its writer has given it up, or that of a leader whose clock lets it lead too long, is not
    // known to whoever leads next
    let unknown = |t: &Trouble| matches!(t, Trouble::Late { .. } | Trouble::Overlap { .. } | Trouble::Skew { .. });
    let is_exact = !plan.troubles.iter().any(unknown);
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
