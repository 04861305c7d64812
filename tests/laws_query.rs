//! Laws of the answer to a query: for all services, endpoints and questions.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

#[path = "laws_query/world.rs"]
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use medley::{
    api::service_query::{ExclusionReason, WhenNoneReady},
    core::{
        discovery::{decision::Wanted, query::rank::percents},
        monitoring::sketch::GROWTH,
    },
    render::endpoint_slice::ready_addresses,
};
use proptest::prelude::*;
use world::{Offer, World, offers, question};

proptest! {
    #[test]
    fn the_order_of_services_and_endpoints_does_not_matter(spec in question(), all in offers(), turn in 0_usize..8) {
        let world = World::settled(spec, all.clone());
        let mut other = world.clone();
        let n = other.offers.len().max(1);
        other.offers.rotate_left(turn % n);
        other.offers.iter_mut().for_each(|o| o.known.reverse());
        let (a, b) = (world.decide(20), other.decide(20));
        prop_assert_eq!(a, b);
        let shown = |w: &World| {
            let facts = w.facts();
            let answer = w.answer(&facts);
            let matches: Vec<_> = answer.matches.iter().map(|m| (m.service().to_owned(), m.candidate.known.endpoint, m.probability.to_bits())).collect();
            let excluded: BTreeMap<String, _> = answer.excluded.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect();
            (matches, excluded, answer.panic)
        };
        let (whole, turned) = (World::settled(world.query.spec.clone(), all), other);
        prop_assert_eq!(shown(&whole), shown(&turned));
    }

    #[test]
    fn probabilities_add_to_one(spec in question(), all in offers()) {
        let world = World::new(spec, all);
        let facts = world.facts();
        let answer = world.answer(&facts);
        let each: Vec<f64> = answer.matches.iter().map(|m| m.probability).collect();
        prop_assert!(each.iter().all(|p| (0.0..=1.0).contains(p)));
        if !each.is_empty() {
            prop_assert!((each.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", each);
            prop_assert_eq!(percents(&each).iter().map(|p| u32::from(*p)).sum::<u32>(), 100);
        }
        prop_assert!(each.is_sorted_by(|a, b| a >= b), "best first: {:?}", each);
        prop_assert!(each.len() <= usize::from(world.query.spec.max_targets.unwrap_or(100)));
    }

    #[test]
    fn an_endpoint_that_is_not_ready_is_in_no_answer_but_that_of_a_panic(
        spec in question(),
        first in offers(),
        second in offers(),
    ) {
        let mut world = World::settled(spec, first);
        let before: BTreeSet<String> = world.told().into_iter().collect();
        world.offers = second;
        world.settle(20);
        let status = world.query.status.clone().unwrap();
        let panic = status.conditions.iter().any(|c| c.type_ == "Panic" && c.status == "True");
        let ready: BTreeSet<String> = world.offers.iter().flat_map(Offer::ready).collect();
        for told in world.told() {
            if panic {
                prop_assert!(!ready.contains(&told) && before.contains(&told), "{} was not in the last answer", told);
            } else {
                prop_assert!(ready.contains(&told), "{} is not ready", told);
            }
        }
        prop_assert!(!panic || world.query.spec.when_none_ready != Some(WhenNoneReady::Empty));
        // what is published is what the status tells
        let published: BTreeSet<_> = world.slices.iter().flat_map(|s| ready_addresses(s).map(|(a, _)| a.to_string())).collect();
        let told: BTreeSet<_> = status.matches.iter().map(|m| m.endpoint.parse::<SocketAddr>().unwrap().ip().to_string()).collect();
        prop_assert_eq!(published, told);
    }

    #[test]
    fn deciding_on_its_own_result_asks_for_nothing(
        first_question in question(),
        second_question in question(),
        first in offers(),
        second in offers(),
    ) {
        let mut world = World::settled(first_question, first);
        world.offers = second;
        world.settle(20);
        world.query.spec = second_question;
        world.query.metadata.generation = Some(2);
        let settled = world.settle(30);
        let again = world.decide(1000);
        prop_assert_eq!(&again.wanted, &settled.wanted, "time alone changes nothing");
        prop_assert!(again.status.is_none() && again.unwanted.is_empty() && again.notes.is_empty());
    }

    #[test]
    fn every_service_is_in_the_answer_or_has_a_reason(spec in question(), all in offers()) {
        let world = World::new(spec, all);
        let facts = world.facts();
        let answer = world.answer(&facts);
        let matched: BTreeSet<&str> = answer.matches.iter().map(|m| m.service()).collect();
        for offer in &world.offers {
            let name = offer.name();
            prop_assert!(matched.contains(name) != answer.excluded.contains_key(name), "{}", name);
            let reason = answer.excluded.get(name);
            let asked = world.query.spec.capability.as_ref();
            let able = asked.is_none_or(|c| offer.service.spec.capabilities.contains(c));
            prop_assert_eq!(reason == Some(&ExclusionReason::Capability), !able);
        }
        prop_assert_eq!(matched.len() + answer.excluded.len(), world.offers.len());
    }

    #[test]
    fn only_services_that_may_are_asked(spec in question(), all in offers()) {
        let world = World::new(spec, all);
        let facts = world.facts();
        for found in &world.answer(&facts).matches {
            let data = found.candidate.service.spec.data.clone().unwrap_or_default();
            if let Some(asked) = world.query.spec.purpose {
                prop_assert!(data.purposes.iter().any(|p| p.admits(asked)));
            }
            if let Some(asked) = world.query.spec.confidentiality {
                prop_assert!(data.max_confidentiality >= Some(asked));
            }
        }
    }

    #[test]
    fn more_weight_for_what_is_better_never_lowers_its_probability(
        spec in question(),
        all in offers(),
        weight in 1_u8..50,
        more in 1_u8..50,
    ) {
        let mut world = World::new(spec, all);
        let health = |world: &mut World, weight: u8| world.query.spec.prefer.get_or_insert_default().health = Some(weight);
        health(&mut world, weight);
        let probabilities = |world: &World| -> BTreeMap<_, (f64, f64)> {
            world.answer(&world.facts()).matches.iter().map(|m| ((m.service().to_owned(), m.candidate.known.endpoint), (m.candidate.share, m.probability))).collect()
        };
        // of all candidates of the answering tier, whether or not they fit in
        let most = world.query.spec.max_targets.take();
        let best = probabilities(&world).values().map(|(share, _)| *share).fold(0.0, f64::max);
        world.query.spec.max_targets = most;
        let before = probabilities(&world);
        health(&mut world, weight + more);
        let after = probabilities(&world);
        for (place, (share, probability)) in before {
            if share >= best {
                let now = after.get(&place).map_or(0.0, |(_, p)| *p);
                prop_assert!(now >= probability - 1e-9, "{:?} fell from {} to {}", place, probability, now);
            }
        }
    }

    #[test]
    fn a_service_that_answers_sooner_is_not_less_probable_and_it_counts_at_most_the_weight(
        spec in question(),
        all in offers(),
        weight in 1_u8..=100,
        chosen in any::<prop::sample::Index>(),
        source in any::<bool>(),
        (slow, fast) in (1.0..2000.0, 0.01..=1.0),
    ) {
        let mut world = World::new(spec, all);
        world.query.spec.prefer.get_or_insert_default().latency = Some(weight);
        prop_assume!(!world.offers.is_empty());
        let chosen = chosen.index(world.offers.len());
        let parts = |world: &World| -> BTreeMap<_, _> {
            let facts = world.facts();
            let all = world.answer(&facts).matches;
            all.iter().map(|m| ((m.service().to_owned(), m.candidate.known.endpoint), (m.latency.unwrap(), m.probability))).collect()
        };
        let mut learn = |ms: f64| {
            let (calls, probes) = if source { (Some(ms), Some(900.0)) } else { (None, Some(ms)) };
            world.offers[chosen].learn(calls, probes);
            (parts(&world), world.offers[chosen].name().to_owned())
        };
        let ((before, name), (after, _)) = (learn(slow), learn(slow * fast));
        prop_assert!(before.values().chain(after.values()).all(|(part, _)| (0.0..=f64::from(weight)).contains(part)));
        for (place, (_, probability)) in before.iter().filter(|(place, _)| place.0 == name) {
            let now = after.get(place).map_or(0.0, |(_, p)| *p);
            prop_assert!(now >= probability - 1e-9, "{:?} fell from {} to {}", place, probability, now);
        }
        // the fastest has all of it, unless better ones fill the answer
        if world.query.spec.max_targets.is_none() && after.values().any(|(part, _)| *part > 0.0) {
            prop_assert!(after.values().any(|(part, _)| *part >= f64::from(weight) - 1e-9), "{:?}", after);
        }
    }

    #[test]
    fn all_services_slower_by_the_same_factor_are_the_same_answer(spec in question(), all in offers(), buckets in 1_i32..20) {
        let mut world = World::new(spec, all);
        world.query.spec.prefer.get_or_insert_default().latency = Some(7);
        let shown = |world: &World| -> Vec<_> {
            let facts = world.facts();
            world.answer(&facts).matches.iter().map(|m| (m.service().to_owned(), m.candidate.known.endpoint, m.latency, m.probability)).collect()
        };
        // ends of buckets, so that rounding does not matter
        let of = |i: usize, shift: i32| 0.1 * GROWTH.powi(20 + shift + i32::try_from(i * 5 % 9).unwrap()) * 0.99;
        let mut learn = |shift: i32| {
            world.offers.iter_mut().enumerate().for_each(|(i, o)| o.learn((i % 3 > 0).then(|| of(i, shift)), Some(of(i + 4, shift))));
            shown(&world)
        };
        prop_assert_eq!(learn(0), learn(buckets));
    }

    #[test]
    fn a_foreign_service_of_the_name_is_left_alone(spec in question(), all in offers()) {
        let mut world = World::settled(spec, all);
        world.core_service.as_mut().unwrap().metadata.owner_references = None;
        let decision = world.decide(20);
        prop_assert!(decision.wanted.is_empty());
        prop_assert!(decision.unwanted.iter().all(|(_, name)| world.slices.iter().any(|s| s.metadata.name.as_ref() == Some(name))));
        prop_assert_eq!(decision.unwanted.len(), world.slices.len());
        let status = decision.status.unwrap();
        prop_assert!(status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "NameTaken"));
        // the slices carry its name: they must go
        world.settle(30);
        prop_assert!(world.slices.is_empty());
    }
}

#[test]
fn a_small_move_of_a_probability_is_no_news() {
    let offers = world::fixed(&[("north", 10, 10), ("south", 10, 10)]);
    let spec = serde_json::json!({"protocol": "HTTP", "port": 80, "prefer": {"health": 1}});
    let mut world = World::settled(serde_json::from_value(spec).unwrap(), offers);
    let told = world.query.status.clone().unwrap();
    // the same endpoints are ready, and a service has one more that is not: scores move by less than 5 percent of all
    world.offers = world::fixed(&[("north", 10, 11), ("south", 10, 10)]);
    assert_eq!(world.decide(20).status, None);
    world.offers = world::fixed(&[("north", 10, 11), ("south", 9, 10)]);
    world.settle(30);
    assert_ne!(world.query.status.as_ref().unwrap().matches, told.matches);
}

#[test]
fn decisions_keep_only_slices_and_services() {
    let offers = world::fixed(&[("north", 2, 2)]);
    let spec = serde_json::json!({"protocol": "HTTP", "port": 80});
    let world = World::new(serde_json::from_value(spec).unwrap(), offers);
    let wanted = world.decide(1).wanted;
    assert!(wanted.iter().all(|w| matches!(w, Wanted::Service(_) | Wanted::EndpointSlice(_))));
    assert_eq!(wanted.len(), 3, "two port numbers");
}
