//! Runs: observe, decide, perform — status first, then pods, then calls.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::{
    api::WorkflowRun,
    cluster::{
        clock::Clock,
        error::{Class, Error},
        notes::Notes,
        observe::{Caches, owner_of, prune_run},
        perform::Writer,
        queue::Queue,
    },
    core::{
        coordination::{self, view::View},
        name::Key,
    },
    loops::{dispatcher::Dispatcher, reconciler::Reconcile},
    medical::http::CallIo,
    render,
};

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
    /// Told when a run's phase changes: its workflow counts.
    pub workflows: Arc<Queue>,
    /// Cancelled when this process is about to hand over.
    pub draining: CancellationToken,
}

impl<I: CallIo> Reconcile for Runs<I> {
    const KIND: &'static str = "WorkflowRun";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(run) = self.caches.runs.get(key) else { return Ok(None) };
        let term = self.writer.term()?;
        let uid = run.uid().unwrap_or_default();
        let (in_flight, outcomes) = self.dispatcher.known(&uid);
        let definition = self.caches.definition(&run);
        let (pods, stopping) = self.caches.pods_of(&run);
        let services = self.caches.services_of(&key.namespace, &definition);
        let view = View {
            run: &run,
            definition,
            pods,
            stopping,
            services,
            outcomes,
            in_flight,
            epoch: term.epoch,
            draining: self.draining.is_cancelled(),
        };
        let decision = coordination::decide(&view, self.clock.now());
        let about = run.object_ref(&());
        if let Some(status) = decision.status {
            let mut next = WorkflowRun::clone(&run);
            next.status = Some(status);
            let mut written = match self.writer.replace_status(&next).await {
                Ok(written) => written,
                Err(error) if error.class() == Class::Conflict => {
                    self.writer.refresh(key, &self.caches.runs, prune_run).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            written.managed_fields_mut().clear();
            prune_run(&mut written);
            let phase = |r: &WorkflowRun| r.status.as_ref().and_then(|s| s.phase);
            // the watch event of an own write finds the cache as it is already, and so tells of no change
            let moved = phase(&written) != phase(&run);
            self.caches.runs.wrote(written);
            if moved {
                self.workflows.add(Key::new(&key.namespace, &run.spec.workflow), false);
            }
        }
        self.dispatcher.settled(&uid, view.outcomes.keys());
        let owner = owner_of(&run);
        for wish in &decision.start_pods {
            let pod = self.writer.create(&render::pod::pod(&owner, wish), &owner).await?;
            self.caches.pods.wrote(pod);
        }
        for name in &decision.stop_pods {
            if let Some(pod) = self.caches.pods.get(&Key::new(&key.namespace, name)) {
                self.writer.delete(pod.as_ref()).await?;
            }
        }
        for attempt in &decision.stop_calls {
            self.dispatcher.stop(&uid, attempt);
        }
        for call in decision.start_calls {
            // the lease is checked before a call as before a write
            self.writer.term()?;
            self.dispatcher.start(key, &uid, call);
        }
        self.notes.tell(&about, decision.notes);
        Ok(decision.wake_at)
    }
}
