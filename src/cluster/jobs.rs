//! Jobs of runs: what of them is kept, and what they say.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::batch::v1::Job;

use crate::{
    api::WorkflowRun,
    cluster::observe::{Caches, of_run},
    core::coordination::view::{JobEnd, JobView},
};

impl Caches {
    /// The Jobs that a run owns, by name, those of former attempts too.
    #[must_use]
    pub fn jobs_of(&self, run: &WorkflowRun) -> BTreeMap<String, Arc<Job>> {
        of_run(&self.jobs, run)
    }
}

/// Keeps of a Job its metadata, how many items are where, and how it ended.
pub fn prune_job(job: &mut Job) {
    job.spec = None;
    if let Some(status) = &mut job.status {
        status.uncounted_terminated_pods = None;
    }
}

/// Reads a Job as the view has it.
#[must_use]
pub fn job_view(job: &Job) -> JobView {
    let status = job.status.clone().unwrap_or_default();
    let active = status.active.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    // Complete and Failed are set when the last pod has ended
    let end = status.conditions.iter().flatten().filter(|c| c.status == "True").find_map(|c| match c.type_.as_str() {
        "Complete" => Some(JobEnd::Complete),
        "Failed" => Some(JobEnd::Failed(c.reason.clone().unwrap_or_default())),
        _ => None,
    });
    JobView {
        since: status.start_time.filter(|_| active > 0).map(|t| t.0),
        active,
        succeeded: status.completed_indexes.unwrap_or_default(),
        failed: status.failed_indexes.unwrap_or_default(),
        end,
        stopping: job.metadata.deletion_timestamp.is_some(),
    }
}
