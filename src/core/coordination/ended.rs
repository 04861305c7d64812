//! Steps that have ended, out of the API server's way.
//!
//! On every write the API server decodes, validates and compares each field of each step: about a third of a millisecond of
//! processor a step (measured on Kubernetes 1.36), so that a chain of N steps would cost it N² of that. While a large run is under
//! way, its steps that have ended well are therefore one text, which costs what its bytes do. A run that has ended has none: its last
//! write shows every step.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    WorkflowRunStatus,
    workflow_run::{RunPhase, StepStatus},
};

/// So many steps that have ended well stay among the others.
pub const KEPT: usize = 64;

/// Why a run ends whose text cannot be read.
pub(super) const UNREADABLE: &str = "status.endedSteps was changed by somebody else: nobody knows which steps are done";

/// Puts the steps of the text back among the others, and gives their names.
///
/// # Errors
/// When the text is not what [`fold`] has written: it stays where it is, for people to see what became of it.
pub fn unfold(status: &mut WorkflowRunStatus) -> Result<BTreeSet<String>, serde_json::Error> {
    let Some(text) = &status.ended_steps else { return Ok(BTreeSet::new()) };
    let ended: BTreeMap<String, StepStatus> = serde_json::from_str(text)?;
    status.ended_steps = None;
    let names = ended.keys().cloned().collect();
    status.steps.extend(ended);
    Ok(names)
}

/// Takes steps that have ended well out of a whole status: those that were out before, and all of them when more than [`KEPT`] have
/// come to that since.
pub fn fold(status: &mut WorkflowRunStatus, before: &BTreeSet<String>) {
    if status.phase.is_some_and(RunPhase::is_final) {
        return;
    }
    let new = status.steps.iter().filter(|(name, s)| s.phase.is_done() && !before.contains(*name)).count();
    let all = new > KEPT;
    if !all && before.is_empty() {
        return;
    }
    let out: BTreeMap<String, StepStatus> =
        status.steps.extract_if(.., |name, s| before.contains(name) || (all && s.phase.is_done())).collect();
    match serde_json::to_string(&out) {
        Ok(text) => status.ended_steps = Some(text),
        // a status that came from JSON can be written as JSON; were it not so, it would be whole
        Err(_) => status.steps.extend(out),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(ended: usize, open: usize) -> WorkflowRunStatus {
        let steps: serde_json::Map<String, serde_json::Value> = (0..ended + open)
            .map(|n| {
                let phase = if n < ended { "Succeeded" } else { "Running" };
                (format!("s{n:03}"), json!({ "phase": phase, "attempt": 1, "outputs": { "n": n } }))
            })
            .collect();
        serde_json::from_value(json!({ "phase": "Running", "steps": steps })).unwrap()
    }

    #[test]
    fn what_is_folded_comes_back_as_it_was() {
        let whole = status(KEPT + 1, 3);
        let mut folded = whole.clone();
        fold(&mut folded, &BTreeSet::new());
        assert_eq!(folded.steps.len(), 3);
        let names = unfold(&mut folded).unwrap();
        assert_eq!((names.len(), &folded), (KEPT + 1, &whole));
    }

    #[test]
    fn a_small_run_and_one_that_has_ended_are_shown_whole() {
        let mut small = status(KEPT, 3);
        fold(&mut small, &BTreeSet::new());
        assert_eq!(small, status(KEPT, 3));
        let mut over = status(KEPT * 2, 0);
        over.phase = Some(RunPhase::Succeeded);
        let whole = over.clone();
        fold(&mut over, &whole.steps.keys().cloned().collect());
        assert_eq!(over, whole);
    }

    #[test]
    fn what_was_out_stays_out_and_the_text_grows_by_many_at_once() {
        let first: BTreeSet<String> = status(KEPT + 1, 0).steps.into_keys().collect();
        let mut next = status(KEPT + 30, 1);
        fold(&mut next, &first);
        assert_eq!(next.steps.len(), 30);
        let mut later = status(2 * KEPT + 2, 1);
        fold(&mut later, &first);
        assert_eq!(later.steps.len(), 1);
        assert!(
            later.ended_steps > next.ended_steps || later.ended_steps.unwrap().len() > next.ended_steps.unwrap().len()
        );
    }

    #[test]
    fn a_text_of_somebody_else_is_an_error() {
        let mut status = WorkflowRunStatus { ended_steps: Some("[]".to_owned()), ..WorkflowRunStatus::default() };
        assert!(unfold(&mut status).is_err());
        assert_eq!(status.ended_steps.as_deref(), Some("[]"), "it stays to be looked at");
    }
}
