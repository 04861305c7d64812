//! What is kept of a run: all of it while it is under way, and little when it has ended, since thousands of those stay in the
//! cluster.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    api::{
        WorkflowRun, WorkflowRunSpec, WorkflowRunStatus,
        status::SUCCEEDED,
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    cluster::cache::{Kept, version},
    core::{
        condition::{self, Conditions, State},
        coordination::{parent_reference, workflow::RunView},
        name::Key,
    },
    render::Owner,
};

/// A run in the form in which its cache keeps it.
#[derive(Clone, Debug)]
pub enum KeptRun {
    /// It is under way: whole.
    Live(Arc<WorkflowRun>),
    /// It has ended.
    Ended(Arc<EndedRun>),
}

/// What is read of a run that has ended. Its namespace and name are those of its key.
#[derive(Debug)]
pub struct EndedRun {
    uid: Box<str>,
    version: u64,
    generation: Option<i64>,
    created_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    phase: RunPhase,
    workflow: Box<str>,
    revision: Option<Box<str>>,
    /// Those that share its place are told of its end.
    concurrency_key: Option<Box<str>>,
    child: Option<Box<Child>>,
    left: Box<[Left]>,
}

/// What the parent of a child run reads.
#[derive(Debug)]
struct Child {
    parent: Box<str>,
    parent_uid: Box<str>,
    started_at: Option<Timestamp>,
    reason: Option<Box<str>>,
    outputs: BTreeMap<String, Value>,
}

/// A step, or what undoes one, that did not end by itself: its pod or Job may still have to be stopped.
#[derive(Debug)]
struct Left {
    step: Box<str>,
    is_compensation: bool,
    phase: StepPhase,
    pod: Option<Box<str>>,
    job: Option<Box<str>>,
}

impl Kept<WorkflowRun> for KeptRun {
    fn of(run: WorkflowRun) -> Self {
        match run.status.as_ref().and_then(|s| s.phase).filter(|p| p.is_final()) {
            Some(phase) => Self::Ended(Arc::new(EndedRun::of(run, phase))),
            None => Self::Live(Arc::new(run)),
        }
    }

    fn whole(&self, key: &Key) -> Arc<WorkflowRun> {
        match self {
            Self::Live(run) => Arc::clone(run),
            Self::Ended(run) => Arc::new(run.whole(key)),
        }
    }

    fn version(&self) -> u64 {
        match self {
            Self::Live(run) => version(run.as_ref()),
            Self::Ended(run) => run.version,
        }
    }
}

impl KeptRun {
    /// The run, if it has not ended.
    #[must_use]
    pub fn live(self) -> Option<Arc<WorkflowRun>> {
        match self {
            Self::Live(run) => Some(run),
            Self::Ended(_) => None,
        }
    }

    /// Name of its workflow.
    #[must_use]
    pub fn workflow(&self) -> &str {
        match self {
            Self::Live(run) => &run.spec.workflow,
            Self::Ended(run) => &run.workflow,
        }
    }

    /// The run in short, as its workflow sees it.
    #[must_use]
    pub fn view(&self, key: &Key) -> RunView {
        let name = key.name.clone();
        match self {
            Self::Live(run) => {
                let status = run.status.as_ref();
                RunView {
                    name,
                    created_at: run.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |t| t.0),
                    phase: status.and_then(|s| s.phase).unwrap_or(RunPhase::Pending),
                    finished_at: status.and_then(|s| s.finished_at),
                    revision: status.and_then(|s| s.revision.clone()),
                    is_child: parent_reference(run).is_some(),
                }
            }
            Self::Ended(run) => RunView {
                name,
                created_at: run.created_at.unwrap_or(Timestamp::UNIX_EPOCH),
                phase: run.phase,
                finished_at: run.finished_at,
                revision: run.revision.as_deref().map(str::to_owned),
                is_child: run.child.is_some(),
            },
        }
    }
}

impl EndedRun {
    fn of(run: WorkflowRun, phase: RunPhase) -> Self {
        let version = version(&run);
        let parent = parent_reference(&run).cloned();
        let WorkflowRun { metadata, spec, status } = run;
        let status = status.unwrap_or_default();
        let child = parent.map(|parent| {
            let reason = condition::find(&status.conditions, SUCCEEDED).map(|c| c.reason.as_str().into());
            Box::new(Child {
                parent: parent.name.into(),
                parent_uid: parent.uid.into(),
                started_at: status.started_at,
                reason,
                outputs: status.outputs,
            })
        });
        let left = [(false, status.steps), (true, status.compensations)];
        let left = left.into_iter().flat_map(|(is_compensation, steps)| {
            steps.into_iter().filter_map(move |(name, step)| Left::of(name, is_compensation, step))
        });
        Self {
            uid: metadata.uid.unwrap_or_default().into(),
            version,
            generation: metadata.generation,
            created_at: metadata.creation_timestamp.map(|t| t.0),
            finished_at: status.finished_at,
            phase,
            workflow: spec.workflow.into(),
            revision: status.revision.map(Into::into),
            concurrency_key: status.concurrency_key.map(Into::into),
            child,
            left: left.collect(),
        }
    }

    fn whole(&self, key: &Key) -> WorkflowRun {
        let mut status = WorkflowRunStatus {
            phase: Some(self.phase),
            finished_at: self.finished_at,
            revision: self.revision.as_deref().map(str::to_owned),
            concurrency_key: self.concurrency_key.as_deref().map(str::to_owned),
            ..WorkflowRunStatus::default()
        };
        for left in &self.left {
            let steps = if left.is_compensation { &mut status.compensations } else { &mut status.steps };
            steps.insert(left.step.to_string(), left.whole());
        }
        if let Some(child) = &self.child {
            status.started_at = child.started_at;
            status.outputs.clone_from(&child.outputs);
            if let Some(reason) = &child.reason {
                let mut told = Conditions::from(&[], self.generation, self.finished_at.unwrap_or_default());
                told.set(SUCCEEDED, State::of(self.phase == RunPhase::Succeeded), reason, "");
                status.conditions = told.into_list();
            }
        }
        WorkflowRun {
            metadata: ObjectMeta {
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                uid: Some(self.uid.to_string()),
                resource_version: Some(self.version.to_string()),
                generation: self.generation,
                creation_timestamp: self.created_at.map(Time),
                owner_references: self.child.as_ref().map(|c| vec![c.owner(&key.namespace).reference()]),
                ..ObjectMeta::default()
            },
            spec: WorkflowRunSpec { workflow: self.workflow.to_string(), ..WorkflowRunSpec::default() },
            status: Some(status),
        }
    }
}

impl Child {
    fn owner(&self, namespace: &str) -> Owner {
        Owner {
            kind: "WorkflowRun",
            namespace: namespace.to_owned(),
            name: self.parent.to_string(),
            uid: self.parent_uid.to_string(),
        }
    }
}

impl Left {
    fn of(step: String, is_compensation: bool, status: StepStatus) -> Option<Self> {
        let done = status.phase.is_done();
        let (pod, job) = (status.pod, status.job);
        (!done && (pod.is_some() || job.is_some())).then(|| Self {
            step: step.into(),
            is_compensation,
            phase: status.phase,
            pod: pod.map(Into::into),
            job: job.map(Into::into),
        })
    }

    fn whole(&self) -> StepStatus {
        StepStatus {
            pod: self.pod.as_deref().map(str::to_owned),
            job: self.job.as_deref().map(str::to_owned),
            ..StepStatus::new(self.phase)
        }
    }
}

#[cfg(test)]
#[path = "kept_run_tests.rs"]
mod tests;
