//! What a pod says, as the view has it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    core::coordination::view::{HandedOver, PodView},
    render::{self, pod::KUEUE_QUEUE_LABEL},
};

/// Whether a pod is being deleted.
#[must_use]
pub const fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a pod has ended.
#[must_use]
pub fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

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

/// Which of these were handed over to Kueue.
#[must_use]
pub fn handed_over(
    pods: &BTreeMap<String, Arc<Pod>>,
    jobs: &BTreeMap<String, Arc<Job>>,
) -> BTreeMap<String, HandedOver> {
    let queue = |meta: &ObjectMeta| meta.labels.as_ref()?.get(KUEUE_QUEUE_LABEL).cloned();
    let placed = |pod: &Pod| {
        let scheduled = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let mut scheduled = scheduled.filter(|c| c.type_ == "PodScheduled" && c.status == "True");
        scheduled.next().and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0)
    };
    let of_pods = pods.iter().filter_map(|(name, pod)| {
        Some((name.clone(), HandedOver { queue: queue(&pod.metadata)?, placed: placed(pod) }))
    });
    let of_jobs = jobs
        .iter()
        .filter_map(|(name, job)| Some((name.clone(), HandedOver { queue: queue(&job.metadata)?, placed: None })));
    of_pods.chain(of_jobs).collect()
}

fn started(pod: &Pod) -> Timestamp {
    pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(Timestamp::UNIX_EPOCH, |t| t.0)
}
