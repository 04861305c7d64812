//! The turn to call a service: which endpoint a request goes to, or what its step asks of the call queue.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::{
    api::{
        admission::{Admission, AdmissionReason},
        vocabulary::Safety,
    },
    core::{
        coordination::{
            capacity,
            definition::StepDefinition,
            run::Flow,
            view::{CallAsk, InterfaceView, LaneKey},
        },
        dispatch::{Ask, Chosen, Refused, Standing, Waits, choose},
        name::chance,
    },
};

/// What a step has ready.
pub(super) struct Ready {
    /// Since when it waits; `None` for a step with many items.
    pub(super) since: Option<Timestamp>,
    /// How many calls.
    pub(super) count: u32,
    /// The intent is stored already.
    pub(super) stored: bool,
    /// The endpoint to keep.
    pub(super) same: Option<SocketAddr>,
    /// What tells its attempts apart.
    pub(super) seed: String,
}

/// What comes of it.
pub(super) enum Turned {
    /// One call may go there, with this turn where one is needed.
    Go(Chosen, Option<u64>),
    /// It waits; where it stands, if that is to be told now.
    Wait(Option<Admission>),
    /// It gets no turn; why.
    Refused(String),
}

/// Turns that a step has used in a pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    places: usize,
    /// How many calls the refusal of the step is still for.
    refusals: Option<u32>,
}

/// Takes the next turn that a step has to call this interface, or asks for one.
pub(super) fn take(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    service: &str,
    interface: &InterfaceView,
    ready: &Ready,
) -> Turned {
    let id = step.id();
    if interface.limits.is_open() {
        let load = |e: &SocketAddr| (*e, interface.loads.get(e).copied().unwrap_or_default());
        let candidates: Vec<_> = interface.endpoints.iter().map(load).collect();
        let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
        if let Some(chosen) = choose(&candidates, ready.same, chance(&[uid, &id, &ready.seed])) {
            return Turned::Go(chosen, None);
        }
    }
    let lane = LaneKey { service: service.to_owned(), interface: interface.name.clone() };
    let used = flow.turns_used.entry(id.clone()).or_default();
    // of another queue, should the step have called something else before
    let turn = flow.view.turns.get(&(id.clone(), lane.clone()));
    if let Some(place) = turn.and_then(|t| t.places.get(used.places)) {
        used.places += 1;
        let chosen = Chosen { endpoint: place.endpoint, probability: place.probability };
        return Turned::Go(chosen, Some(place.id));
    }
    if let Some(refused) = turn.and_then(|t| t.refused) {
        // all that it has ready, so that many items cost no more than one
        let left = used.refusals.get_or_insert(ready.count.max(1));
        if *left > 0 {
            *left -= 1;
            return Turned::Refused(in_words(refused, service));
        }
    }
    let aging = capacity::aging(flow);
    let ask = Ask {
        urgency: flow.urgency,
        since: ready.since,
        aging,
        count: ready.count.max(1),
        once: step.safety == Safety::AtMostOnce,
        stored: ready.stored,
        same: ready.same,
    };
    match flow.decision.asks.iter_mut().find(|a| a.step == id) {
        // another item of the step
        Some(present) => present.ask.count = present.ask.count.max(ask.count),
        None => flow.decision.asks.push(CallAsk { lane, step: id, ask }),
    }
    let since = ready.since.unwrap_or(flow.now);
    Turned::Wait(turn.and_then(|t| t.told.as_ref()).map(|standing| told(standing, since)))
}

fn in_words(refused: Refused, service: &str) -> String {
    match refused {
        Refused::Full(max) => {
            format!("{max} steps wait for MedicalService `{service}`, and more may not (queue.max)")
        }
        Refused::Waited(most) => {
            format!("it has waited for MedicalService `{service}` for {most:?} (queue.timeout)")
        }
    }
}

fn told(standing: &Standing, since: Timestamp) -> Admission {
    let reason = match standing.waits {
        Waits::Busy => AdmissionReason::ServiceBusy,
        Waits::Rate => AdmissionReason::ServiceRate,
        Waits::Paused => AdmissionReason::ServicePaused,
    };
    let position = Some(u32::try_from(standing.ahead + 1).unwrap_or(u32::MAX));
    Admission { since, position, reason, eta: standing.eta }
}
