//! Workflows: the definition stored, the runs counted, the workflow's own run made — objects first, then the status.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Resource;

use crate::{
    api::{Workflow, WorkflowRun, WorkflowRunSpec},
    cluster::{
        clock::Clock,
        error::Error,
        notes::Notes,
        observe::{Caches, owner_of_workflow},
        perform::Writer,
    },
    core::{
        coordination::{
            forecast::history::News,
            workflow::{Decision, View, decide},
        },
        name::Key,
    },
    loops::{reconciler::Reconcile, refusals::set_aside, samples::Samples},
    render::{self, Owner, WORKFLOW_LABEL},
};

/// How long the changes of runs are gathered before their workflow looks at them: it looks at all of its runs then.
pub const RUNS_WAIT: Duration = Duration::from_millis(250);

/// What is needed to look after workflows.
pub struct Workflows {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// The time.
    pub clock: Clock,
    /// Who tells people.
    pub notes: Notes,
    /// What runs that have ended have shown.
    pub samples: Arc<Samples>,
    /// When each workflow's status was last written by this process.
    pub written: Mutex<HashMap<Key, Timestamp>>,
}

impl Reconcile for Workflows {
    const KIND: &'static str = "Workflow";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(workflow) = self.caches.workflows.get(key) else {
            self.written(|w| w.remove(key));
            self.samples.forget(key);
            return Ok(None);
        };
        let term = self.writer.term_after(workflow.status.as_ref().and_then(|s| s.leader_epoch))?;
        let owner = owner_of_workflow(&workflow);
        let samples = self.samples.of(key);
        let view = View {
            workflow: &workflow,
            revisions: self.caches.revisions_of(&workflow),
            runs: self.caches.runs_of(&key.namespace, &key.name),
            written_at: self.written(|w| w.get(key).copied()),
            refused: None,
            learned: self.caches.learned(&workflow),
            news: News { epoch: term.epoch, samples: &samples },
        };
        let mut decision = decide(&view, self.clock.now());
        let mut refused = None;
        set_aside(self.bring_about(key, &workflow, &owner, &decision).await, &mut refused)?;
        let refusal = refused.as_ref().and_then(Error::refusal);
        if refusal.is_some() {
            // the status reports what has become of the objects
            decision = decide(&View { refused: refusal.as_ref(), ..view }, self.clock.now());
        }
        let about = workflow.object_ref(&());
        if let Some(status) = decision.status {
            let mut next = Workflow::clone(&workflow);
            next.status = Some(status);
            self.writer.report(&next, &self.caches.workflows).await?;
            let now = self.clock.now();
            self.written(|w| w.insert(key.clone(), now));
        }
        // either the status holds them now, or nothing of them belongs into it
        if let Some((number, _)) = samples.last().filter(|_| !decision.held) {
            self.samples.counted(key, *number);
        }
        self.notes.tell(&about, &decision.notes);
        refused.map_or(Ok(decision.wake_at), Err)
    }
}

impl Workflows {
    /// Objects, each after the one that it needs: a refusal ends it.
    async fn bring_about(
        &self,
        key: &Key,
        workflow: &Workflow,
        owner: &Owner,
        decision: &Decision,
    ) -> Result<(), Error> {
        if let Some((name, spec)) = &decision.store {
            let generation = workflow.metadata.generation.unwrap_or(0);
            let revision = render::revision::revision(owner, name, generation, spec);
            let (stored, _) = self.writer.create(&revision, owner).await?;
            self.caches.revisions.wrote(stored);
        }
        if let Some(name) = &decision.start_run {
            let spec = WorkflowRunSpec { workflow: key.name.clone(), ..WorkflowRunSpec::default() };
            let run =
                WorkflowRun { metadata: owner.metadata(name, &[(WORKFLOW_LABEL, &key.name)]), spec, status: None };
            let (made, _) = self.writer.create(&run, owner).await?;
            self.caches.runs.wrote(made);
        }
        for name in &decision.drop_revisions {
            if let Some(revision) = self.caches.revisions.get(&Key::new(&key.namespace, name)) {
                self.writer.delete(revision.as_ref()).await?;
            }
        }
        for name in &decision.drop_runs {
            if let Some(run) = self.caches.runs.get(&Key::new(&key.namespace, name)) {
                self.writer.delete(run.as_ref()).await?;
            }
        }
        Ok(())
    }

    fn written<T>(&self, f: impl FnOnce(&mut HashMap<Key, Timestamp>) -> T) -> T {
        f(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
