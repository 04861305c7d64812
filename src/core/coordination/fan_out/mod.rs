//! A step that is done for many items: which of them start now, and what the step has come to.
//!
//! Intents are written before effects as for any step: an item's index is among those that run, and its attempt in its group,
//! before its call or child run starts. All results that have come and the intents of the items that follow go into one write.

mod calls;
mod children;
pub mod indexes;
mod job;
mod status;
mod transforms;
mod values;
mod work;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::{
    values::{Values, values},
    work::Work,
};
use super::{
    call, capacity,
    definition::{Action, FanOut, StepDefinition},
    outcome::Failure,
    resolution,
    run::Flow,
    step::{conclude, fail_for_good, stopped},
};
use crate::{
    api::{
        admission::Admission,
        vocabulary::{ErrorClass, Safety},
        workflow_run::{ResolvedAs, StepPhase, StepStatus},
    },
    core::note::Note,
};

pub use status::{Pairs, at_work, children};
pub(super) use {
    job::unwanted as unwanted_jobs,
    status::{give_up, unwanted_calls},
};

/// Why no item can start.
enum Hold {
    /// Something is missing that may still come.
    Missing(String),
    /// Others have their turn first; where it stands, if that is to be told now.
    Queued(Option<Admission>),
}

/// One look at a step's items.
struct Fan<'f, 'v> {
    flow: &'f mut Flow<'v>,
    step: &'f StepDefinition,
    fan_out: &'f FanOut,
    status: StepStatus,
    work: Work,
    /// The items' values; `None` until they are needed.
    values: Option<Values>,
    /// The earliest end of a wait.
    wake: Option<Timestamp>,
    /// How many items fail now because what they need has not been there for too long.
    overdue: u32,
}

/// Starts a step; its `when` holds.
pub(super) fn begin(flow: &mut Flow<'_>, step: &StepDefinition, fan_out: &FanOut, mut status: StepStatus) {
    let values = match values(flow, fan_out) {
        Ok(values) => values,
        Err(problem) => return fail_for_good(flow, step, status, ErrorClass::Configuration, problem),
    };
    let total = match &values {
        Values::Count(count) => *count,
        Values::Listed(values) => u32::try_from(values.len()).unwrap_or(u32::MAX),
    };
    let work = Work::new(total);
    if status.admission.is_none() {
        status.phase = StepPhase::Running;
    }
    status.items = Some(work.status());
    let mut fan = Fan { flow, step, fan_out, status, work, values: Some(values), wake: None, overdue: 0 };
    match &step.action {
        _ if total == 0 => fan.settle(None),
        Action::Transform(expression) => transforms::compute(fan, expression),
        Action::Container(container) => job::begin(fan, container),
        Action::Call(_) | Action::Child(_) => {
            let missing = fan.start_more();
            fan.settle(missing);
        }
        Action::Wait(_) => {
            let message = "wait cannot be done for each item".to_owned();
            fail_for_good(fan.flow, step, fan.status, ErrorClass::Configuration, message);
        }
    }
}

/// Takes a step as far as it goes now.
pub(super) fn go_on(flow: &mut Flow<'_>, step: &StepDefinition, fan_out: &FanOut, status: StepStatus) {
    let Some(items) = &status.items else {
        // its status is from a definition in which it was done once
        return begin(flow, step, fan_out, status);
    };
    let work = Work::read(items);
    if status.admission.is_some() && work.is_untouched() {
        // nothing of it has begun: the definition may be another one since it was told where it stands
        return begin(flow, step, fan_out, status);
    }
    let waited = status.phase == StepPhase::Waiting && status.wake_at.is_some_and(|at| at <= flow.now);
    let overdue = if waited { fan_out.parallel } else { 0 };
    let mut fan = Fan { flow, step, fan_out, status, work, values: None, wake: None, overdue };
    match &step.action {
        Action::Call(call) => calls::collect(&mut fan, call),
        Action::Child(child) => children::collect(&mut fan, child),
        // nothing of it has begun: it waits for capacity
        Action::Container(_) if fan.status.job.is_none() => {
            let Fan { flow, status, .. } = fan;
            return begin(flow, step, fan_out, status);
        }
        Action::Container(container) => return job::watch(fan, container),
        Action::Transform(_) | Action::Wait(_) => {
            let Fan { flow, status, .. } = fan;
            return begin(flow, step, fan_out, StepStatus { items: None, ..status });
        }
    }
    if fan.status.phase == StepPhase::Unknown {
        fan.resolve();
    }
    let missing = fan.start_more();
    fan.settle(missing);
}

/// The items are told to stop: the run is.
pub(super) fn stop(flow: &mut Flow<'_>, step: &StepDefinition) {
    let now = flow.now;
    if let Action::Container(_) = &step.action {
        return job::stop(flow, step);
    }
    let Some(status) = flow.get_mut(step) else { return };
    let Some(items) = status.items.as_mut().filter(|_| !status.phase.is_final()) else { return };
    let mut work = Work::read(items);
    let running: Vec<u32> = work.running.iter().collect();
    let calls = matches!(step.action, Action::Call(_));
    for &index in &running {
        if calls { work.cancel(index) } else { work.stop(index) }
    }
    work.cancel_waiting();
    *items = work.status();
    status.wake_at = None;
    if work.at_work() > 0 {
        status.phase = StepPhase::Stopping;
        return;
    }
    if status.phase == StepPhase::Unknown {
        return; // a person may still say what became of it; nothing waits for that
    }
    status.phase = StepPhase::Canceled;
    status.finished_at = Some(now);
    if calls && !running.is_empty() {
        status.message = Some("the calls under way were dropped: they may have taken effect".to_owned());
    }
}

impl Fan<'_, '_> {
    /// How many items may fail.
    fn limit(&self) -> u32 {
        self.fan_out.tolerate.of(self.work.total)
    }

    fn is_beyond(&self) -> bool {
        self.work.failed.len() > self.limit()
    }

    /// Whether another item may start.
    fn may_start(&self) -> bool {
        self.flow.may_start() && !self.is_beyond() && !self.flow.is_stopping()
    }

    fn values(&mut self) -> Result<&Values, String> {
        let known = match self.values.take() {
            Some(known) => known,
            None => values(self.flow, self.fan_out)?,
        };
        Ok(self.values.insert(known))
    }

    /// The items, where they are more than numbers.
    fn listed(&mut self) -> Result<Option<Vec<Value>>, String> {
        Ok(match self.values()? {
            Values::Listed(items) => Some(items.clone()),
            Values::Count(_) => None,
        })
    }

    /// One item.
    fn item(&mut self, index: u32) -> Result<Value, String> {
        let listed = match self.values()? {
            Values::Listed(items) => items.get(index as usize).cloned(),
            Values::Count(_) => None,
        };
        Ok(listed.unwrap_or_else(|| index.into()))
    }

    /// Expressions see this item from now on.
    fn show(&mut self, index: u32) -> Result<(), String> {
        self.flow.item = Some((self.item(index)?, index));
        Ok(())
    }

    /// An attempt of an item has failed. `known` is false when it may have taken effect all the same.
    fn failed(&mut self, index: u32, class: ErrorClass, known: bool, message: &str) {
        self.failed_asked(index, &Failure { class, known, message: message.to_owned() }, None);
    }

    /// As [`Self::failed`]; a service has `asked` to be left alone for so long.
    fn failed_asked(&mut self, index: u32, failure: &Failure, asked: Option<std::time::Duration>) {
        let &Failure { class, known, ref message } = failure;
        let present = self.work.attempt(index);
        // what came of the repetition of a request does not tell what came of the request before
        let known = known && !present.resent;
        let uid = self.flow.view.run.metadata.uid.as_deref().unwrap_or_default();
        let seed = format!("{uid}/{}/{index}", self.step.id());
        let wait = self.step.retry.wait(present.attempt, class, self.flow.bounded(self.step, asked), &seed);
        if !known && self.step.safety == Safety::AtMostOnce {
            self.work.lose(index, class, message);
        } else if let Some(wait) = wait.filter(|_| self.flow.may_retry() && !self.is_beyond()) {
            self.work.retry(index, known, self.flow.now, wait);
        } else {
            self.work.fail(index, class, message);
        }
    }

    /// How many items may be at work together: no more than there is room for.
    fn parallel(&self) -> u32 {
        let granted = self.status.capacity.as_ref().map_or(u32::MAX, |c| c.parts.unwrap_or(1));
        self.fan_out.parallel.min(granted)
    }

    /// Starts the items whose turn it is; why none can start, when they have to wait.
    fn start_more(&mut self) -> Option<Hold> {
        // as for a single call: it asks once there is somebody to answer it
        let calls =
            matches!(&self.step.action, Action::Call(call) if call::way(self.flow, self.step, call, "", None).is_ok());
        if calls && self.may_start() && self.work.due(self.parallel(), self.flow.now).is_some() {
            let (began, most) = (self.status.started_at, self.fan_out.parallel.min(self.work.open()));
            if let Err(told) = capacity::admit(self.flow, self.step, &mut self.status, most) {
                return Some(Hold::Queued(told));
            }
            if !self.work.is_untouched() {
                self.status.started_at = began;
            }
        }
        while self.may_start()
            && let Some(index) = self.work.due(self.parallel(), self.flow.now)
        {
            if let Err(problem) = self.show(index) {
                self.work.start(index);
                self.failed(index, ErrorClass::Configuration, true, &problem);
                continue;
            }
            let hold = match &self.step.action {
                Action::Call(call) => calls::start(self, call, index),
                Action::Child(child) => children::start(self, child, index).map(Hold::Missing),
                _ => None,
            };
            self.flow.item = None;
            if hold.is_some() {
                return hold;
            }
        }
        None
    }

    /// Applies what a person has found out about the items of unknown outcome.
    fn resolve(&mut self) {
        let Some(found) = resolution::find(self.flow, self.step, &self.status) else { return };
        let unknown: Vec<u32> = self.work.unknown.iter().collect();
        match found.outcome {
            ResolvedAs::Succeeded if !found.outputs.is_empty() => {
                let message = format!(
                    "spec.resolutions of step `{}`: the outputs of a step with forEach follow from its items: remove them",
                    self.step.name
                );
                resolution::refuse(self.flow, &mut self.status, message);
                return;
            }
            ResolvedAs::Succeeded => unknown.into_iter().for_each(|index| {
                self.work.succeed(index);
                self.work.unlist(index);
            }),
            ResolvedAs::Failed => {
                let message = "spec.resolutions says that it did not take effect";
                unknown.into_iter().for_each(|index| self.work.fail(index, ErrorClass::Connection, message));
            }
            ResolvedAs::Retry if self.flow.may_start() => {
                unknown
                    .into_iter()
                    .for_each(|index| self.work.retry(index, true, self.flow.now, std::time::Duration::ZERO));
            }
            ResolvedAs::Retry => return,
        }
        // what was found out holds for the items that were unknown then, and for no others
        self.status.attempt = Some(self.status.attempt.unwrap_or(1) + 1);
        self.status.phase = StepPhase::Running;
        self.status.message = None;
    }

    /// What the step has come to. `hold` is why no item can start.
    fn settle(self, hold: Option<Hold>) {
        let (limit, beyond, more) = (self.limit(), self.is_beyond(), self.work.has_more());
        let Self { flow, step, mut status, mut work, wake, .. } = self;
        let missing = match hold {
            Some(Hold::Queued(admission)) if work.at_work() == 0 && !beyond => {
                wake.into_iter().for_each(|at| flow.wake(at));
                return queued(flow, step, status, &work, admission);
            }
            Some(Hold::Missing(why)) => Some(why),
            _ => None,
        };
        if beyond && work.at_work() == 0 {
            work.cancel_waiting();
        }
        status.items = Some(work.status());
        let now = flow.now;
        let waiting = status.wake_at.take().filter(|&at| status.phase == StepPhase::Waiting && at > now);
        status.message = status.message.filter(|_| status.phase == StepPhase::Unknown);
        if let Some(at) = wake {
            flow.wake(at);
        }
        if work.at_work() > 0 {
            let stopping = flow.is_stopping() && work.running.is_empty();
            status.phase = if stopping { StepPhase::Stopping } else { StepPhase::Running };
            // those whose turn it is and that miss something are looked at when others end
            if let Some(&at) = work.retrying.values().filter(|&&at| at > flow.now).min().filter(|_| !beyond) {
                flow.wake(at);
            }
            return flow.set(step, status);
        }
        if beyond {
            return fail_beyond(flow, step, status, &work, limit);
        }
        if !more && work.unknown.is_empty() && work.canceled.is_empty() {
            let result = summary(&work);
            return conclude(flow, step, status, result);
        }
        if flow.is_stopping() && status.phase == StepPhase::Stopping {
            return stopped(flow, step, status);
        }
        if !more {
            if status.phase != StepPhase::Unknown {
                status.phase = StepPhase::Unknown;
                status.reason = work.failures.last().map(|f| f.reason);
                status.message = Some(format!(
                    "nobody knows whether items {} took effect, and they may take effect once at most",
                    work.unknown.text().unwrap_or_default()
                ));
                let message = status.message.as_deref().unwrap_or_default();
                flow.decision.notes.push(Note::warning("StepUnknown", format!("step `{}`: {message}", step.name)));
            }
            return flow.set(step, status);
        }
        status.phase = StepPhase::Running;
        // nothing is at work: a run that is suspended keeps no place from others
        status.capacity = None;
        if let Some(missing) = missing {
            let until = waiting.unwrap_or_else(|| super::step::later(flow.now, flow.timeout(step)));
            status.phase = StepPhase::Waiting;
            status.wake_at = Some(until);
            status.message = Some(missing);
            flow.wake(until);
        } else if let Some(&at) = work.retrying.values().min() {
            status.phase = StepPhase::Retrying;
            status.wake_at = Some(at);
            if at > flow.now {
                flow.wake(at);
            }
        }
        flow.set(step, status);
    }
}

/// No item is at work, and those that could start wait for their turn. That costs no status write until there is something to tell.
fn queued(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus, work: &Work, told: Option<Admission>) {
    capacity::keep(flow, step, &status, told.is_some());
    if told.is_none() && flow.get(step).is_none() && work.is_untouched() {
        return;
    }
    if let Some(&at) = work.retrying.values().filter(|&&at| at > flow.now).min() {
        flow.wake(at);
    }
    status.items = Some(work.status());
    status.wake_at = None;
    if let Some(admission) = told {
        status.phase = StepPhase::Waiting;
        status.message = Some(format!("waits for its turn: {}", admission.reason.message()));
        status.admission = Some(admission);
    } else if status.admission.is_none() {
        status.phase = StepPhase::Running;
        status.message = None;
    }
    flow.set(step, status);
}

/// What expressions see as `result`.
fn summary(work: &Work) -> Value {
    json!({ "total": work.total, "succeeded": work.succeeded.len(), "failed": work.failed.len() })
}

/// More items have failed than may.
fn fail_beyond(flow: &mut Flow<'_>, step: &StepDefinition, status: StepStatus, work: &Work, limit: u32) {
    let first = work.failures.iter().find(|f| work.failed.contains(f.index));
    let class = first.map_or(ErrorClass::Configuration, |f| f.reason);
    let because = first.map(|f| format!("; item {}: {}", f.index, f.message)).unwrap_or_default();
    let message = format!("{} of {} items failed, and {limit} may{because}", work.failed.len(), work.total);
    fail_for_good(flow, step, status, class, message);
}
