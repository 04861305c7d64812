//! What belongs to a run: its pods, Jobs and child runs as watches show them, and read anew where they show nothing of what a step
//! at work waits for. A watch may lag behind the one that told of the run, and somebody may have taken off the label that it
//! goes by. What is there all the same is not lost: to do its work again would do it twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, PoisonError},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;

use crate::{
    api::{WorkflowRun, workflow_run::StepStatus},
    cluster::{
        error::Error,
        family::{child_view, every_step, has_ended, is_unwanted_by, parent_key},
        jobs::job_view,
        observe::owner_of,
        perform::Reported,
        pods::{is_going, is_over},
    },
    core::{coordination::view::ChildView, name::Key},
    loops::runs::Runs,
    medical::calls::CallIo,
    render::Owner,
};

/// What belongs to a run, by name.
pub(super) struct Belongings {
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
    pub(super) jobs: BTreeMap<String, Arc<Job>>,
    pub(super) children: BTreeMap<String, ChildView>,
    /// No watch shows some of it, and so no event may tell what becomes of it.
    pub(super) unseen: bool,
}

impl<I: CallIo> Runs<I> {
    /// Whether a run is a child that its parent does not want. A parent that names it no more, or not yet, is read anew before a run
    /// is ended for that: a watch that has missed something may still show the parent as it was before it began the child.
    pub(super) async fn is_unwanted(&self, run: &WorkflowRun) -> Result<bool, Error> {
        let ending = run.status.as_ref().is_some_and(|s| s.ending.is_some());
        let known = self.caches.is_unwanted(run);
        if !known || ending || has_ended(run) {
            return Ok(known);
        }
        let Some(parent) = parent_key(run) else { return Ok(false) };
        let parent = self.writer.read::<WorkflowRun>(&parent.namespace, &parent.name).await?;
        Ok(parent.is_some_and(|parent| is_unwanted_by(run, &parent)))
    }

    /// What belongs to a run; `None` when the run as it is cached is not the present one: then the cache holds that afterwards.
    pub(super) async fn belongings(&self, key: &Key, run: &WorkflowRun) -> Result<Option<Belongings>, Error> {
        let owner = owner_of(run);
        let mut pods = self.caches.pods_of(run);
        let mut jobs = self.caches.jobs_of(run);
        let names = every_step(run).flat_map(|s| s.pod.iter().chain(&s.job));
        let named: HashSet<&str> = names.map(String::as_str).collect();
        // what has ended and is named no more is of no interest: of a large run those are many
        pods.retain(|name, pod| named.contains(name.as_str()) || !is_over(pod));
        jobs.retain(|name, job| named.contains(name.as_str()) || job_view(job).end.is_none());
        // what no step names was left by a leader that died, or is what another one has begun since: before it is stopped for the
        // one, it must not be the other. Whoever makes an object has named it in the status before
        let strange = pods.iter().any(|(name, pod)| !named.contains(name.as_str()) && !is_going(pod))
            || jobs.iter().any(|(name, job)| !named.contains(name.as_str()) && job_view(job).is_at_work());
        if strange && !has_ended(run) && !self.is_present(&owner, run).await? {
            return Ok(None);
        }
        let mut children = self.caches.children_of(run);
        let hidden = self.hidden_pods(key, run, &owner, &pods).await?;
        let missing = self.caches.missing(run, |s| s.job.as_ref(), |name| jobs.contains_key(name));
        let hidden_jobs = self.read_all::<Job>(&owner, missing).await?;
        let missing = self.caches.missing(run, only_child, |name| children.contains_key(name));
        let late = self.read_all::<WorkflowRun>(&owner, missing).await?;
        let unseen = !(hidden.is_empty() && hidden_jobs.is_empty() && late.is_empty());
        pods.extend(hidden.into_iter().map(|pod| (pod.name_any(), pod)));
        jobs.extend(hidden_jobs.into_iter().map(|job| (job.name_any(), Arc::new(job))));
        children.extend(late.iter().map(|child| (child.name_any(), child_view(child))));
        Ok(Some(Belongings { pods, jobs, children, unseen }))
    }

    /// Whether a run is stored as it is cached. If not, the cache learns how it is.
    pub(super) async fn is_present(&self, owner: &Owner, run: &WorkflowRun) -> Result<bool, Error> {
        let Some(mut stored) = self.writer.read::<WorkflowRun>(&owner.namespace, &owner.name).await? else {
            return Ok(false);
        };
        if stored.resource_version() == run.resource_version() {
            return Ok(true);
        }
        stored.managed_fields_mut().clear();
        self.caches.runs.wrote(stored);
        Ok(false)
    }

    /// Those of these objects that are there and that the owner controls.
    pub(super) async fn read_all<K: Reported>(&self, owner: &Owner, names: BTreeSet<String>) -> Result<Vec<K>, Error> {
        let mut found = Vec::new();
        for name in names {
            let object = self.writer.read::<K>(&owner.namespace, &name).await?;
            found.extend(object.filter(|o| owner.controls(o.meta())));
        }
        Ok(found)
    }

    async fn hidden_pods(
        &self,
        key: &Key,
        run: &WorkflowRun,
        owner: &Owner,
        seen: &BTreeMap<String, Arc<Pod>>,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        let hidden = || self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = self.caches.missing(run, |s| s.pod.as_ref(), |name| seen.contains_key(name));
        // no step waits for one that was told to stop and went on, since that could not be written
        names.extend(hidden().get(key).into_iter().flatten().filter(|name| !seen.contains_key(*name)).cloned());
        let found: Vec<Arc<Pod>> = self.read_all::<Pod>(owner, names).await?.into_iter().map(Arc::new).collect();
        let at_work = found.iter().filter(|pod| !is_going(pod) && !is_over(pod));
        let at_work: BTreeSet<String> = at_work.map(|pod| pod.name_any()).collect();
        if at_work.is_empty() {
            hidden().remove(key)
        } else {
            hidden().insert(key.clone(), at_work)
        };
        Ok(found)
    }
}

/// The child run of a step that is done once.
fn only_child(step: &StepStatus) -> Option<&String> {
    if step.items.is_some() { None } else { step.run.as_ref() }
}
