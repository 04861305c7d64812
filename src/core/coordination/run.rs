//! What comes next for one run: status first, then pods and calls.
//!
//! A step's attempt is written to the status before its effect starts, so that whoever reads the status later knows what
//! may have happened. Steps are looked at in the order of the list: a step only waits for steps above it, so one pass
//! carries each result as far as it goes, and a chain of N calls costs N + 1 status writes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{
        Span, WorkflowRunStatus,
        vocabulary::Urgency,
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            admission, concurrency, deadline,
            definition::{Definition, Role, StepDefinition},
            ended, fan_out, origin,
            parameters::{self, SecretKey},
            pod, stages,
            turn::Used,
            view::{Decision, DefinitionView, Mount, View},
            workspace,
        },
        expression::{References, Variables},
        note::Note,
    },
};

/// Decides what comes next. Asked again with its own result, it asks for nothing new.
#[must_use]
pub fn decide(view: &View<'_>, now: Timestamp) -> Decision {
    let mut present = view.run.status.clone().unwrap_or_default();
    if present.phase.is_some_and(RunPhase::is_final) || view.run.metadata.deletion_timestamp.is_some() {
        return Decision {
            stop_calls: view.in_flight.clone(),
            stop_pods: pod::unwanted(view, &[]),
            stop_jobs: fan_out::unwanted_jobs(view, &present),
            ..Decision::default()
        };
    }
    let unfolded = ended::unfold(&mut present);
    let mut flow = Flow::new(view, now, present);
    let started = flow.status.started_at.is_some();
    let end = match (&view.definition, flow.stop_wanted()) {
        _ if unfolded.is_err() => flow.close(RunPhase::Failed, "StatusUnreadable", ended::UNREADABLE.to_owned()),
        (DefinitionView::Found { revision, definition }, None) => flow.go_on(revision, definition),
        (DefinitionView::Found { revision, definition }, Some(_)) if started => flow.go_on(revision, definition),
        // nothing was done, or nobody can tell how to undo it
        (_, Some((phase, reason, message))) => flow.close(phase, reason, message),
        (DefinitionView::NotFound, _) => flow.pend(
            "WorkflowNotFound",
            format!("there is no Workflow `{}` in this namespace; apply it", view.run.spec.workflow),
            true,
        ),
        (DefinitionView::NotStored, _) => {
            flow.pend("WorkflowNotStored", "the Workflow has just been applied and is being read".to_owned(), false)
        }
        (DefinitionView::Invalid(why), _) => {
            flow.pend("InvalidWorkflow", format!("the Workflow is not valid: {why}"), true)
        }
        (DefinitionView::Lost, _) => flow.close(
            RunPhase::Failed,
            "RevisionLost",
            "the ControllerRevision that this run follows was deleted".to_owned(),
        ),
    };
    flow.keep_deadline(&end);
    let mut decision = flow.finish(end);
    if let (Some(status), Ok(before)) = (decision.status.as_mut(), unfolded) {
        ended::fold(status, &before);
    }
    decision
}

/// Where a pass leaves the run.
pub(super) enum End {
    /// Still under way: phase, reason, message, and whether only the user can help.
    Open(RunPhase, &'static str, String, bool),
    /// Over: phase, reason, message.
    Over(RunPhase, String, String),
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its steps.
    Main,
    /// What undoes them.
    Compensating,
    /// What is done at the end, however it ended.
    Finally,
}

/// The state of one pass.
pub(super) struct Flow<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: Timestamp,
    pub(super) status: WorkflowRunStatus,
    pub(super) decision: Decision,
    pub(super) urgency: Urgency,
    pub(super) params: Value,
    /// The sensitive parameters that the run gives.
    pub(super) secrets: BTreeMap<String, SecretKey>,
    /// The volume that the run's pods share.
    pub(super) workspace: Option<Mount>,
    pub(super) stage: Stage,
    /// A step has failed for good: no further step starts.
    pub(super) failing: bool,
    /// Nothing starts while the user holds the run.
    pub(super) suspended: bool,
    /// The status was written by another leader: calls that it started are lost.
    pub(super) taken_over: bool,
    /// The status must be written even where nothing else in it changes: see [`Self::fence_off`].
    pub(super) fence: bool,
    /// The run's deadline, and when it passes.
    pub(super) deadline: Option<(Span, Timestamp)>,
    /// When the step in hand became ready, where it waited for others.
    pub(super) ready_since: Option<Timestamp>,
    /// The item that expressions see, and its index.
    pub(super) item: Option<(Value, u32)>,
    /// What has been used of the turns to call, by the step's id.
    pub(super) turns_used: BTreeMap<String, Used>,
    replaced: bool,
    /// All that has happened is that it waits for capacity, and that is not told yet.
    pub(super) untold: bool,
    /// The status as it is stored.
    pub(super) present: WorkflowRunStatus,
}

impl<'a> Flow<'a> {
    fn new(view: &'a View<'a>, now: Timestamp, present: WorkflowRunStatus) -> Self {
        Self {
            view,
            now,
            taken_over: present.leader_epoch != Some(view.epoch),
            fence: false,
            status: present.clone(),
            decision: Decision::default(),
            urgency: Urgency::Routine,
            params: Value::Null,
            secrets: BTreeMap::new(),
            workspace: None,
            stage: Stage::Main,
            failing: false,
            suspended: view.run.spec.suspend == Some(true),
            deadline: deadline::of(view),
            ready_since: None,
            item: None,
            turns_used: BTreeMap::new(),
            replaced: false,
            untold: false,
            present,
        }
    }

    fn pend(&self, reason: &'static str, message: String, stalled: bool) -> End {
        // a run that has pinned its revision goes on with it, whatever becomes of the Workflow
        End::Open(self.present.phase.unwrap_or(RunPhase::Pending), reason, message, stalled)
    }

    /// Ends the run without its definition.
    pub(super) fn close(&mut self, phase: RunPhase, reason: &str, message: String) -> End {
        let all = self.status.steps.values_mut().chain(self.status.compensations.values_mut());
        for status in all.filter(|s| !s.phase.is_final() && s.phase != StepPhase::Unknown) {
            status.phase = StepPhase::Canceled;
            status.finished_at = Some(self.now);
            status.wake_at = None;
        }
        End::Over(phase, reason.to_owned(), message)
    }

    /// Whether the run is to stop before its steps are over, and how it ends then.
    fn stop_wanted(&self) -> Option<(RunPhase, &'static str, String)> {
        self.stop_asked().or_else(|| self.overdue())
    }

    /// Whether somebody wants the run to stop, and how it ends then.
    pub(super) fn stop_asked(&self) -> Option<(RunPhase, &'static str, String)> {
        if self.view.run.spec.cancel == Some(true) {
            Some((RunPhase::Canceled, "Canceled", "spec.cancel is true".to_owned()))
        } else if self.view.unwanted {
            Some((
                RunPhase::Canceled,
                "ParentStopped",
                "the run that this one is part of does not wait for it".to_owned(),
            ))
        } else if self.replaced {
            Some((RunPhase::Canceled, "Replaced", "a newer run takes its place (spec.concurrency)".to_owned()))
        } else {
            None
        }
    }

    fn go_on(&mut self, revision: &str, definition: &Definition) -> End {
        match parameters::resolve(&definition.parameters, &self.view.run.spec.parameters) {
            Ok(resolved) => (self.params, self.secrets) = (resolved.values, resolved.secrets),
            Err(problem) => return self.close(RunPhase::Failed, "InvalidParameters", problem),
        }
        let begins = self.status.started_at.is_none();
        if let Err(end) = admission::govern(self, definition, begins) {
            return end;
        }
        if begins {
            if self.suspended {
                let message = "spec.suspend is true: the run has not started".to_owned();
                return End::Open(RunPhase::Pending, "Suspended", message, false);
            }
            if let Err(end) = concurrency::admit(self, definition) {
                return end;
            }
            if let Err(end) = admission::admit(self) {
                return end;
            }
            if let Err(problem) = origin::take_over(self, definition) {
                return self.close(RunPhase::Failed, "InvalidRetryFrom", problem);
            }
            self.status.revision = Some(revision.to_owned());
            self.status.started_at = Some(self.now);
        }
        self.replaced = self.status.ending.is_none() && concurrency::is_replaced(self, definition);
        self.failing =
            definition.steps.iter().any(|s| self.get(s).is_some_and(|status| status.phase == StepPhase::Failed));
        self.workspace = definition.workspace.as_ref().map(|w| workspace::mount(self, w));
        let end = stages::go_on(self, definition);
        if begins && let Some(end) = admission::not_begun(self, &end) {
            return end;
        }
        if begins {
            self.decision.notes.push(Note::normal("Started", format!("follows revision {revision}")));
        }
        workspace::claim(self, definition);
        end
    }

    pub(super) fn outputs(&self, definition: &Definition) -> Result<BTreeMap<String, Value>, String> {
        let mut outputs = BTreeMap::new();
        for (name, expression) in &definition.outputs {
            let value = expression
                .evaluate(&self.variables(expression.references()))
                .map_err(|e| format!("output `{name}`: {e}"))?;
            if value.to_string().len() > parameters::MAX_VALUE {
                return Err(format!("output `{name}` must have at most {} bytes", parameters::MAX_VALUE));
            }
            outputs.insert(name.clone(), value);
        }
        Ok(outputs)
    }

    /// A step's status.
    pub(super) fn get(&self, step: &StepDefinition) -> Option<&StepStatus> {
        match step.role {
            Role::Main | Role::Finally => self.status.steps.get(&step.name),
            Role::Compensation => self.status.compensations.get(&step.name),
        }
    }

    pub(super) fn get_mut(&mut self, step: &StepDefinition) -> Option<&mut StepStatus> {
        match step.role {
            Role::Main | Role::Finally => self.status.steps.get_mut(&step.name),
            Role::Compensation => self.status.compensations.get_mut(&step.name),
        }
    }

    pub(super) fn set(&mut self, step: &StepDefinition, status: StepStatus) {
        match step.role {
            Role::Main | Role::Finally => self.status.steps.insert(step.name.clone(), status),
            Role::Compensation => self.status.compensations.insert(step.name.clone(), status),
        };
    }

    /// Whether a step is over in a way that lets those after it start.
    pub(super) fn is_done(&self, step: &StepDefinition) -> bool {
        self.get(step).is_some_and(|s| s.phase.is_done())
    }

    /// Whether nothing of a step is at work or waits for its turn; one whose outcome is unknown waits for a person only.
    pub(super) fn is_settled(&self, step: &StepDefinition) -> bool {
        self.get(step).is_some_and(|s| s.phase.is_final() || s.phase == StepPhase::Unknown)
    }

    /// Whether the steps are told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stage == Stage::Main && self.status.ending.is_some()
    }

    /// Whether an attempt may start now.
    pub(super) fn may_start(&self) -> bool {
        !self.view.draining && !self.suspended && self.view.scheduling.rules.conflict.is_none() && self.may_retry()
    }

    /// Whether another attempt of a step is wanted at all.
    pub(super) fn may_retry(&self) -> bool {
        self.stage != Stage::Main || !(self.failing || self.status.ending.is_some() || self.overdue().is_some())
    }

    /// The phase of a run that is under way.
    pub(super) fn live_phase(&self) -> RunPhase {
        if self.suspended { RunPhase::Suspended } else { RunPhase::Running }
    }

    pub(super) fn name(&self) -> &'a str {
        self.view.run.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.view.run.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0)
    }

    /// What an expression sees: only what it refers to.
    pub(super) fn variables(&self, references: &References) -> Variables {
        let meta = &self.view.run.metadata;
        let mut variables = Variables::new();
        if references.variables.contains("params") {
            // only what is used: a step may be done for thousands of items
            let used = references.parameters.iter();
            let used = used.filter_map(|name| Some((name.clone(), self.params.get(name)?.clone())));
            variables.insert("params".to_owned(), Value::Object(used.collect()));
        }
        if references.variables.contains("steps") {
            let steps = references.steps.iter().filter_map(|name| {
                let status = self.status.steps.get(name)?;
                Some((name.clone(), json!({ "phase": status.phase, "outputs": status.outputs })))
            });
            variables.insert("steps".to_owned(), Value::Object(steps.collect()));
        }
        if references.variables.contains("run") {
            let mut run = json!({ "name": meta.name, "namespace": meta.namespace, "urgency": self.urgency.as_str() });
            if let (Stage::Compensating | Stage::Finally, Some(ending)) = (self.stage, &self.status.ending) {
                run["outcome"] = json!(ending.phase);
            }
            variables.insert("run".to_owned(), run);
        }
        if let Some((item, index)) = &self.item {
            if references.variables.contains("item") {
                variables.insert("item".to_owned(), item.clone());
            }
            if references.variables.contains("index") {
                variables.insert("index".to_owned(), (*index).into());
            }
        }
        variables
    }

    /// What begins now has its intent stored. Should another leader have stored it, the status is written anew even where nothing in
    /// it changes: a former leader that still writes is shut out by that, and one that lags finds that the run has gone on.
    pub(super) const fn fence_off(&mut self) {
        self.fence |= self.taken_over;
    }

    /// Asks to be looked at again at this time; [`Timestamp::MAX`] is never.
    pub(super) fn wake(&mut self, at: Timestamp) {
        if at == Timestamp::MAX {
            return;
        }
        self.decision.wake_at = Some(self.decision.wake_at.map_or(at, |w| w.min(at)));
    }
}
