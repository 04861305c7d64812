//! What happened, attempt by attempt.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::is_settled;
use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        fan_out::{ItemFailure, ItemsStatus},
        status::SUCCEEDED,
        vocabulary::ErrorClass,
        workflow_run::{RunPhase, StepPhase},
    },
    core::coordination::{
        definition::{Definition, Role},
        fan_out::indexes::Indexes,
    },
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
    /// Its items, where it is done for many: they have one row together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemsRow>,
}

/// The items of a step that is done for many.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemsRow {
    /// How many there are.
    pub total: u32,
    /// How many are done.
    pub succeeded: u32,
    /// How many have failed for good.
    pub failed: u32,
    /// How many may have taken effect, and nobody knows.
    pub unknown: u32,
    /// How many were stopped.
    pub canceled: u32,
    /// How many attempts followed one that failed.
    pub repeated: u32,
    /// The first ten that failed.
    pub failures: Vec<ItemFailure>,
}

impl ItemsRow {
    fn of(status: &ItemsStatus) -> Self {
        let count = |text: &Option<String>| Indexes::parse(text.as_deref()).len();
        Self {
            total: status.total,
            succeeded: status.succeeded,
            failed: status.failed,
            unknown: count(&status.indexes.unknown),
            canceled: count(&status.indexes.canceled),
            repeated: 0,
            failures: status.failures.clone(),
        }
    }
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
                    row.items = present.items.as_ref().map(ItemsRow::of);
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
                    items: present.items.as_ref().map(ItemsRow::of),
                }),
            }
        }
    }

    /// The run has come to its end, or nothing more happens by itself.
    pub(super) fn end(mut self, run: &WorkflowRun, repeated: &BTreeMap<String, u32>, now: Timestamp) -> Self {
        let Some(status) = &run.status else { return self };
        self.phase = status.phase.unwrap_or(RunPhase::Pending);
        self.total = self.at(now);
        if let Some(condition) = status.conditions.iter().find(|c| c.type_ == SUCCEEDED) {
            self.reason.clone_from(&condition.reason);
            self.message.clone_from(&condition.message);
        }
        self.outputs.clone_from(&status.outputs);
        for row in &mut self.attempts {
            if let Some(items) = &mut row.items {
                items.repeated = repeated.get(&row.step).copied().unwrap_or(0);
            }
        }
        self.attempts.sort_by_key(|r| r.from);
        self
    }
}
