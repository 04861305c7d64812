//! Whose turn is it when an object has changed? What watches and own writes tell, as keys in the queues.

use std::sync::Arc;

use kube::ResourceExt;

use crate::{
    api::{WorkflowRun, WorkflowRunStatus, workflow_run::StepPhase},
    cluster::{
        cache::{Change, Object, key},
        kept_run::KeptRun,
        observe::Caches,
        queue::Queue,
    },
    core::name::Key,
    render::RUN_LABEL,
};

/// Looks at the object that changed; at once, whatever went wrong before, when its own spec did. The look that has written
/// an object needs no other for it.
pub(crate) fn touched<K: Object>(change: &Change<K>, queue: &Queue) {
    if change.by_us && change.before.is_some() {
        return;
    }
    let generation = |o: Option<&Arc<K>>| o.and_then(|o| o.meta().generation);
    let fresh = generation(change.before.as_ref()) != generation(change.after.as_ref());
    if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
        queue.add(key(object.as_ref()), fresh);
    }
}

/// Looks at the object that a label names, in the same namespace.
pub(crate) fn by_label<K: Object>(
    label: &'static str,
    queue: &Arc<Queue>,
) -> impl Fn(&Change<K>) + Send + Sync + 'static + use<K> {
    let queue = Arc::clone(queue);
    move |change| {
        if let Some(object) = change.after.as_ref().or(change.before.as_ref())
            && let (Some(namespace), Some(name)) = (object.namespace(), object.labels().get(label))
        {
            queue.add(Key::new(namespace, name), false);
        }
    }
}

/// Looks at the run of a pod or a Job that others have changed, and takes note of one that has gone.
pub(crate) fn by_run<K: Object>(
    caches: &Caches,
    runs: &Arc<Queue>,
) -> impl Fn(&Change<K>) + Send + Sync + 'static + use<K> {
    let (caches, tell) = (caches.clone(), by_label(RUN_LABEL, runs));
    move |change| {
        caches.note_loss(change);
        // the run that has made a pod knows of it
        if !change.by_us {
            tell(change);
        }
    }
}

/// Looks again at the runs of a workflow that follow no revision yet.
pub(crate) fn pending_runs(caches: &Caches, runs: &Arc<Queue>) -> impl Fn(&Key) + Send + Sync + 'static + use<> {
    let (caches, queue) = (caches.clone(), Arc::clone(runs));
    move |workflow| {
        let pending = |run: &WorkflowRun| run.status.as_ref().is_none_or(|s| s.revision.is_none());
        for run in caches.live_runs(&workflow.namespace, &workflow.name).iter().filter(|r| pending(r)) {
            queue.add(key(run.as_ref()), false);
        }
    }
}

/// Looks again at all runs of a namespace that have not ended: what holds for them may have changed.
pub(crate) fn all_runs(caches: &Caches, runs: &Arc<Queue>) -> impl Fn(&str) + Send + Sync + 'static + use<> {
    let (cache, queue) = (Arc::clone(&caches.runs), Arc::clone(runs));
    move |namespace| {
        for run in cache.in_namespace(namespace).into_iter().filter_map(KeptRun::live) {
            queue.add(key(run.as_ref()), false);
        }
    }
}

/// Looks again at the runs of a namespace that wait for a service, or may be about to: a look that has not seen the change
/// shows in no status yet.
pub(crate) fn waiting_runs(caches: &Caches, runs: &Arc<Queue>) -> impl Fn(&str) + Send + Sync + 'static + use<> {
    let (cache, queue) = (Arc::clone(&caches.runs), Arc::clone(runs));
    move |namespace| {
        for run in cache.in_namespace(namespace).into_iter().filter_map(KeptRun::live) {
            let key = key(run.as_ref());
            if run.status.as_ref().is_some_and(waits) {
                queue.add(key, false);
            } else {
                queue.again(&key);
            }
        }
    }
}

fn waits(status: &WorkflowRunStatus) -> bool {
    status.steps.values().chain(status.compensations.values()).any(|s| s.phase == StepPhase::Waiting)
}
