//! How good is each endpoint: its tier, its score, and the probability that it is the best choice.

use std::cmp::Ordering;

use super::{
    known::Known,
    latency::{Typical, shares},
};
use crate::api::{
    MedicalService, ServiceQuerySpec,
    service_query::{EndpointSelector, QueryScore},
};

/// Most endpoints of an answer.
pub const MAX_TARGETS: u16 = 100;
/// The temperature that is 1, in percent.
const TEMPERATURE: u16 = 100;

/// An endpoint that may be in the answer.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its service.
    pub service: &'a MedicalService,
    /// Name of its interface.
    pub interface: &'a str,
    /// The endpoint.
    pub known: &'a Known,
    /// How many of the service's known endpoints are ready, from 0 to 1.
    pub share: f64,
    /// How long its service takes; nothing where the query does not prefer by it.
    pub typical: Typical,
    /// What the query's signals add to its score.
    pub signals: f64,
}

impl<'a> Candidate<'a> {
    /// Name of its service.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }
}

/// An endpoint that is in the answer.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    /// Which.
    pub candidate: Candidate<'a>,
    /// Its tier, from 0.
    pub tier: usize,
    /// What `prefer.health` gives.
    pub health: f64,
    /// What `prefer.latency` gives, if it is set.
    pub latency: Option<f64>,
    /// What `prefer.signals` gives, if it names any.
    pub signals: Option<f64>,
    /// What `prefer.matching` gives.
    pub matching: f64,
    /// How probable it is to be the best choice; those of an answer add to 1.
    pub probability: f64,
}

impl<'a> Ranked<'a> {
    /// As far as the others are not needed for it.
    fn of(spec: &ServiceQuerySpec, candidate: Candidate<'a>) -> Self {
        let (mut health, mut matching, mut signals) = (0.0, 0.0, None);
        if let Some(prefer) = &spec.prefer {
            health = prefer.health.map_or(0.0, |weight| f64::from(weight) * candidate.share);
            let fitting = prefer.matching.iter().filter(|p| selects(&p.matches, candidate));
            matching = fitting.map(|p| f64::from(p.weight)).sum();
            signals = (!prefer.signals.is_empty()).then_some(candidate.signals);
        }
        Self { candidate, tier: tier(spec, candidate), health, latency: None, signals, matching, probability: 0.0 }
    }

    fn score(&self) -> f64 {
        self.health + self.latency.unwrap_or_default() + self.signals.unwrap_or_default() + self.matching
    }

    /// Name of its service.
    #[must_use]
    pub fn service(&self) -> &'a str {
        self.candidate.name()
    }

    /// What its score is made of, in hundredths.
    #[must_use]
    pub fn parts(&self) -> QueryScore {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sums of 26 weights of at most 100")]
        let hundredths = |part: f64| (part * 100.0).round() as u32;
        QueryScore {
            health: hundredths(self.health),
            latency: self.latency.map(hundredths),
            signals: self.signals.map(hundredths),
            matching: hundredths(self.matching),
        }
    }

    /// The better one first; of equals the service's name decides, then the address.
    fn order(&self, other: &Self) -> Ordering {
        let place = |r: &Self| (r.service(), r.candidate.known.endpoint);
        other.score().total_cmp(&self.score()).then_with(|| place(self).cmp(&place(other)))
    }
}

/// The first tier that an endpoint is in, from 0; one after the last where it is in none.
#[must_use]
pub fn tier(spec: &ServiceQuerySpec, candidate: Candidate<'_>) -> usize {
    spec.tiers.iter().position(|t| selects(t, candidate)).unwrap_or(spec.tiers.len())
}

fn selects(selector: &EndpointSelector, candidate: Candidate<'_>) -> bool {
    let zone = candidate.known.zone.as_ref();
    let attributes = &candidate.service.spec.attributes;
    (selector.zones.is_empty() || zone.is_some_and(|z| selector.zones.contains(z)))
        && selector.attributes.iter().all(|(key, value)| attributes.get(key) == Some(value))
}

/// The candidates of the first tier that has any, best first and at most as many as are asked for, each with its probability: a softmax
/// of the scores. The order of the candidates does not matter.
#[must_use]
pub fn rank<'a>(spec: &ServiceQuerySpec, candidates: impl IntoIterator<Item = Candidate<'a>>) -> Vec<Ranked<'a>> {
    let mut ranked: Vec<Ranked<'a>> = candidates.into_iter().map(|c| Ranked::of(spec, c)).collect();
    let Some(first) = ranked.iter().map(|r| r.tier).min() else { return ranked };
    ranked.retain(|r| r.tier == first);
    if let Some(weight) = spec.prefer.as_ref().and_then(|p| p.latency) {
        // whether or not it fits in
        let shares = shares(ranked.iter().map(|r| (r.service(), r.candidate.typical)));
        let share = |r: &Ranked<'_>| shares.get(r.service()).map_or(0.0, |share| f64::from(*share) / 100.0);
        ranked.iter_mut().for_each(|r| r.latency = Some(f64::from(weight) * share(r)));
    }
    ranked.sort_by(Ranked::order);
    ranked.truncate(usize::from(spec.max_targets.unwrap_or(MAX_TARGETS).clamp(1, MAX_TARGETS)));
    let temperature = f64::from(spec.temperature.unwrap_or(TEMPERATURE).max(1)) / f64::from(TEMPERATURE);
    // the best score is taken off first: the sum is from 1 to the number of candidates, whatever the weights
    let best = ranked.first().map_or(0.0, Ranked::score);
    for r in &mut ranked {
        r.probability = ((r.score() - best) / temperature).exp();
    }
    let all: f64 = ranked.iter().map(|r| r.probability).sum();
    ranked.iter_mut().for_each(|r| r.probability /= all);
    ranked
}

/// Probabilities as whole percents that add to 100: what rounding down leaves over goes to the largest rests, the earlier one first.
#[must_use]
pub fn percents(probabilities: &[f64]) -> Vec<u8> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let mut whole: Vec<u8> = probabilities.iter().map(|p| (p * 100.0 + 1e-9) as u8).collect();
    let given: usize = whole.iter().map(|w| usize::from(*w)).sum();
    let mut rests: Vec<(usize, f64)> =
        probabilities.iter().zip(&whole).map(|(p, w)| p * 100.0 - f64::from(*w)).enumerate().collect();
    rests.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (place, _) in rests.into_iter().take(100_usize.saturating_sub(given)) {
        whole[place] += 1;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_add_to_a_hundred() {
        assert_eq!(percents(&[1.0 / 3.0; 3]), [34, 33, 33]);
        assert_eq!(percents(&[1.0]), [100]);
        assert_eq!(percents(&[0.01; 100]), [1; 100]);
        assert_eq!(percents(&[0.995, 0.004, 0.001]), [100, 0, 0]);
        assert_eq!(percents(&[0.666, 0.334]), [67, 33]);
        assert!(percents(&[]).is_empty());
    }
}
