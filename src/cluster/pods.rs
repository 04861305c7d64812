//! What a pod says, as the view has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    api::{WorkflowRun, workflow_run::StepPhase},
    cluster::{family::every_step, observe::Caches},
    core::coordination::view::PodView,
    render,
};

/// Reads a pod as the view has it.
#[must_use]
pub fn pod_view(pod: &Pod) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let container = status.container_statuses.iter().flatten().find(|c| c.name == render::pod::CONTAINER);
    let state = container.and_then(|c| c.state.clone()).unwrap_or_default();
    let ended = state.terminated;
    // a pod that was preempted, drained or evicted carries this condition, and its container's code is only a consequence
    let disrupted = pod.metadata.deletion_timestamp.is_some()
        || status.conditions.iter().flatten().any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let at = ended.as_ref().and_then(|t| t.finished_at.as_ref()).map(|t| t.0);
    match status.phase.as_deref() {
        Some("Succeeded") => PodView::Succeeded {
            message: ended.and_then(|t| t.message).unwrap_or_default(),
            at: at.unwrap_or(Timestamp::UNIX_EPOCH),
        },
        Some("Failed") => PodView::Failed {
            exit_code: if status.reason.is_some() || disrupted { None } else { ended.as_ref().map(|t| t.exit_code) },
            reason: status.reason.or_else(|| ended.and_then(|t| t.reason)),
            at,
        },
        Some("Running") => {
            PodView::Running { since: state.running.and_then(|r| r.started_at).map_or_else(|| started(pod), |t| t.0) }
        }
        _ => {
            let unplaced =
                status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
            let problem = state.waiting.and_then(|w| w.reason).or_else(|| unplaced.and_then(|c| c.reason.clone()));
            PodView::Pending { problem }
        }
    }
}

fn started(pod: &Pod) -> Timestamp {
    pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(Timestamp::UNIX_EPOCH, |t| t.0)
}

impl Caches {
    /// Names of the pods that steps at work wait for, that were there, and that no watch shows any more.
    #[must_use]
    pub fn missing_pods(&self, run: &WorkflowRun, seen: &BTreeMap<String, Arc<Pod>>) -> BTreeSet<String> {
        let lost = self.lost.of(run.metadata.uid.as_deref().unwrap_or_default());
        let at_work = every_step(run).filter(|s| s.phase.is_at_work());
        let pods = at_work.filter_map(|s| Some((s.phase, s.pod.as_ref()?)));
        let missing = pods.filter(|(phase, name)| {
            !seen.contains_key(*name) && (*phase != StepPhase::Starting || lost.contains(*name))
        });
        missing.map(|(_, name)| name.clone()).collect()
    }
}
