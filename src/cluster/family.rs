//! How runs belong together: parents and children, and those of which only so many are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        WorkflowRun,
        status::SUCCEEDED,
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    cluster::{
        cache::key,
        kept_run::KeptRun,
        observe::{Caches, owner_of},
    },
    core::{
        condition,
        coordination::{
            MAX_DEPTH, fan_out, parent_reference,
            view::{ChildView, Rival},
        },
        name::Key,
    },
};

impl Caches {
    /// The child runs that a run's status names and that it owns.
    #[must_use]
    pub fn children_of(&self, run: &WorkflowRun) -> BTreeMap<String, ChildView> {
        let namespace = run.namespace().unwrap_or_default();
        let owner = owner_of(run);
        every_step(run)
            .flat_map(|s| {
                let (running, stopping) = fan_out::children(s);
                s.run.clone().filter(|_| s.items.is_none()).into_iter().chain(running).chain(stopping)
            })
            .filter_map(|name| {
                let child = self.runs.get(&Key::new(&namespace, &name)).filter(|c| owner.controls(&c.metadata))?;
                let view = child_view(&child);
                Some((name, view))
            })
            .collect()
    }

    /// The run that this one is a child of.
    fn parent_of(&self, run: &WorkflowRun) -> Option<Arc<WorkflowRun>> {
        let reference = parent_reference(run)?;
        let parent = self.runs.get(&Key::new(run.namespace().unwrap_or_default(), &reference.name))?;
        (parent.uid().as_ref() == Some(&reference.uid)).then_some(parent)
    }

    /// How many runs a run is nested in; counted no further than matters.
    #[must_use]
    pub fn depth_of(&self, run: &WorkflowRun) -> usize {
        let mut depth = 0;
        let mut present = self.parent_of(run);
        while let Some(parent) = present.filter(|_| depth < MAX_DEPTH) {
            depth += 1;
            present = self.parent_of(&parent);
        }
        depth
    }

    /// Whether a run is a child whose parent has ended, has told it to stop, or has gone on without it.
    #[must_use]
    pub fn is_unwanted(&self, run: &WorkflowRun) -> bool {
        self.parent_of(run).is_some_and(|parent| is_unwanted_by(run, &parent))
    }

    /// The highest epoch under which a run that has not ended was written; 0 when there is none.
    #[must_use]
    pub fn latest_epoch(&self) -> i64 {
        let live = self.runs.all().into_values().filter_map(KeptRun::live);
        live.filter_map(|r| live_epoch(&r)).max().unwrap_or(0)
    }

    /// The runs of a workflow that have not ended, by name.
    #[must_use]
    pub fn live_runs(&self, namespace: &str, workflow: &str) -> Vec<Arc<WorkflowRun>> {
        let live = self.runs.in_group(namespace, &group(workflow, false));
        live.into_iter().filter_map(|(_, run)| run.live()).collect()
    }

    /// The other runs of the same workflow that have not ended; `about_to_start` tells the key of
    /// those whose start is being written.
    #[must_use]
    pub fn rivals_of(&self, run: &WorkflowRun, about_to_start: impl Fn(&str) -> Option<String>) -> Vec<Rival> {
        let live = self.live_runs(&run.namespace().unwrap_or_default(), &run.spec.workflow);
        let others = live.iter().filter(|r| r.metadata.name != run.metadata.name);
        others
            .map(|r| {
                let status = r.status.as_ref();
                let about_to_start = about_to_start(r.uid().unwrap_or_default().as_str());
                Rival {
                    name: r.name_any(),
                    created_at: r.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |t| t.0),
                    urgency: r.spec.urgency,
                    started: status.is_some_and(|s| s.started_at.is_some()) || about_to_start.is_some(),
                    key: status.and_then(|s| s.concurrency_key.clone()).or(about_to_start),
                }
            })
            .collect()
    }

    /// The runs that have not ended and that count together with this one (`concurrency`), or may: a run whose first status is
    /// being written shows no key yet.
    #[must_use]
    pub fn sharing_place_with(&self, run: &WorkflowRun) -> Vec<Key> {
        let place = |r: &WorkflowRun| r.status.as_ref().and_then(|s| s.concurrency_key.clone());
        let live = self.live_runs(&run.namespace().unwrap_or_default(), &run.spec.workflow);
        let may_share = |r: &WorkflowRun| place(r).is_none_or(|p| Some(p) == place(run));
        let same = live.iter().filter(|r| r.uid() != run.uid() && may_share(r));
        same.map(|r| key(r.as_ref())).collect()
    }
}

/// Reads a child run as its parent's view has it.
#[must_use]
pub fn child_view(child: &WorkflowRun) -> ChildView {
    let status = child.status.clone().unwrap_or_default();
    ChildView {
        created_at: child.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |t| t.0),
        phase: status.phase.unwrap_or(RunPhase::Pending),
        reason: condition::find(&status.conditions, SUCCEEDED).map(|c| c.reason.clone()).unwrap_or_default(),
        since: status.started_at,
        outputs: status.outputs,
    }
}

/// Whether a run is in a final phase.
#[must_use]
pub fn has_ended(run: &WorkflowRun) -> bool {
    run.status.as_ref().and_then(|s| s.phase).is_some_and(RunPhase::is_final)
}

/// The epoch under which a run was last written, unless it has ended: then nobody writes it any more.
#[must_use]
pub fn live_epoch(run: &WorkflowRun) -> Option<i64> {
    run.status.as_ref().filter(|_| !has_ended(run)).and_then(|s| s.leader_epoch)
}

/// Runs are found by their workflow, and by whether they have ended.
pub(super) fn group_of_run(run: &KeptRun) -> Option<String> {
    Some(group(run.workflow(), matches!(run, KeptRun::Ended(_))))
}

/// The group of the runs of a workflow that have ended, or of those that have not.
pub(super) fn group(workflow: &str, ended: bool) -> String {
    format!("{workflow}/{}", if ended { "ended" } else { "live" })
}

/// The statuses of all steps and of what undoes them.
pub(crate) fn every_step(run: &WorkflowRun) -> impl Iterator<Item = &StepStatus> {
    run.status.iter().flat_map(|s| s.steps.values().chain(s.compensations.values()))
}

/// Names of the child runs that a run waits for.
#[must_use]
pub fn wanted_children(run: &WorkflowRun) -> BTreeSet<String> {
    if has_ended(run) {
        return BTreeSet::new();
    }
    let items = every_step(run).filter(|s| !s.phase.is_final()).flat_map(|s| fan_out::children(s).0);
    let wanted = every_step(run).filter(|s| matches!(s.phase, StepPhase::Starting | StepPhase::Running));
    wanted.filter(|s| s.items.is_none()).filter_map(|s| s.run.clone()).chain(items).collect()
}

/// Whether a run is a child of this run, and not wanted by it.
#[must_use]
pub fn is_unwanted_by(run: &WorkflowRun, parent: &WorkflowRun) -> bool {
    parent_reference(run).is_some_and(|r| parent.uid().as_ref() == Some(&r.uid))
        && !wanted_children(parent).contains(&run.name_any())
}

/// The run that a run is a child of.
#[must_use]
pub fn parent_key(run: &WorkflowRun) -> Option<Key> {
    Some(Key::new(run.namespace()?, &parent_reference(run)?.name))
}
