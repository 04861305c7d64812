//! A step that calls a service: which endpoint gets the request, what it says, and what came of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{
        admission::Admission,
        vocabulary::{ErrorClass, Safety},
        workflow_run::{CallTarget, ChosenService, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            capacity,
            definition::{CallDefinition, Callee, StepDefinition},
            outcome::{CallResult, Failure},
            retry_after,
            run::Flow,
            share::{self, ServiceShare},
            step::{fail, fail_asked, fill, later, succeed},
            turn::{self, Ready, Turned},
            view::{Attempt, InterfaceView, LaneKey, ServiceView, StartCall},
        },
        dispatch::Chosen,
    },
};

pub(super) fn start(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, mut status: StepStatus) {
    let number = status.attempt.unwrap_or(1);
    let seed = number.to_string();
    let same_service = status.target.as_ref().and_then(|t| t.service.as_ref()).map(|s| s.name.clone());
    let way = match way(flow, step, call, &seed, same_service.as_deref()) {
        Ok(found) => found,
        Err(Missing { class, why }) => {
            let since = *status.started_at.get_or_insert(flow.now);
            let until = later(since, flow.timeout(step));
            if until <= flow.now {
                fail(flow, step, status, class, true, format!("{why}, for {:?}", flow.timeout(step)));
            } else {
                flow.wake(until);
                status.phase = StepPhase::Waiting;
                status.message = Some(why);
                status.admission = None;
                flow.set(step, status);
            }
            return;
        }
    };
    if !capacity::is_admitted(flow, step, &mut status, 1) {
        return;
    }
    let same = status.target.as_ref().and_then(|t| t.endpoint.parse().ok());
    let since = Some(capacity::waits_since(flow, step));
    let stored = flow.get(step).is_some_and(|s| s.phase.is_at_work());
    let ready = Ready { since, count: 1, stored, same, seed };
    let target = match target(flow, step, way, &ready) {
        Ok(target) => target,
        Err(Held::Queued(admission)) => return queued(flow, step, status, admission),
        Err(Held::Refused(why)) => return fail(flow, step, status, ErrorClass::Overloaded, true, why),
    };
    let attempt = Attempt { step: step.id(), index: None, number };
    let request = request(flow, step, call, attempt, &target, status.known_failures.unwrap_or(0));
    match request {
        Ok(request) => {
            status.phase = StepPhase::Starting;
            status.message = None;
            status.admission = None;
            status.target = Some(told(target.chosen, target.way.chosen_service()));
            flow.set(step, status);
            flow.decision.start_calls.push(request);
        }
        Err(problem) => fail(flow, step, status, ErrorClass::Configuration, true, problem),
    }
}

fn told(Chosen { endpoint, probability }: Chosen, service: Option<ChosenService>) -> CallTarget {
    CallTarget { endpoint: endpoint.to_string(), probability, service }
}

/// A step waits for its turn.
fn queued(flow: &mut Flow<'_>, step: &StepDefinition, status: StepStatus, admission: Option<Admission>) {
    capacity::keep(flow, step, &status, false);
    if flow.get(step).is_some_and(|s| s.phase.is_at_work()) {
        // its intent is stored: what is known of requests before stays so
        flow.set(step, status);
    } else if let Some(admission) = admission {
        flow.set(step, capacity::waiting(status, "its turn", admission));
    }
}

/// The request of one attempt. `known` counts the attempts before it that are known to have failed.
pub(super) fn request(
    flow: &Flow<'_>,
    step: &StepDefinition,
    call: &CallDefinition,
    attempt: Attempt,
    target: &Target<'_>,
    known: u32,
) -> Result<StartCall, String> {
    let Target { way: Way { name, service, interface, .. }, chosen, turn } = target;
    let wire = call.request.wire(&|template| fill(flow, template), &service.dns_name, interface)?;
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    let item = attempt.index.map(|i| format!(".{i}")).unwrap_or_default();
    Ok(StartCall {
        attempt,
        lane: LaneKey { service: (*name).to_owned(), interface: interface.name.clone() },
        urgency: flow.urgency,
        turn: *turn,
        endpoint: chosen.endpoint,
        tls: interface.tls.clone(),
        wire,
        idempotency_key: format!("{uid}-{}{item}-{known}", step.id()),
        timeout: flow.timeout(step),
    })
}

/// What has come of a call: the step's `result`, or why it failed, and how long the service asks to be left alone.
pub(super) fn settle(
    call: &CallDefinition,
    what: CallResult,
    now: Timestamp,
) -> Result<Value, (Failure, Option<Duration>)> {
    let asked = match &what {
        CallResult::Answered(answer) => retry_after::asked(answer, now),
        CallResult::Acknowledged(_) | CallResult::Echoed { .. } | CallResult::Found(_) | CallResult::Failed { .. } => {
            None
        }
    };
    call.request.settle(what).map_err(|mut failure| {
        if let Some(asked) = asked {
            failure.message.push_str(&format!(" and asks to wait for {} s", asked.as_secs().max(1)));
        }
        (failure, asked)
    })
}

/// What a step calls.
#[derive(Clone, Copy)]
pub(super) struct Way<'v> {
    name: &'v str,
    /// Its share of the answer of the query that it was chosen from.
    share: Option<u8>,
    service: &'v ServiceView,
    interface: &'v InterfaceView,
}

impl Way<'_> {
    fn chosen_service(&self) -> Option<ChosenService> {
        self.share.map(|percent| ChosenService { name: self.name.to_owned(), probability: percent.min(100) })
    }
}

/// Where a request goes.
pub(super) struct Target<'v> {
    way: Way<'v>,
    chosen: Chosen,
    /// The turn that it uses.
    turn: Option<u64>,
}

/// Why there is no endpoint yet.
pub(super) struct Missing {
    /// The kind of failure, should it stay so.
    pub(super) class: ErrorClass,
    pub(super) why: String,
}

/// Why a request does not go yet.
pub(super) enum Held {
    /// Others have their turn first; where it stands, if that is to be told now.
    Queued(Option<Admission>),
    /// It gets no turn, for this reason.
    Refused(String),
}

/// Nobody is there.
const fn absent(why: String) -> Missing {
    Missing { class: ErrorClass::Connection, why }
}

/// The interface that a step calls, which has endpoints that are ready. Of the services in the answer of a query the one that the `seed`
/// of the attempt chooses; `same` is kept where it is still among them.
pub(super) fn way<'v>(
    flow: &Flow<'v>,
    step: &StepDefinition,
    call: &CallDefinition,
    seed: &str,
    same: Option<&str>,
) -> Result<Way<'v>, Missing> {
    let name = match &call.callee {
        Callee::Service { name, interface } => return to_service(flow, call, name, interface.as_deref()),
        Callee::Query(name) => name,
    };
    let shares = flow
        .view
        .answers
        .get(name)
        .ok_or_else(|| absent(format!("there is no ServiceQuery `{name}` with an answer in this namespace")))?;
    let (mut open, mut closed): (Vec<&'v ServiceShare>, _) = (Vec::new(), None);
    for share in shares {
        match to_service(flow, call, &share.service, Some(&share.interface)) {
            Ok(_) => open.push(share),
            Err(missing) => closed = closed.or(Some(missing)),
        }
    }
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    match share::choose(&open, same, (uid, &step.id(), seed)) {
        Some(chosen) => {
            let way = to_service(flow, call, &chosen.service, Some(&chosen.interface))?;
            Ok(Way { share: Some(chosen.percent), ..way })
        }
        None => Err(closed.unwrap_or_else(|| absent(format!("the answer of ServiceQuery `{name}` is empty")))),
    }
}

fn to_service<'v>(
    flow: &Flow<'v>,
    call: &CallDefinition,
    name: &str,
    interface: Option<&str>,
) -> Result<Way<'v>, Missing> {
    let (name, service) = flow
        .view
        .services
        .get_key_value(name)
        .ok_or_else(|| absent(format!("there is no MedicalService `{name}` in this namespace")))?;
    let mut fitting = service.interfaces.iter().filter(|i| call.request.fits(i.protocol));
    let interface = match interface {
        Some(name) => fitting.find(|i| i.name == *name),
        None => fitting.next(),
    };
    let interface = interface.ok_or_else(|| {
        let language = call.request.language();
        absent(format!("MedicalService `{name}` has no such interface that speaks {language}"))
    })?;
    if interface.endpoints.is_empty() {
        return Err(match &interface.refused {
            // another endpoint may come: whoever forges one must not be able to end what waits for the true ones
            Some(why) => Missing { class: ErrorClass::Configuration, why: format!("MedicalService `{name}`: {why}") },
            None => absent(format!("MedicalService `{name}` has no endpoint that is ready")),
        });
    }
    Ok(Way { name, share: None, service, interface })
}

/// The endpoint for one request of a step, when it is its turn.
pub(super) fn target<'v>(
    flow: &mut Flow<'v>,
    step: &StepDefinition,
    way: Way<'v>,
    ready: &Ready,
) -> Result<Target<'v>, Held> {
    match turn::take(flow, step, way.name, way.interface, ready) {
        Turned::Go(chosen, turn) => Ok(Target { way, chosen, turn }),
        Turned::Wait(admission) => Err(Held::Queued(admission)),
        Turned::Refused(why) => Err(Held::Refused(why)),
    }
}

pub(super) fn watch(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, status: StepStatus) {
    let this = Attempt { step: step.id(), index: None, number: status.attempt.unwrap_or(1) };
    if let Some(outcome) = flow.view.outcomes.get(&this) {
        let status = match outcome.moved {
            Some(chosen) => {
                let service = status.target.and_then(|t| t.service);
                StepStatus { target: Some(told(chosen, service)), ..status }
            }
            None => status,
        };
        match settle(call, outcome.what.clone(), flow.now) {
            Ok(result) => succeed(flow, step, status, result),
            Err((failure, asked)) => fail_asked(flow, step, status, failure, asked),
        }
    } else if flow.view.in_flight.contains(&this) {
        // its end will be told
    } else if flow.is_stopping() && (!flow.taken_over || step.safety == Safety::Idempotent) {
        // it is given up, not sent
    } else if !flow.taken_over {
        // this leader wrote the intent and has not started it: the status write's own answer was lost
        start(flow, step, call, status);
    } else if step.safety == Safety::Idempotent {
        flow.fence_off();
        start(flow, step, call, StepStatus { resent: Some(true), ..status });
    } else {
        let message = "medley was interrupted during the call".to_owned();
        fail(flow, step, status, ErrorClass::Connection, false, message);
    }
}
