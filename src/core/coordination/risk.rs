//! Will the run end before its deadline?
//!
//! A prediction goes into status writes that happen anyway. Only when the run comes to be at risk, or is so no more, a write of
//! its own is asked for; and if nothing happens, at the moment that the forecast itself named.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Span, WorkflowRun, WorkflowRunStatus, workflow_run::Deadline},
    core::coordination::{
        definition::Definition,
        forecast::{Forecast, Model, Situation, predict},
    },
};

/// From this chance of a miss on a run is at risk …
pub const ALARM: f64 = 0.3;
/// … and below this one no more. Between the two it stays as it is, so that an alarm does not flicker.
pub const ALL_CLEAR: f64 = 0.15;
/// Names that `status.criticalPath` holds at most.
const MAX_PATH: usize = 32;

/// A forecast that was made, and what it was made from: kept in memory, so that none is made twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// Stands for the run and the phases and attempts of all its steps.
    mark: u64,
    /// `None` when nothing could be said.
    forecast: Option<Forecast>,
}

/// The run's deadline: its own, or the workflow's.
#[must_use]
pub fn span(run: &WorkflowRun, definition: Option<&Definition>) -> Option<Span> {
    run.spec.deadline.or_else(|| definition.and_then(|d| d.deadline))
}

/// When the run must have ended: counted from its creation, which whoever waits for it knows.
#[must_use]
pub fn at(run: &WorkflowRun, span: Span) -> Option<Timestamp> {
    let created = run.metadata.creation_timestamp.as_ref()?.0;
    let span = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
    Some(created.saturating_add(span).unwrap_or(Timestamp::MAX))
}

/// What is needed to look ahead.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// The run's UID.
    pub uid: &'a str,
    /// Its definition.
    pub definition: &'a Definition,
    /// What its workflow has learned of this revision; `None` while that is too little.
    pub model: Option<&'a Arc<Model>>,
    /// The forecast made before, if any.
    pub outlook: Option<&'a Outlook>,
    /// The time.
    pub now: Timestamp,
}

/// What a look ahead gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// To be kept in memory.
    pub outlook: Option<Outlook>,
    /// The run has just come to be at risk: the chance of a miss in percent.
    pub alarm: Option<u8>,
    /// When to look again, if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// Brings the prediction in `next` up to date, if the status is written anyway or the risk has changed. `next` is the status
/// to come, with the deadline of `present`.
#[must_use]
pub fn look(next: &mut WorkflowRunStatus, present: &WorkflowRunStatus, ahead: Ahead<'_>) -> Seen {
    let (Some(model), Some(deadline)) = (ahead.model, next.deadline.clone()) else { return Seen::default() };
    let mark = mark(ahead.uid, next);
    let valid =
        |o: &&Outlook| o.mark == mark && o.forecast.as_ref().is_none_or(|f| f.look_at.is_none_or(|at| ahead.now < at));
    let outlook = ahead.outlook.filter(valid).cloned().unwrap_or_else(|| {
        let situation = Situation {
            uid: ahead.uid,
            definition: ahead.definition,
            status: next,
            deadline: deadline.at,
            alarm: ALARM,
            now: ahead.now,
        };
        Outlook { mark, forecast: predict(model, &situation) }
    });
    let Some(forecast) = outlook.forecast.clone() else {
        if next != present {
            settle(next);
        }
        return Seen { outlook: Some(outlook), ..Seen::default() };
    };
    let was = deadline.at_risk.unwrap_or(false);
    let is = forecast.miss >= if was { ALL_CLEAR } else { ALARM };
    if is != was || next != present {
        next.deadline = Some(Deadline {
            at: deadline.at,
            predicted: Some(forecast.median),
            earliest: Some(forecast.earliest),
            latest: Some(forecast.latest),
            at_risk: Some(is),
        });
        next.eta = Some(forecast.median);
        let names = forecast.critical.iter().filter_map(|&p| ahead.definition.steps.get(p));
        next.critical_path = names.take(MAX_PATH).map(|s| s.name.clone()).collect();
    }
    Seen {
        alarm: (is && !was).then_some((forecast.miss * 100.0).round() as u8),
        // what lowers the risk is a step's end, and that is an event
        wake_at: forecast.look_at.filter(|_| !is),
        outlook: Some(outlook),
    }
}

/// A run whose steps have ended or are stopped has no prediction any more.
pub fn settle(status: &mut WorkflowRunStatus) {
    if let Some(deadline) = &mut status.deadline {
        *deadline = Deadline { at: deadline.at, predicted: None, earliest: None, latest: None, at_risk: None };
    }
    status.eta = None;
    status.critical_path.clear();
}

/// Stands for what a forecast is made from, but for the time.
fn mark(uid: &str, status: &WorkflowRunStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    for (name, step) in &status.steps {
        (name, step.phase, step.attempt).hash(&mut hasher);
    }
    hasher.finish()
}
