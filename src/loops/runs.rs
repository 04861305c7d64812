//! Runs: observe, decide, perform — status first, then pods, then calls.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{WorkflowRun, WorkflowRunStatus, workflow_run::RunPhase},
    cluster::{
        cache::{Cache, Kept, Object},
        clock::Clock,
        definitions::pinned_revision,
        error::Error,
        family::{has_ended, live_epoch, parent_key, wanted_children},
        jobs::job_view,
        notes::Notes,
        observe::{Caches, owner_of},
        perform::Writer,
        pods::{handed_over, is_going, pod_view},
        queue::Queue,
    },
    core::{
        coordination::{
            self,
            forecast::{self, Sample},
            risk::Outlook,
            view::{DefinitionView, OriginView, View},
        },
        discovery::guard::AddressGuard,
        name::Key,
    },
    loops::{
        admitter::Admitter, dispatcher::Dispatcher, lanes::Lanes, reconciler::Reconcile, refusals::Refusals,
        samples::Samples, workflows::RUNS_WAIT,
    },
    medical::calls::CallIo,
    render::Owner,
    telemetry::Metrics,
};

/// How soon what no watch shows is read again.
const UNSEEN_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// How soon a run is looked at again that was not as the cache held it.
const STALE_AGAIN: SignedDuration = SignedDuration::from_millis(100);

/// What is needed to drive runs.
pub struct Runs<I> {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// Who calls.
    pub dispatcher: Arc<Dispatcher<I>>,
    /// The time.
    pub clock: Clock,
    /// Who tells people.
    pub notes: Notes,
    /// Pods that no watch shows and that are at work, by run.
    pub hidden: Mutex<HashMap<Key, BTreeSet<String>>>,
    /// Told when a run's phase changes: its workflow counts.
    pub workflows: Arc<Queue>,
    /// UID and concurrency key of runs whose start was decided and is not known to be written: they count as started.
    pub starting: Mutex<HashMap<String, String>>,
    /// Which addresses may be called.
    pub guard: Arc<AddressGuard>,
    /// What runs that have ended have shown, on its way to their workflows.
    pub samples: Arc<Samples>,
    /// The forecasts that runs at work were last decided with.
    pub outlooks: Mutex<HashMap<Key, Outlook>>,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when this process is about to hand over.
    pub draining: CancellationToken,
    /// Who grants capacity.
    pub admitter: Arc<Admitter>,
    /// The queues for calls.
    pub lanes: Arc<Lanes>,
    /// What the API server refused, for the next status.
    pub refusals: Refusals,
}

impl<I: CallIo> Reconcile for Runs<I> {
    const KIND: &'static str = "WorkflowRun";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(run) = self.caches.runs.get(key) else {
            self.refusals.forget(key);
            self.hidden.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            self.outlooks(|o| o.remove(key));
            self.admitter.forget(key);
            return Ok(None);
        };
        let term = self.writer.term_after(live_epoch(&run))?;
        let uid = run.uid().unwrap_or_default();
        let held = self.lanes.held_by(key, &uid);
        let (in_flight, outcomes) = self.dispatcher.known(&uid);
        let origin = self.origin(&run).await?;
        let definition = self.definition(&run, origin.as_ref()).await?;
        let Some(own) = self.belongings(key, &run).await? else { return Ok(Some(self.soon())) };
        let unwanted = self.is_unwanted(&run).await?;
        let answers = self.caches.answers_of(&key.namespace, &definition);
        let mut services = self.caches.services_of(&key.namespace, &definition, &answers, &self.guard);
        self.lanes.tell_loads(&key.namespace, &mut services);
        let conditions = run.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
        let refused_before = self.refusals.of(key, conditions);
        let limited =
            matches!(&definition, DefinitionView::Found { definition, .. } if definition.concurrency.is_some());
        let mut view = View {
            run: &run,
            model: self.caches.model_of(&run, &definition),
            outlook: self.outlooks(|o| o.get(key).cloned()),
            definition,
            pods: own.pods.iter().map(|(name, pod)| (name.clone(), pod_view(pod))).collect(),
            stopping: own.pods.iter().filter(|(_, pod)| is_going(pod)).map(|(name, _)| name.clone()).collect(),
            lost: self.caches.lost.of(&uid),
            doubtful: self.caches.lost.doubtful(&uid),
            jobs: own.jobs.iter().map(|(name, job)| (name.clone(), job_view(job))).collect(),
            handed_over: handed_over(&own.pods, &own.jobs),
            services,
            answers,
            outcomes,
            in_flight,
            children: own.children.clone(),
            depth: self.caches.depth_of(&run),
            unwanted,
            rivals: Vec::new(),
            origin,
            epoch: term.epoch,
            draining: self.draining.is_cancelled(),
            scheduling: self.admitter.view(&run),
            turns: self.lanes.turns(&uid),
            refused: refused_before.as_ref(),
        };
        let mut decision = if limited {
            // of two runs that are looked at together, the second sees what was decided about the first
            let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
            view.rivals = self.caches.rivals_of(&run, |uid| starting.get(uid).cloned());
            let decision = coordination::decide(&view, self.clock.now());
            let started = run.status.as_ref().is_some_and(|s| s.started_at.is_some());
            match decision.status.as_ref().filter(|s| !started && s.started_at.is_some()) {
                Some(next) => starting.insert(uid.clone(), next.concurrency_key.clone().unwrap_or_default()),
                None => starting.remove(&uid),
            };
            decision
        } else {
            coordination::decide(&view, self.clock.now())
        };
        self.outlooks(|o| match decision.outlook.take() {
            Some(outlook) => o.insert(key.clone(), outlook),
            None => o.remove(key),
        });
        let (owner, about) = (owner_of(&run), run.object_ref(&()));
        // a write would fail for a leader that has been followed without knowing; nothing else tells it that its successor has ended what
        // it is about to make again
        if decision.makes_again() && !self.is_present(&owner, &run).await? {
            return Ok(Some(self.soon()));
        }
        self.clear_away(&decision, &owner, &about).await?;
        if let Some(status) = &decision.status {
            let sample = sample_of(&view, status);
            self.write_status(&run, status.clone()).await?;
            if let Some(sample) = sample {
                let workflow = Key::new(&key.namespace, &run.spec.workflow);
                self.samples.add(workflow.clone(), sample);
                self.workflows.add_within(workflow, RUNS_WAIT);
            }
        }
        self.admitter.settle(&run, &mut decision);
        self.lanes.settle(key, &uid, &mut decision);
        self.dispatcher.settled(&uid, view.outcomes.keys().filter(|a| !decision.held.contains(a)));
        // told as soon as the status holds what they tell
        self.notes.tell(&about, &decision.notes);
        let again = own.unseen.then(|| self.clock.now().saturating_add(UNSEEN_AGAIN).unwrap_or(Timestamp::MAX));
        let wake_at = decision.wake_at.into_iter().chain(again).min();
        let lost = view.lost.len();
        let done = self.bring_about(key, decision, &owner, &own).await;
        if self.caches.runs.get(key).is_none_or(|present| present.metadata.uid.as_ref() != Some(&uid)) {
            // it has gone meanwhile, and the watch that tells of that may have passed
            self.dispatcher.forget(&uid);
        }
        let (refused, found) = done?;
        if refused.is_none() {
            held.keep();
        }
        let news = self.refusals.note(key, refused_before.as_ref(), refused.as_ref());
        // what was made and has gone already
        let news = news || found || self.caches.lost.of(&uid).len() > lost;
        match refused {
            Some(error) => Err(error),
            None if news => Ok(Some(self.clock.now())),
            None => Ok(wake_at),
        }
    }
}

impl<I: CallIo> Runs<I> {
    /// The run that `spec.retryFrom` names, read anew: of finished runs the cache keeps little.
    async fn origin(&self, run: &WorkflowRun) -> Result<Option<OriginView>, Error> {
        let started =
            run.status.as_ref().is_some_and(|s| s.started_at.is_some() || s.phase.is_some_and(RunPhase::is_final));
        let Some(from) = run.spec.retry_from.as_ref().filter(|_| !started) else { return Ok(None) };
        let other = self.writer.read::<WorkflowRun>(&run.namespace().unwrap_or_default(), &from.run).await?;
        Ok(Some(other.map_or(OriginView::NotFound, |run| OriginView::Found(Box::new(run)))))
    }

    /// The definition that a run follows. One that is missing is read anew before it is taken for lost: its watch may lag behind
    /// that of runs.
    async fn definition(&self, run: &WorkflowRun, origin: Option<&OriginView>) -> Result<DefinitionView, Error> {
        let known = self.caches.definition(run, origin);
        let Some(name) =
            pinned_revision(run, origin).filter(|_| !has_ended(run) && matches!(known, DefinitionView::Lost))
        else {
            return Ok(known);
        };
        let namespace = run.namespace().unwrap_or_default();
        if let Some(mut found) = self.writer.read::<ControllerRevision>(&namespace, &name).await? {
            found.managed_fields_mut().clear();
            let live = self.caches.definition_in(&found);
            self.caches.revisions.wrote(found);
            return Ok(live);
        }
        Ok(known)
    }

    /// When a run is looked at again that was not as the cache held it.
    fn soon(&self) -> Timestamp {
        self.clock.now().saturating_add(STALE_AGAIN).unwrap_or(Timestamp::MAX)
    }

    async fn write_status(&self, run: &WorkflowRun, status: WorkflowRunStatus) -> Result<(), Error> {
        let mut next = run.clone();
        next.status = Some(status);
        self.writer.report(&next, &self.caches.runs).await?;
        self.count(run, &next);
        Ok(())
    }
}

impl<I> Runs<I> {
    /// Takes in an object that was made, or that an earlier attempt made. One that has gone meanwhile is lost.
    pub(super) fn made<K: Object, S: Kept<K>>(&self, owner: &Owner, cache: &Cache<K, S>, object: K) {
        let name = object.name_any();
        if !cache.wrote(object) {
            self.caches.lost.add(&owner.uid, name);
        }
    }

    fn outlooks<T>(&self, f: impl FnOnce(&mut HashMap<Key, Outlook>) -> T) -> T {
        f(&mut self.outlooks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what a status write has told about a deadline.
    fn count(&self, before: &WorkflowRun, after: &WorkflowRun) {
        let at_risk = |r: &WorkflowRun| r.status.as_ref().and_then(|s| s.deadline.as_ref()?.at_risk) == Some(true);
        if at_risk(after) && !at_risk(before) {
            self.metrics.deadline_risks.inc();
        }
        if phase(Some(after)).is_some_and(RunPhase::is_final) && after.status.as_ref().is_some_and(forecast::is_overdue)
        {
            self.metrics.deadline_misses.inc();
        }
    }
}

/// What this status, if it is a run's last, has to teach.
fn sample_of(view: &View<'_>, status: &WorkflowRunStatus) -> Option<Sample> {
    let DefinitionView::Found { definition, .. } = &view.definition else { return None };
    if status.phase.is_some_and(RunPhase::is_final) { forecast::sample(definition, status) } else { None }
}

fn phase(run: Option<&WorkflowRun>) -> Option<RunPhase> {
    run.and_then(|r| r.status.as_ref()?.phase)
}

/// Looks again at the runs that a change of one run concerns: its parent, children that it does not want any more, and the
/// runs that share its place (`concurrency`).
pub fn tell_others(caches: &Caches, queue: &Queue, before: Option<&WorkflowRun>, after: Option<&WorkflowRun>) {
    let Some(run) = after.or(before) else { return };
    let namespace = run.namespace().unwrap_or_default();
    let wanted = after.map(wanted_children).unwrap_or_default();
    for name in before.map(wanted_children).unwrap_or_default().difference(&wanted) {
        queue.add(Key::new(&namespace, name), false);
    }
    let moved = after.is_none() || phase(before) != phase(after);
    if moved && let Some(parent) = parent_key(run) {
        queue.add(parent, false);
    }
    if moved && run.status.as_ref().is_some_and(|s| s.concurrency_key.is_some()) {
        caches.sharing_place_with(run).into_iter().for_each(|rival| queue.add(rival, false));
    }
}
