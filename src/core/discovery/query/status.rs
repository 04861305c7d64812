//! The answer put into words: matches, reasons, conditions and events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    answer::Answer,
    view::{QueryView, SignalFacts, SignalState},
};
use crate::{
    api::{
        ServiceQueryStatus,
        service_query::{ExclusionReason, QueryMatch},
        status::{EMPTY, PANIC, READY, RECONCILING, SIGNALS_READ, STALLED},
    },
    core::{
        condition::{self, Conditions, State},
        discovery::view::Ownership,
        note::Note,
        refusal::Refusal,
    },
};

/// A probability that moves by less, in percent, is no news.
const STEP: u8 = 5;

/// What was found out about one query.
#[derive(Debug, Default)]
pub(super) struct Findings<'a> {
    /// What the user must change in the spec.
    pub problem: Option<String>,
    /// A Service in the way, and whose it is.
    pub obstacle: Option<Ownership>,
    /// Whether the Service is there.
    pub programmed: bool,
    /// The answer; `None` where the query cannot be read.
    pub answer: Option<Answer<'a>>,
}

/// What `Ready` says.
struct Verdict {
    ready: bool,
    /// Only a change by the user helps.
    stalled: bool,
    reason: &'static str,
    message: String,
}

/// The whole next status, but for the epoch of who writes it: that alone is no reason to write.
pub(super) fn status(view: &QueryView<'_>, findings: &Findings<'_>, now: Timestamp) -> ServiceQueryStatus {
    let metadata = &view.query.metadata;
    let present = view.query.status.clone().unwrap_or_default();
    let mut conditions = Conditions::from(&present.conditions, metadata.generation, now);
    let verdict = verdict(view, findings);
    conditions.set(READY, State::of(verdict.ready), verdict.reason, verdict.message.as_str());
    for (type_, holds) in [(RECONCILING, !verdict.ready && !verdict.stalled), (STALLED, verdict.stalled)] {
        if holds {
            conditions.set(type_, State::True, verdict.reason, verdict.message.as_str());
        } else {
            conditions.remove(type_);
        }
    }
    tell_signals(&mut conditions, view.signals);
    let (name, namespace) =
        (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref().unwrap_or_default());
    let mut next = ServiceQueryStatus {
        observed_generation: metadata.generation,
        leader_epoch: present.leader_epoch,
        dns_name: Some(format!("{name}.{namespace}.svc.{}", view.cluster_domain)),
        ..present.clone()
    };
    if let Some(answer) = &findings.answer {
        let matches = answer.told(!view.query.spec.tiers.is_empty());
        let kept = present.observed_generation == metadata.generation && is_no_news(&present.matches, &matches);
        next.matches = if kept { present.matches } else { matches };
        next.matched = Some(u32::try_from(answer.matches.len()).unwrap_or(u32::MAX));
        next.excluded = answer.left_out();
        tell(&mut conditions, answer);
    }
    next.conditions = conditions.into_list();
    next
}

/// An endpoint in its place: service, interface, address, zone, tier.
type Place<'m> = (&'m str, &'m str, &'m str, Option<&'m str>, Option<u8>);

fn by_place(list: &[QueryMatch]) -> BTreeMap<Place<'_>, u8> {
    list.iter()
        .map(|m| ((&*m.service, &*m.interface, &*m.endpoint, m.zone.as_deref(), m.tier), m.probability))
        .collect()
}

/// Whether an answer says what is told already, or nearly so.
fn is_no_news(told: &[QueryMatch], new: &[QueryMatch]) -> bool {
    let (told, new) = (by_place(told), by_place(new));
    told.len() == new.len() && new.iter().all(|(at, p)| told.get(at).is_some_and(|before| before.abs_diff(*p) < STEP))
}

/// What there is to find.
fn tell(conditions: &mut Conditions, answer: &Answer<'_>) {
    let services = answer.matches.iter().map(|m| m.service()).collect::<BTreeSet<_>>().len();
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let found = format!("{} of {}", many(answer.matches.len(), "endpoint"), many(services, "service"));
    let matching = answer.excluded.values().filter(|r| **r == ExclusionReason::NoneReady).count();
    let (empty, reason, message) = match answer.why_empty() {
        None if !answer.panic => (State::False, "Answered", found.clone()),
        None => (State::False, "Panic", format!("{found}, none of them ready: the last good answer is kept")),
        Some(reason) if matching > 0 => {
            let message = format!("{} would match, and none of their endpoints is ready", many(matching, "service"));
            (State::True, reason, message)
        }
        Some(reason) => (State::True, reason, "no service of this namespace matches; excluded tells why".to_owned()),
    };
    conditions.set(EMPTY, empty, reason, message);
    if answer.panic {
        let message = format!("{found}, none of them ready: look at the services' own conditions");
        conditions.set(PANIC, State::True, "NoneReady", message);
    } else {
        conditions.set(PANIC, State::False, reason, "nothing is kept that is not ready");
    }
}

/// Whether all signals are read; nothing where none is named.
fn tell_signals(conditions: &mut Conditions, signals: &[SignalFacts]) {
    let named = |state: SignalState| {
        let names: Vec<String> = signals.iter().filter(|s| s.state == state).map(|s| format!("`{}`", s.name)).collect();
        names.join(", ")
    };
    let (unknown, not_read) = (named(SignalState::Unknown), named(SignalState::NotRead));
    if signals.is_empty() {
        conditions.remove(SIGNALS_READ);
    } else if !unknown.is_empty() {
        let message = format!(
            "the operator knows no signal {unknown}, which counts nothing: name one of its chart's `signals.expressions`"
        );
        conditions.set(SIGNALS_READ, State::False, "UnknownSignal", message);
    } else if !not_read.is_empty() {
        let message = format!("Prometheus tells nothing of {not_read}, which counts nothing as long as that is so");
        conditions.set(SIGNALS_READ, State::False, "NotRead", message);
    } else {
        conditions.set(SIGNALS_READ, State::True, "Read", "all signals are read");
    }
}

fn verdict(view: &QueryView<'_>, findings: &Findings<'_>) -> Verdict {
    let not = |stalled, reason, message| Verdict { ready: false, stalled, reason, message };
    if let Some(problem) = &findings.problem {
        return not(true, "InvalidExpression", problem.clone());
    }
    let name = view.query.metadata.name.as_deref().unwrap_or_default();
    match findings.obstacle {
        Some(Ownership::Foreign) => {
            let message = format!(
                "a Service named {name} exists that is not this ServiceQuery's: delete it, or give the ServiceQuery another name"
            );
            return not(true, "NameTaken", message);
        }
        Some(_) => {
            let message = "the Service of the deleted ServiceQuery of this name is still being removed".to_owned();
            return not(false, "FormerObjects", message);
        }
        None => {}
    }
    if let Some(refused) = view.refused {
        return not(true, refused.reason(), refused.message().to_owned());
    }
    if !findings.programmed {
        return not(false, "Programming", "the Service is being made".to_owned());
    }
    Verdict { ready: true, stalled: false, reason: "Programmed", message: "named in cluster DNS".to_owned() }
}

/// What people should know of the step from one status to the next.
pub(super) fn notes(old: Option<&ServiceQueryStatus>, new: &ServiceQueryStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let before =
        |type_| old.and_then(|s| condition::find(&s.conditions, type_)).map(|c| (c.status.as_str(), c.reason.as_str()));
    if let Some(ready) = condition::find(&new.conditions, READY) {
        let was = before(READY);
        match (ready.status.as_str(), ready.reason.as_str()) {
            ("True", _) if was.is_none_or(|(status, _)| status != "True") => {
                notes.push(Note::normal("Ready", ready.message.clone()));
            }
            ("False", "WriteRefused") => {
                let present = old.map(|s| s.conditions.as_slice()).unwrap_or_default();
                notes.extend(Refusal::stored(&new.conditions).and_then(|refused| refused.note(present)));
            }
            ("False", reason) => {
                let known = ["InvalidExpression", "NameTaken"].into_iter().find(|r| *r == reason);
                let news = known.filter(|reason| was.is_none_or(|(_, old)| old != *reason));
                notes.extend(news.map(|reason| Note::warning(reason, ready.message.clone())));
            }
            _ => {}
        }
    }
    let told = |type_: &str| condition::find(&new.conditions, type_).filter(|c| c.status == "True");
    let newly = |type_: &'static str| told(type_).filter(|_| before(type_).is_none_or(|(status, _)| status != "True"));
    if let Some(panic) = newly(PANIC) {
        notes.push(Note::warning(PANIC, panic.message.clone()));
    } else if let Some(empty) = newly(EMPTY) {
        notes.push(Note::warning(EMPTY, empty.message.clone()));
    } else if told(PANIC).is_none()
        && told(EMPTY).is_none()
        && [PANIC, EMPTY].iter().any(|t| before(t).is_some_and(|(status, _)| status == "True"))
        && let Some(answered) = condition::find(&new.conditions, EMPTY)
    {
        notes.push(Note::normal("Answered", answered.message.clone()));
    }
    notes
}
