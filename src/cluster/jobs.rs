//! Jobs of runs: what of them is kept, and what they say.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;

use crate::{
    api::WorkflowRun,
    cluster::{
        family::every_step,
        observe::{Caches, owner_of},
    },
    core::{
        coordination::view::{JobEnd, JobView},
        name::Key,
    },
};

impl Caches {
    /// The Jobs that a run's status names and that it owns.
    #[must_use]
    pub fn jobs_of(&self, run: &WorkflowRun) -> BTreeMap<String, JobView> {
        let namespace = run.metadata.namespace.clone().unwrap_or_default();
        let owner = owner_of(run);
        let names = every_step(run).filter_map(|s| s.job.as_ref());
        let jobs = names.filter_map(|name| {
            let job = self.jobs.get(&Key::new(&namespace, name)).filter(|j| owner.controls(&j.metadata))?;
            Some((name.clone(), view(&job)))
        });
        jobs.collect()
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
fn view(job: &Job) -> JobView {
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
