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
        WorkflowRunStatus,
        status::{READY, RECONCILING, STALLED, SUCCEEDED},
        vocabulary::Urgency,
        workflow_run::{RunPhase, StepPhase},
    },
    core::{
        condition::{Conditions, State},
        coordination::{
            definition::Definition,
            parameters, step,
            view::{Attempt, Decision, DefinitionView, View},
        },
        expression::{References, Variables},
        note::Note,
    },
};

/// Decides what comes next. Asked again with its own result, it asks for nothing new.
#[must_use]
pub fn decide(view: &View<'_>, now: Timestamp) -> Decision {
    let present = view.run.status.clone().unwrap_or_default();
    if present.phase.is_some_and(RunPhase::is_final) || view.run.metadata.deletion_timestamp.is_some() {
        return Decision { stop_calls: view.in_flight.clone(), stop_pods: live_pods(view, &[]), ..Decision::default() };
    }
    let mut flow = Flow::new(view, now, present);
    let end = match &view.definition {
        _ if view.run.spec.cancel == Some(true) => flow.cancel(),
        DefinitionView::NotFound => flow.pend(
            "WorkflowNotFound",
            format!("there is no Workflow `{}` in this namespace; apply it", view.run.spec.workflow),
            true,
        ),
        DefinitionView::NotStored => {
            flow.pend("WorkflowNotStored", "the Workflow has just been applied and is being read".to_owned(), false)
        }
        DefinitionView::Invalid(problem) => {
            flow.pend("InvalidWorkflow", format!("the Workflow is not valid: {problem}"), true)
        }
        DefinitionView::Lost => End::Over(
            RunPhase::Failed,
            "RevisionLost",
            "the ControllerRevision that this run follows was deleted".to_owned(),
        ),
        DefinitionView::Found { revision, definition } => flow.go_on(revision, definition),
    };
    flow.finish(end)
}

/// Where a pass leaves the run.
enum End {
    /// Still under way: phase, reason, message, and whether only the user can help.
    Open(RunPhase, &'static str, String, bool),
    /// Over: phase, reason, message.
    Over(RunPhase, &'static str, String),
}

/// The state of one pass.
pub(super) struct Flow<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: Timestamp,
    pub(super) status: WorkflowRunStatus,
    pub(super) decision: Decision,
    pub(super) urgency: Urgency,
    pub(super) params: Value,
    /// A step has failed for good: no further step starts.
    pub(super) failing: bool,
    /// The status was written by another leader: calls that it started are lost.
    pub(super) taken_over: bool,
    /// The status must be written even where nothing else in it changes: to fence off the former leader.
    pub(super) fence: bool,
    present: WorkflowRunStatus,
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
            failing: present.steps.values().any(|s| matches!(s.phase, StepPhase::Failed | StepPhase::Unknown)),
            present,
        }
    }

    fn pend(&self, reason: &'static str, message: String, stalled: bool) -> End {
        // a run that has pinned its revision goes on with it, whatever becomes of the Workflow
        End::Open(self.present.phase.unwrap_or(RunPhase::Pending), reason, message, stalled)
    }

    fn cancel(&mut self) -> End {
        for status in self.status.steps.values_mut().filter(|s| !s.phase.is_final()) {
            status.phase = StepPhase::Canceled;
            status.finished_at = Some(self.now);
            status.wake_at = None;
        }
        End::Over(RunPhase::Canceled, "Canceled", "spec.cancel is true".to_owned())
    }

    fn go_on(&mut self, revision: &str, definition: &Definition) -> End {
        self.params = match parameters::resolve(&definition.parameters, &self.view.run.spec.parameters) {
            Ok(params) => params,
            Err(problem) => return End::Over(RunPhase::Failed, "InvalidParameters", problem),
        };
        self.urgency = self.view.run.spec.urgency.unwrap_or(definition.urgency);
        self.status.urgency = Some(self.urgency);
        self.status.revision = Some(revision.to_owned());
        if self.status.started_at.is_none() {
            self.status.started_at = Some(self.now);
            self.decision.notes.push(Note::normal("Started", format!("follows revision {revision}")));
        }
        for place in 0..definition.steps.len() {
            step::advance(self, definition, place);
        }
        let done = definition.steps.iter().filter(|s| self.is_done(&s.name)).count();
        self.status.step_summary = Some(format!("{done}/{}", definition.steps.len()));
        if self.failing {
            return self.fail(definition);
        }
        if done < definition.steps.len() {
            return End::Open(
                RunPhase::Running,
                "Running",
                format!("{done} of {} steps are done", definition.steps.len()),
                false,
            );
        }
        match self.outputs(definition) {
            Ok(outputs) => {
                self.status.outputs = outputs;
                End::Over(RunPhase::Succeeded, "Succeeded", format!("all {done} steps are done"))
            }
            Err(problem) => End::Over(RunPhase::Failed, "InvalidOutputs", problem),
        }
    }

    /// What is at work goes on to its end; what only waits is given up.
    fn fail(&mut self, definition: &Definition) -> End {
        let now = self.now;
        for place in 0..definition.steps.len() {
            let step = &definition.steps[place];
            let at_work = step::works(&step.action);
            if let Some(status) = self.status.steps.get_mut(&step.name) {
                let waits = matches!(status.phase, StepPhase::Retrying | StepPhase::Waiting);
                if waits || (status.phase == StepPhase::Running && !at_work) {
                    status.phase = StepPhase::Canceled;
                    status.finished_at = Some(now);
                    status.wake_at = None;
                }
            }
        }
        let failed = definition.steps.iter().find_map(|s| {
            let status = self.status.steps.get(&s.name)?;
            let unknown = status.phase == StepPhase::Unknown;
            (unknown || status.phase == StepPhase::Failed).then(|| {
                let message = status.message.clone().unwrap_or_default();
                (if unknown { "OutcomeUnknown" } else { "StepFailed" }, format!("step `{}`: {message}", s.name))
            })
        });
        let (reason, message) = failed.unwrap_or(("StepFailed", String::new()));
        if self.status.steps.values().all(|s| s.phase.is_final()) {
            End::Over(RunPhase::Failed, reason, message)
        } else {
            End::Open(RunPhase::Running, reason, format!("{message}; waiting for the steps at work to end"), false)
        }
    }

    fn outputs(&self, definition: &Definition) -> Result<BTreeMap<String, Value>, String> {
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

    /// Whether a step is over in a way that lets those after it start.
    pub(super) fn is_done(&self, step: &str) -> bool {
        self.status.steps.get(step).is_some_and(|s| matches!(s.phase, StepPhase::Succeeded | StepPhase::Skipped))
    }

    /// What an expression sees: only what it refers to.
    pub(super) fn variables(&self, references: &References) -> Variables {
        let meta = &self.view.run.metadata;
        let mut variables = Variables::new();
        if references.variables.contains("params") {
            variables.insert("params".to_owned(), self.params.clone());
        }
        if references.variables.contains("steps") {
            let steps = references.steps.iter().filter_map(|name| {
                let status = self.status.steps.get(name)?;
                Some((name.clone(), json!({ "phase": status.phase, "outputs": status.outputs })))
            });
            variables.insert("steps".to_owned(), Value::Object(steps.collect()));
        }
        if references.variables.contains("run") {
            let run = json!({ "name": meta.name, "namespace": meta.namespace, "urgency": self.urgency.as_str() });
            variables.insert("run".to_owned(), run);
        }
        variables
    }

    /// Asks to be looked at again at this time.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.decision.wake_at = Some(self.decision.wake_at.map_or(at, |w| w.min(at)));
    }

    fn finish(mut self, end: End) -> Decision {
        let generation = self.view.run.metadata.generation;
        let mut conditions = Conditions::from(&self.present.conditions, generation, self.now);
        match end {
            End::Open(phase, reason, message, stalled) => {
                self.status.phase = Some(phase);
                conditions.set(SUCCEEDED, State::Unknown, reason, message.clone());
                conditions.set(READY, State::False, reason, "the run has not ended");
                if stalled {
                    conditions.set(STALLED, State::True, reason, message);
                    conditions.remove(RECONCILING);
                } else {
                    conditions.set(RECONCILING, State::True, reason, "the run has not ended");
                    conditions.remove(STALLED);
                }
            }
            End::Over(phase, reason, message) => {
                self.status.phase = Some(phase);
                self.status.finished_at = Some(self.now);
                conditions.remove(RECONCILING);
                conditions.remove(STALLED);
                conditions.set(SUCCEEDED, State::of(phase == RunPhase::Succeeded), reason, message.clone());
                conditions.set(READY, State::of(phase == RunPhase::Succeeded), reason, message.clone());
                if phase != RunPhase::Succeeded {
                    conditions.set(
                        STALLED,
                        State::True,
                        reason,
                        "a finished run does not start again; create a new one",
                    );
                }
                self.decision.notes.push(match phase {
                    RunPhase::Succeeded => Note::normal("Succeeded", message),
                    RunPhase::Canceled => Note::normal("Canceled", message),
                    _ => Note::warning("Failed", message),
                });
                self.decision.start_pods.clear();
                self.decision.start_calls.clear();
                self.decision.wake_at = None;
            }
        }
        self.status.conditions = conditions.into_list();
        self.status.observed_generation = generation;
        let wanted: Vec<String> =
            self.status.steps.values().filter(|s| !s.phase.is_final()).filter_map(|s| s.pod.clone()).collect();
        self.decision.stop_pods = live_pods(self.view, &wanted);
        self.decision.stop_calls = self.view.in_flight.iter().filter(|a| !self.is_current(a)).cloned().collect();
        self.status.leader_epoch = self.present.leader_epoch;
        if self.status != self.present || self.fence {
            self.status.leader_epoch = Some(self.view.epoch);
            self.decision.status = Some(self.status);
        }
        self.decision
    }

    fn is_current(&self, attempt: &Attempt) -> bool {
        self.status.steps.get(&attempt.step).is_some_and(|s| !s.phase.is_final() && s.attempt == Some(attempt.number))
    }
}

/// Pods that are at work and that nobody waits for.
fn live_pods(view: &View<'_>, wanted: &[String]) -> Vec<String> {
    view.pods
        .iter()
        .filter(|(name, pod)| !pod.is_over() && !wanted.contains(name) && !view.stopping.contains(*name))
        .map(|(name, _)| name.clone())
        .collect()
}
