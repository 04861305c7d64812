//! What happened, attempt by attempt.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::is_settled;
use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        status::SUCCEEDED,
        vocabulary::ErrorClass,
        workflow_run::{RunPhase, StepPhase},
    },
    core::coordination::definition::{Definition, Role},
};

/// One attempt of one step. Times are milliseconds from the start of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The step's name; `<name>.compensate` for what undoes it.
    pub step: String,
    /// Whether it is one of `finally`.
    pub finally: bool,
    /// From 1; 0 when the step was never tried.
    pub attempt: u32,
    /// When it began.
    pub from: i64,
    /// When it ended; none while it goes on.
    pub to: Option<i64>,
    /// Where it was left: `Retrying` when another attempt follows.
    pub phase: StepPhase,
    /// Kind of its failure.
    pub reason: Option<ErrorClass>,
    /// What happened, for people.
    pub message: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The workflow.
    pub workflow: String,
    /// How the run ended, or where it stands.
    pub phase: RunPhase,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// How long it took, in milliseconds.
    pub total: i64,
    /// In the order in which attempts began.
    pub attempts: Vec<Row>,
    /// The run's outputs.
    pub outputs: BTreeMap<String, Value>,
    #[serde(skip)]
    start: Timestamp,
}

impl Timeline {
    pub(super) fn new(workflow: &str, start: Timestamp) -> Self {
        Self {
            workflow: workflow.to_owned(),
            phase: RunPhase::Pending,
            reason: String::new(),
            message: String::new(),
            total: 0,
            attempts: Vec::new(),
            outputs: BTreeMap::new(),
            start,
        }
    }

    fn at(&self, time: Timestamp) -> i64 {
        time.as_millisecond() - self.start.as_millisecond()
    }

    /// Takes note of a status that was written.
    pub(super) fn tell(&mut self, definition: &Definition, status: &WorkflowRunStatus, now: Timestamp) {
        for step in definition.every_step() {
            let (all, finally) = match step.role {
                Role::Main => (&status.steps, false),
                Role::Finally => (&status.steps, true),
                Role::Compensation => (&status.compensations, false),
            };
            let Some(present) = all.get(&step.name) else { continue };
            let (id, attempt) = (step.id(), present.attempt.unwrap_or(0));
            let over = is_settled(present.phase) || present.phase == StepPhase::Retrying;
            let to = over.then(|| self.at(present.finished_at.unwrap_or(now)));
            let from = self.at(present.started_at.unwrap_or(now));
            let known = self.attempts.iter_mut().find(|r| r.step == id && r.attempt == attempt);
            match known {
                Some(row) => {
                    let waited = row.phase == StepPhase::Retrying;
                    if row.phase != present.phase && waited {
                        // given up between two attempts: the attempt had ended before
                        row.phase = present.phase;
                    } else if row.phase != present.phase {
                        (row.phase, row.to) = (present.phase, to);
                        (row.reason, row.message) = (present.reason, present.message.clone());
                    }
                }
                None => self.attempts.push(Row {
                    step: id,
                    finally,
                    attempt,
                    from,
                    to,
                    phase: present.phase,
                    reason: present.reason.filter(|_| over),
                    message: present.message.clone(),
                }),
            }
        }
    }

    /// The run has come to its end, or nothing more happens by itself.
    pub(super) fn end(mut self, run: &WorkflowRun, now: Timestamp) -> Self {
        let Some(status) = &run.status else { return self };
        self.phase = status.phase.unwrap_or(RunPhase::Pending);
        self.total = self.at(now);
        if let Some(condition) = status.conditions.iter().find(|c| c.type_ == SUCCEEDED) {
            self.reason.clone_from(&condition.reason);
            self.message.clone_from(&condition.message);
        }
        self.outputs.clone_from(&status.outputs);
        self.attempts.sort_by_key(|r| r.from);
        self
    }
}
