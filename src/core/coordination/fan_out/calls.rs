//! Items that are calls: what came of those under way, and the requests of those that start.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Fan, Hold};
use crate::{
    api::vocabulary::{ErrorClass, Safety},
    core::coordination::{
        call::{self, Held, Missing, Way},
        definition::CallDefinition,
        turn::Ready,
        view::Attempt,
    },
};

/// How long a result waits for others at most, so that one write holds many. With that, N items of which P are under way
/// together cost at most 4 N / P writes and one each 100 ms besides.
const GATHER: SignedDuration = SignedDuration::from_millis(100);

/// So many items in a row go to the same service of an answer.
const TOGETHER: u32 = 32;

/// Takes what has come of the calls under way, once it is worth a write: a quarter of them have ended, or the first one did
/// 100 ms ago, or no other is under way.
pub(super) fn collect(fan: &mut Fan<'_, '_>, call: &CallDefinition) {
    let id = fan.step.id();
    // attempts are in the order of step, index and number
    let first = Attempt { step: id.clone(), index: Some(0), number: 0 };
    let last = Attempt { step: id.clone(), index: Some(u32::MAX), number: u32::MAX };
    let outcomes: BTreeMap<(u32, u32), _> =
        fan.flow.view.outcomes.range(first..=last).filter_map(|(a, o)| Some(((a.index?, a.number), o))).collect();
    let of_step = fan.flow.view.in_flight.iter().filter(|a| a.step == id);
    let in_flight: std::collections::BTreeSet<(u32, u32)> =
        of_step.filter_map(|a| Some((a.index?, a.number))).collect();
    let running: Vec<(u32, u32)> = fan.work.running.iter().map(|i| (i, fan.work.attempt(i).attempt)).collect();
    let ended = running.iter().filter(|this| outcomes.contains_key(this)).count();
    let oldest = running.iter().filter_map(|this| outcomes.get(this)).map(|o| o.at).min();
    let due: Timestamp = oldest.map_or(fan.flow.now, |at| at.saturating_add(GATHER).unwrap_or(fan.flow.now));
    let wait = ended * 4 < running.len()
        && due > fan.flow.now
        && running.iter().any(|this| in_flight.contains(this))
        && !fan.flow.view.draining
        && !fan.flow.is_stopping();
    if wait {
        fan.wake = Some(due);
        let held = running.iter().filter(|this| outcomes.contains_key(this));
        let attempt = |&(index, number): &(u32, u32)| Attempt { step: id.clone(), index: Some(index), number };
        fan.flow.decision.held.extend(held.map(attempt));
    }
    for this in running {
        let (index, _) = this;
        if let Some(outcome) = outcomes.get(&this) {
            if wait {
                continue;
            }
            match call::settle(call, outcome.what.clone(), fan.flow.now) {
                Ok(_) => fan.work.succeed(index),
                Err((failure, asked)) => fan.failed_asked(index, &failure, asked),
            }
        } else if in_flight.contains(&this) || fan.flow.view.draining {
            // its end will be told; or the next leader sees to it
        } else if fan.flow.is_stopping() && (!fan.flow.taken_over || fan.step.safety == Safety::Idempotent) {
            // it is given up, not sent
        } else if !fan.flow.taken_over || fan.step.safety == Safety::Idempotent {
            // its intent was written and it has not started, or it was lost with a former leader
            if fan.flow.taken_over {
                fan.flow.fence_off();
                fan.work.resend(index);
            }
            send(fan, call, index);
        } else {
            fan.failed(index, ErrorClass::Connection, false, "medley was interrupted during the call");
        }
    }
}

/// Starts one item; why it has to wait, when it has to.
pub(super) fn start(fan: &mut Fan<'_, '_>, call: &CallDefinition, index: u32) -> Option<Hold> {
    let way = match call::way(fan.flow, fan.step, call, &batch(fan, index), None) {
        Ok(way) => way,
        Err(Missing { class, why }) if fan.overdue > 0 => {
            fan.overdue -= 1;
            fan.work.start(index);
            let message = format!("{why}, for {:?}", fan.flow.timeout(fan.step));
            fan.failed(index, class, true, &message);
            return None;
        }
        Err(missing) => return Some(Hold::Missing(missing.why)),
    };
    match target(fan, way, index) {
        Ok(target) => request(fan, call, index, &target),
        Err(Held::Queued(admission)) => return Some(Hold::Queued(admission)),
        Err(Held::Refused(why)) => {
            fan.work.start(index);
            fan.failed(index, ErrorClass::Overloaded, true, &why);
        }
    }
    None
}

/// What the choice of a service from an answer follows from. Items that stand together go to the same one: each queue is asked for many
/// at a time, and a look at the run is spent on each change of the queue.
fn batch(fan: &Fan<'_, '_>, index: u32) -> String {
    format!("{}.{}", index / TOGETHER, fan.work.attempt(index).attempt)
}

fn target<'v>(fan: &mut Fan<'_, 'v>, way: Way<'v>, index: u32) -> Result<call::Target<'v>, Held> {
    let seed = format!("{index}.{}", fan.work.attempt(index).attempt);
    let count = fan.work.room(fan.parallel(), fan.flow.now);
    call::target(fan.flow, fan.step, way, &Ready { since: None, count, stored: false, same: None, seed })
}

/// Sends the request of an item whose intent is in the status.
fn send(fan: &mut Fan<'_, '_>, call: &CallDefinition, index: u32) {
    if let Err(problem) = fan.show(index) {
        return fan.failed(index, ErrorClass::Configuration, true, &problem);
    }
    let way = call::way(fan.flow, fan.step, call, &batch(fan, index), None);
    let target = way.ok().map(|way| target(fan, way, index));
    match target {
        Some(Ok(target)) => request(fan, call, index, &target),
        Some(Err(Held::Refused(why))) => fan.failed(index, ErrorClass::Overloaded, true, &why),
        // a new leader may not know of the endpoint yet, or others have their turn first; what the former one has sent is not
        // known to have failed
        Some(Err(Held::Queued(_))) | None => fan.work.postpone(index, fan.flow.now),
    }
    fan.flow.item = None;
}

fn request(fan: &mut Fan<'_, '_>, call: &CallDefinition, index: u32, target: &call::Target<'_>) {
    let present = fan.work.attempt(index);
    fan.work.start(index);
    let attempt = Attempt { step: fan.step.id(), index: Some(index), number: present.attempt };
    match call::request(fan.flow, fan.step, call, attempt, target, present.known) {
        Ok(request) => fan.flow.decision.start_calls.push(request),
        Err(e) => fan.failed(index, ErrorClass::Configuration, true, &e),
    }
}
