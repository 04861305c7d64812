//! Does one status follow from another, and are two ends the same?

use medley::api::{WorkflowRunStatus, status::ANOMALOUS, workflow_run::RunPhase};
use serde_json::Value;

/// What in a status does not follow from the one before.
pub(crate) fn goes_back(before: &WorkflowRunStatus, after: &WorkflowRunStatus) -> Option<String> {
    if before.leader_epoch > after.leader_epoch {
        return Some("an epoch decreased".to_owned());
    }
    if let (Some(was), Some(is)) = (before.phase, after.phase)
        && was != is
        && (was.is_final() || is == RunPhase::Pending)
    {
        return Some(format!("a run went back from {was:?} to {is:?}"));
    }
    for (what, before, after) in
        [("step", &before.steps, &after.steps), ("compensation", &before.compensations, &after.compensations)]
    {
        for (name, was) in before {
            match after.get(name) {
                None => return Some(format!("{what} {name} is forgotten")),
                Some(is) if was.attempt > is.attempt => return Some(format!("{what} {name}: an attempt came back")),
                Some(is) if was.phase.is_final() && was != is => {
                    return Some(format!("{what} {name}: changed after its end"));
                }
                Some(_) => {}
            }
        }
    }
    None
}

/// Takes away what depends on the way there: moments, versions, generations, UIDs, epochs, and what was learned on it.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| {
                let moment = name.ends_with("At")
                    || name.ends_with("Time")
                    || name.ends_with("Timestamp")
                    || matches!(name.as_str(), "since" | "at");
                !moment
                    && !matches!(
                        name.as_str(),
                        // what is learned may miss the runs of a leader's last seconds
                        "uid"
                            | "resourceVersion"
                            | "managedFields"
                            | "leaderEpoch"
                            | "generation"
                            | "flow"
                            | "measurements"
                    )
            });
            map.values_mut().for_each(mask);
        }
        Value::Array(items) => {
            items.retain(|item| item["type"] != ANOMALOUS);
            items.iter_mut().for_each(mask);
        }
        _ => {}
    }
}
