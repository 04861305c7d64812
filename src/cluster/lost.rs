//! What runs that have not ended had and have no more: pods, Jobs and child runs that were there and have gone.
//!
//! A step's status does not tell whether its pod was ever seen: it says `Starting` from before the pod is made. Whoever has seen
//! it, or has made it, must not take its absence for that of a pod that is still to be made. Only kept in memory: a process
//! that has just started knows nothing, and goes by the status.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;

use crate::{
    api::{
        WorkflowRun,
        workflow_run::{StepPhase, StepStatus},
    },
    cluster::{
        cache::{Change, Object},
        family::{every_step, has_ended},
        observe::Caches,
    },
    core::name::Key,
};

/// Names of objects that have gone or may have, by the UID of the run that owned them.
#[derive(Debug, Default)]
pub struct Lost(Mutex<HashMap<String, Names>>);

#[derive(Debug, Default)]
struct Names {
    gone: BTreeSet<String>,
    doubtful: BTreeSet<String>,
}

impl Lost {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object of this run has gone.
    pub fn add(&self, run: &str, name: String) {
        self.lock().entry(run.to_owned()).or_default().gone.insert(name);
    }

    /// What of this run has gone.
    #[must_use]
    pub fn of(&self, run: &str) -> BTreeSet<String> {
        self.lock().get(run).map(|names| names.gone.clone()).unwrap_or_default()
    }

    /// No answer came when an object of this run was made: it may have been there.
    pub fn doubt(&self, run: &str, name: String) {
        self.lock().entry(run.to_owned()).or_default().doubtful.insert(name);
    }

    /// What of this run may have been made without an answer.
    #[must_use]
    pub fn doubtful(&self, run: &str) -> BTreeSet<String> {
        self.lock().get(run).map(|names| names.doubtful.clone()).unwrap_or_default()
    }

    /// A run has ended, or has gone itself.
    fn forget(&self, run: &str) {
        self.lock().remove(run);
    }
}

impl Caches {
    /// Takes note of an object that has gone, if a run that has not ended owns it.
    pub fn note_loss<K: Object>(&self, change: &Change<K>) {
        let (Some(gone), None) = (&change.before, &change.after) else { return };
        let owner = gone.owner_references().iter().find(|o| o.controller == Some(true));
        let Some((owner, namespace)) = owner.zip(gone.namespace()) else { return };
        let run = self.runs.get(&Key::new(namespace, &owner.name));
        if run.is_some_and(|run| run.uid().as_ref() == Some(&owner.uid) && !has_ended(&run)) {
            self.lost.add(&owner.uid, gone.name_any());
        }
    }

    /// Names of the objects that steps at work wait for, that were there or may have been, and that are not among those seen.
    #[must_use]
    pub fn missing(
        &self,
        run: &WorkflowRun,
        name_of: impl Fn(&StepStatus) -> Option<&String>,
        seen: impl Fn(&String) -> bool,
    ) -> BTreeSet<String> {
        let uid = run.metadata.uid.as_deref().unwrap_or_default();
        let (lost, doubtful) = (self.lost.of(uid), self.lost.doubtful(uid));
        let may_be_there = |phase: StepPhase, name: &String| {
            phase != StepPhase::Starting || lost.contains(name) || doubtful.contains(name)
        };
        let names = every_step(run).filter(|s| s.phase.is_at_work()).filter_map(|s| Some((s.phase, name_of(s)?)));
        let missing = names.filter(|(phase, name)| !seen(name) && may_be_there(*phase, name));
        missing.map(|(_, name)| name.clone()).collect()
    }

    /// Forgets what a run has lost, once that does not matter any more.
    pub fn forget_losses(&self, change: &Change<WorkflowRun>) {
        let over = change.after.as_ref().is_none_or(|run| has_ended(run));
        if let Some(run) = change.after.as_ref().or(change.before.as_ref()).filter(|_| over) {
            self.lost.forget(&run.uid().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn run(phase: &str, version: u64) -> WorkflowRun {
        serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
            "metadata": {"namespace": "n", "name": "r1", "uid": "u1", "resourceVersion": version.to_string()},
            "spec": {"workflow": "w"}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn gone(name: &str, owner: &str) -> Change<Pod> {
        let owner = json!({"apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun", "name": "r1", "uid": owner, "controller": true});
        let pod = json!({"metadata": {"namespace": "n", "name": name, "ownerReferences": [owner]}});
        Change { before: Some(Arc::new(serde_json::from_value(pod).unwrap())), after: None, by_us: false }
    }

    #[test]
    fn a_run_that_has_not_ended_knows_what_it_has_lost_until_it_ends() {
        let caches = Caches::default();
        caches.runs.applied(run("Running", 1));
        caches.note_loss(&gone("mine", "u1"));
        caches.note_loss(&gone("of-an-earlier-run-of-that-name", "u0"));
        assert_eq!(caches.lost.of("u1"), BTreeSet::from(["mine".to_owned()]));
        let ended = caches.runs.applied(run("Succeeded", 2)).unwrap();
        caches.forget_losses(&ended);
        caches.note_loss(&gone("late", "u1"));
        assert!(caches.lost.of("u1").is_empty());
    }
}
