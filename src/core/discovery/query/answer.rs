//! The answer to a query: which endpoints, and why not the other services.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{
    filter,
    known::Known,
    latency::Typical,
    rank::{Candidate, Ranked, percents, rank, tier},
    view::{ServiceFacts, SignalFacts},
};
use crate::{
    api::{
        MedicalService, ServiceQuerySpec,
        service_query::{ExclusionReason, QueryExclusion, QueryMatch, WhenNoneReady},
    },
    core::expression::{Budget, Expression},
};

/// What all evaluations of `where` for one answer may take: about a tenth of a second.
const STEPS: u64 = 2_000_000;
/// Most services that are told as excluded.
const MAX_EXCLUDED: usize = 100;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer<'a> {
    /// Its endpoints, best first.
    pub matches: Vec<Ranked<'a>>,
    /// Every other service by name.
    pub excluded: BTreeMap<&'a str, ExclusionReason>,
    /// None of its endpoints is ready: they are what is left of the last answer.
    pub panic: bool,
}

impl Answer<'_> {
    /// Its endpoints as they are told; `tiered` where the query has tiers.
    #[must_use]
    pub fn told(&self, tiered: bool) -> Vec<QueryMatch> {
        let probabilities: Vec<f64> = self.matches.iter().map(|m| m.probability).collect();
        let told = self.matches.iter().zip(percents(&probabilities));
        told.map(|(found, probability)| QueryMatch {
            service: found.service().to_owned(),
            interface: found.candidate.interface.to_owned(),
            endpoint: found.candidate.known.endpoint.to_string(),
            zone: found.candidate.known.zone.clone(),
            // there are eight tiers at most
            tier: tiered.then(|| u8::try_from(found.tier + 1).unwrap_or(u8::MAX)),
            probability,
            score: found.parts(),
        })
        .collect()
    }

    /// The services that are not in it, those first that came nearest: one that is registered for something else is news for nobody who
    /// has nearer ones to be told of.
    #[must_use]
    pub fn left_out(&self) -> Vec<QueryExclusion> {
        let mut list: Vec<(ExclusionReason, &str)> =
            self.excluded.iter().map(|(name, reason)| (*reason, *name)).collect();
        list.sort_unstable();
        let told = list.into_iter().take(MAX_EXCLUDED);
        told.map(|(reason, service)| QueryExclusion { service: service.to_owned(), reason }).collect()
    }

    /// Why there is no endpoint in it, if there is none.
    #[must_use]
    pub fn why_empty(&self) -> Option<&'static str> {
        let matching = self.excluded.values().any(|r| *r == ExclusionReason::NoneReady);
        let reason = if matching { "NoneReady" } else { "NoMatch" };
        self.matches.is_empty().then_some(reason)
    }
}

/// A service that matches.
struct Matching<'a> {
    service: &'a MedicalService,
    interface: &'a str,
    known: &'a [Known],
    share: f64,
    typical: Typical,
    signals: f64,
}

impl<'a> Matching<'a> {
    fn of(spec: &ServiceQuerySpec, signals: &[SignalFacts], facts: &'a ServiceFacts<'_>, interface: &'a str) -> Self {
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let ready = facts.known.iter().filter(|k| k.ready).count();
        let share = if ready == 0 { 0.0 } else { count(ready) / count(facts.known.len()) };
        let compared = spec.prefer.as_ref().is_some_and(|p| p.latency.is_some());
        let typical = if compared { Typical::of(facts.service) } else { Typical::default() };
        let weights = spec.prefer.iter().flat_map(|p| &p.signals);
        let signals = weights.map(|w| f64::from(w.weight) * value(signals, &w.name, facts.name())).sum();
        Self { service: facts.service, interface, known: &facts.known, share, typical, signals }
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let Self { service, interface, share, typical, signals, .. } = *self;
        self.known.iter().map(move |known| Candidate { service, interface, known, share, typical, signals })
    }
}

/// What a signal says of a service, from 0 to 1.
fn value(signals: &[SignalFacts], name: &str, service: &str) -> f64 {
    let signal = signals.iter().find(|s| s.name == name);
    signal.and_then(|s| s.values.get(service)).map_or(0.0, |hundredths| f64::from(*hundredths) / 100.0)
}

/// Answers a query from what is known of the services. `last` is the answer before: what is kept of it when nothing is ready.
#[must_use]
pub fn answer<'a>(
    spec: &ServiceQuerySpec,
    condition: Option<&Expression>,
    services: &'a [ServiceFacts<'_>],
    signals: &[SignalFacts],
    last: &[QueryMatch],
) -> Answer<'a> {
    let mut answer = Answer::default();
    // by name, so that the order in which they come does not decide where the budget ends
    let present = services.iter().filter(|f| f.service.metadata.deletion_timestamp.is_none());
    let by_name: BTreeMap<&str, &ServiceFacts<'_>> = present.map(|f| (f.name(), f)).collect();
    let mut matching = Vec::new();
    let mut budget = Budget::of(STEPS);
    for (name, facts) in by_name {
        let found = filter::interface(spec, facts.service).and_then(|interface| {
            condition.map_or(Ok(()), |c| filter::holds(c, facts.service, &mut budget)).map(|()| interface)
        });
        match found {
            Ok(interface) => matching.push((name, Matching::of(spec, signals, facts, &interface.name))),
            Err(reason) => {
                answer.excluded.insert(name, reason);
            }
        }
    }
    let all = || matching.iter().flat_map(|(_, m)| m.candidates());
    let mut candidates: Vec<Candidate<'a>> = all().filter(|c| c.known.ready).collect();
    if candidates.is_empty() && spec.when_none_ready != Some(WhenNoneReady::Empty) {
        let last: BTreeSet<_> = last.iter().filter_map(place).collect();
        candidates = all().filter(|c| last.contains(&(c.name(), c.interface, c.known.endpoint))).collect();
        answer.panic = !candidates.is_empty();
    }
    answer.matches = rank(spec, candidates.iter().copied());
    let first = answer.matches.first().map(|r| r.tier);
    let named: BTreeSet<&str> = answer.matches.iter().map(Ranked::service).collect();
    let mut tiers: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in &candidates {
        let (own, best) = (tier(spec, *candidate), tiers.entry(candidate.name()).or_insert(usize::MAX));
        *best = own.min(*best);
    }
    for (name, _) in matching.iter().filter(|(name, _)| !named.contains(name)) {
        let reason = match tiers.get(name) {
            None => ExclusionReason::NoneReady,
            own if own == first.as_ref() => ExclusionReason::BeyondMaxTargets,
            Some(_) => ExclusionReason::LaterTier,
        };
        answer.excluded.insert(name, reason);
    }
    answer
}

/// Which endpoint it was.
fn place(told: &QueryMatch) -> Option<(&str, &str, SocketAddr)> {
    Some((&told.service, &told.interface, told.endpoint.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Services that differ in their names only.
    fn services(count: usize) -> Vec<MedicalService> {
        let service = |i: usize| {
            let attributes: BTreeMap<String, String> = (0..8).map(|n| (format!("fact{n}"), "x".repeat(20))).collect();
            serde_json::from_value(json!({
                "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
                "metadata": {"name": format!("s{i:05}"), "labels": {"team": "radiology", "site": "north"}},
                "spec": {
                    "external": {"endpoints": [{"host": "pacs.example"}]},
                    "interfaces": [{"name": "http", "port": 80, "protocol": "HTTP"}],
                    "capabilities": ["triage", "read", "archive"], "attributes": attributes,
                },
            }))
            .unwrap()
        };
        (0..count).map(service).collect()
    }

    fn excluded(condition: &str, services: &[MedicalService]) -> BTreeMap<ExclusionReason, usize> {
        let spec = serde_json::from_value(json!({"protocol": "HTTP", "port": 80})).unwrap();
        let facts: Vec<ServiceFacts<'_>> =
            services.iter().map(|service| ServiceFacts { service, known: Vec::new() }).collect();
        let condition = filter::compile(condition).unwrap();
        let mut counts = BTreeMap::new();
        for reason in answer(&spec, Some(&condition), &facts, &[], &[]).excluded.into_values() {
            *counts.entry(reason).or_default() += 1;
        }
        counts
    }

    #[test]
    fn two_thousand_services_fit_into_the_bound_and_one_expression_cannot_take_all_time() {
        let all = services(2000);
        let usual = "'fact3' in service.attributes && service.attributes.fact3.startsWith('x') && service.labels.site == 'north'";
        assert_eq!(excluded(usual, &all), BTreeMap::from([(ExclusionReason::NoneReady, 2000)]));
        let costly = "service.capabilities.all(a, service.attributes.map(k, service.attributes[k] + a).size() > 0)";
        let counts = excluded(costly, &all);
        assert!(counts[&ExclusionReason::WhereFailed] > 0 && counts[&ExclusionReason::NoneReady] > 0, "{counts:?}");
    }
}
