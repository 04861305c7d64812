//! Laws of call queues: for all limits, askers and orders of events; and what they come to in single cases.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

#[path = "laws_dispatch/gate.rs"]
mod gate;
#[path = "laws_dispatch/street.rs"]
mod street;

use std::time::Duration;

use jiff::SignedDuration;
use medley::{
    api::Urgency,
    core::dispatch::{Ask, Limits, Refused, Waits},
};
use proptest::prelude::*;
use street::{Street, ask, endpoint};

/// More with `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() }
}

fn limits(concurrency: u32) -> Limits {
    Limits { concurrency: Some(concurrency), ..Limits::default() }
}

#[test]
fn a_stat_call_goes_before_those_that_wait_and_beside_them_where_places_are_reserved() {
    for (reserve, beside) in [(0, false), (1, true)] {
        let mut street = Street::new(Limits { stat_reserve: reserve, ..limits(2) }, 1);
        for i in 0..6 {
            street.ask(&format!("r{i}"), ask(Urgency::Routine));
            street.wait(1);
        }
        street.arrive_all();
        assert_eq!(street.order(), ["r0", "r1"]);
        assert_eq!(street.calls.len(), 3, "one more has its intent written, to go when a place is free");
        street.ask("stat", ask(Urgency::Stat));
        street.pass();
        street.arrive_all();
        assert_eq!(street.order().contains(&"stat"), beside);
        street.end(street.of("r0"), true);
        street.arrive_all();
        assert_eq!(street.order()[2], "stat", "it comes before the one that waited with its intent written");
    }
}

#[test]
fn what_waits_long_rises_one_level_and_then_before_its_equals() {
    let mut street = Street::new(limits(1), 1);
    street.ask("first", ask(Urgency::Stat));
    street.pass();
    street.arrive_all();
    // an intent that is written keeps its place before equals: it has the one turn that is given ahead
    let aging = Some(SignedDuration::from_secs(10));
    street.ask("old", Ask { aging, once: true, ..ask(Urgency::Routine) });
    street.wait(1000);
    street.ask("urgent", Ask { once: true, ..ask(Urgency::Urgent) });
    street.wait(8000);
    street.end(street.of("first"), true);
    street.arrive_all();
    assert_eq!(street.order(), ["first", "urgent"], "nine seconds are not long");
    street.ask("urgent2", Ask { once: true, ..ask(Urgency::Urgent) });
    street.wait(1000);
    street.end(street.of("urgent"), true);
    street.arrive_all();
    assert_eq!(street.order(), ["first", "urgent", "old"], "it is as urgent now, and has waited longer");
}

#[test]
fn calls_are_spaced_and_the_most_urgent_goes_at_each_moment() {
    let mut street = Street::new(Limits { interval: Some(Duration::from_millis(100)), ..Limits::default() }, 2);
    for i in 0..3 {
        street.ask(&format!("r{i}"), ask(Urgency::Routine));
        street.pass();
        street.arrive_all();
        street.wait(1);
    }
    street.ask("stat", ask(Urgency::Stat));
    street.pass();
    for _ in 0..40 {
        street.arrive_all();
        street.wait(10);
    }
    assert_eq!(street.order(), ["r0", "stat", "r1", "r2"]);
    let times: Vec<i64> = street.departures.iter().map(|(_, at)| at.as_millisecond()).collect();
    assert!(times.windows(2).all(|w| w[1] - w[0] >= 100 && w[1] - w[0] <= 110), "{times:?}");
}

#[test]
fn too_many_are_refused_at_once_those_first_that_come_last() {
    let mut street = Street::new(Limits { queue_max: Some(2), ..limits(1) }, 1);
    for i in 0..5 {
        street.ask(&format!("r{i}"), ask(Urgency::Routine));
        street.wait(1);
        street.arrive_all();
    }
    assert_eq!(street.refused, [("r4".to_owned(), Refused::Full(2))], "one out, one ahead, two wait");
    street.ask("asap", ask(Urgency::Asap));
    street.wait(1);
    // asap has the one turn ahead of its own rank; whoever else is too much goes from the end
    street.ask("asap2", ask(Urgency::Asap));
    street.wait(1);
    assert_eq!(street.refused[1], ("r3".to_owned(), Refused::Full(2)));
}

#[test]
fn whoever_has_waited_too_long_is_refused() {
    let mut street = Street::new(Limits { queue_timeout: Some(Duration::from_secs(5)), ..limits(1) }, 1);
    for i in 0..4 {
        street.ask(&format!("r{i}"), ask(Urgency::Routine));
        street.wait(1);
    }
    street.wait(4990);
    assert_eq!(street.refused, []);
    assert_eq!(street.lane.next_pass(street.now), Some(street.now + SignedDuration::from_millis(8)));
    street.wait(9);
    let waited = Refused::Waited(Duration::from_secs(5));
    assert_eq!(street.refused, [("r2".to_owned(), waited), ("r3".to_owned(), waited)]);
}

#[test]
fn what_may_take_effect_once_gets_a_turn_only_with_a_free_place() {
    let mut street = Street::new(limits(1), 1);
    street.ask("first", ask(Urgency::Routine));
    street.pass();
    street.arrive_all();
    street.ask("once", Ask { once: true, ..ask(Urgency::Routine) });
    street.wait(1);
    street.ask("other", ask(Urgency::Routine));
    street.wait(1);
    assert_eq!(street.calls.len(), 1, "nor does another overtake it");
    street.end(street.of("first"), true);
    street.arrive_all();
    assert_eq!(street.order(), ["first", "once"]);
}

#[test]
fn an_endpoint_that_fails_is_left_alone_and_then_tried_with_one_call() {
    let breaker = Some((2, Duration::from_secs(10)));
    let mut street = Street::new(Limits { breaker, ..Limits::default() }, 1);
    for i in 0..2 {
        street.ask(&format!("r{i}"), ask(Urgency::Routine));
        street.pass();
        street.arrive_all();
        street.end(street.of(&format!("r{i}")), false);
    }
    for i in 2..5 {
        street.ask(&format!("r{i}"), ask(Urgency::Routine));
        street.wait(1);
    }
    assert_eq!(street.calls.len(), 0);
    street.wait(9000);
    assert_eq!(street.lane.tell(street.now + SignedDuration::from_secs(10), 10).len(), 3);
    street.wait(997);
    street.arrive_all();
    assert_eq!(street.order(), ["r0", "r1", "r2"], "one tries it");
    street.end(street.of("r2"), true);
    street.arrive_all();
    assert_eq!(street.order(), ["r0", "r1", "r2", "r3", "r4"]);
}

#[test]
fn a_step_with_many_items_shares_with_others_of_its_urgency() {
    let mut street = Street::new(limits(1), 1);
    street.ask("many", Ask { count: 20, ..ask(Urgency::Routine) });
    street.wait(1);
    street.ask("few", Ask { count: 3, ..ask(Urgency::Routine) });
    street.wait(1);
    for _ in 0..6 {
        street.arrive_all();
        let out = *street.calls.iter().find(|(_, c)| c.out).unwrap().0;
        street.wait(10);
        street.end(out, true);
    }
    street.arrive_all();
    let few = street.order().iter().filter(|n| **n == "few").count();
    assert_eq!(few, 3, "{:?}", street.order());
}

#[test]
fn who_waits_long_is_told_where_it_stands_and_when_its_turn_comes() {
    let mut street = Street::new(limits(1), 1);
    for i in 0..12 {
        street.ask(&format!("r{i:02}"), ask(Urgency::Routine));
        street.wait(1);
    }
    for _ in 0..2 {
        street.arrive_all();
        street.wait(6000);
        let out = *street.calls.iter().find(|(_, c)| c.out).unwrap().0;
        street.end(out, true);
    }
    assert!(street.lane.tell(street.now, 3).iter().map(|k| k.name.as_str()).eq(["r04", "r05", "r06"]));
    let caller = medley::core::dispatch::Caller {
        run: medley::core::name::Key::new("n", "r05"),
        uid: "u-r05".to_owned(),
        step: "s".to_owned(),
    };
    let told = street.lane.turn(&caller.into(), street.now).told.unwrap();
    assert_eq!((told.waits, told.ahead), (Waits::Busy, 1));
    assert!(told.eta.is_some_and(|at| at > street.now));
    assert!(
        street.lane.tell(street.now, 3).iter().map(|k| k.name.as_str()).eq(["r07", "r08", "r09"]),
        "not again so soon"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Ask(u8, Urgency, u32, bool, Option<u16>),
    Withdraw(u8),
    Arrive(prop::sample::Index),
    End(prop::sample::Index, bool),
    Wait(u16),
    Endpoints(u8),
}

fn urgency() -> impl Strategy<Value = Urgency> {
    prop::sample::select(Urgency::ALL.to_vec())
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let aging = prop::option::of(1_u16..3000);
    let asks = (any::<u8>(), urgency(), 1_u32..5, prop::bool::weighted(0.2), aging);
    let event = prop_oneof![
        4 => asks.prop_map(|(n, u, c, o, a)| Event::Ask(n, u, c, o, a)),
        1 => any::<u8>().prop_map(Event::Withdraw),
        4 => any::<prop::sample::Index>().prop_map(Event::Arrive),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, w)| Event::End(i, w)),
        3 => (0_u16..1500).prop_map(Event::Wait),
        1 => (0_u8..4).prop_map(Event::Endpoints),
    ];
    prop::collection::vec(event, 1..80)
}

fn all_limits() -> impl Strategy<Value = Limits> {
    let interval = prop::option::weighted(0.3, (1_u64..300).prop_map(Duration::from_millis));
    let breaker = prop::option::weighted(0.3, (1_u32..4, (1_u64..2000).prop_map(Duration::from_millis)));
    let queue =
        (prop::option::of(1_u32..20), prop::option::weighted(0.3, (1_u64..5000).prop_map(Duration::from_millis)));
    (prop::option::weighted(0.8, 1_u32..20), 0_u32..3, interval, queue, breaker).prop_map(
        |(concurrency, stat_reserve, interval, (queue_max, queue_timeout), breaker)| Limits {
            concurrency,
            stat_reserve,
            interval,
            queue_max,
            queue_timeout,
            breaker,
            ..Limits::default()
        },
    )
}

fn play(street: &mut Street, event: &Event) {
    match event {
        Event::Ask(n, urgency, count, once, aging) => {
            let aging = aging.map(|ms| SignedDuration::from_millis(i64::from(ms)));
            street.ask(&format!("r{n}"), Ask { count: *count, once: *once, aging, ..ask(*urgency) });
            street.pass();
        }
        Event::Withdraw(n) => {
            street.withdraw(&format!("r{n}"));
            street.pass();
        }
        Event::Arrive(which) => {
            let here: Vec<u64> = street.calls.iter().filter(|(_, c)| !c.out).map(|(id, _)| *id).collect();
            if !here.is_empty() && !street.arrived.contains(which.get(&here)) {
                let id = *which.get(&here);
                street.arrive(id);
                // whatever else happens: should the process die now, nobody would know whether it has gone
                assert!(
                    !street.calls[&id].once || street.calls[&id].out,
                    "what may take effect once waits at the gate"
                );
            }
        }
        Event::End(which, well) => {
            let out: Vec<u64> = street.calls.iter().filter(|(_, c)| c.out).map(|(id, _)| *id).collect();
            if !out.is_empty() {
                street.end(*which.get(&out), *well);
            }
        }
        Event::Wait(ms) => street.wait(i64::from(*ms)),
        Event::Endpoints(n) => {
            let all: Vec<_> = (1..=*n).map(endpoint).collect();
            street.lane.set(street.limits.clone(), &all);
            street.pass();
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_endpoint_has_more_calls_than_it_may_and_only_stat_has_what_is_reserved(limits in all_limits(), events in events()) {
        let mut street = Street::new(limits.clone(), 2);
        for event in events {
            play(&mut street, &event);
            let Some(most) = limits.concurrency else { continue };
            for (at, (all, stat)) in street.out() {
                prop_assert!(all <= most + limits.stat_reserve, "{at}: {all}");
                prop_assert!(all - stat <= most, "{at}: {all}, of which {stat} stat");
            }
        }
    }

    #[test]
    fn calls_are_never_closer_than_the_rate_allows(limits in all_limits(), events in events()) {
        let mut street = Street::new(limits.clone(), 2);
        events.iter().for_each(|event| play(&mut street, event));
        if let Some(interval) = limits.interval {
            let close = street.departures.windows(2).find(|w| w[1].1.duration_since(w[0].1) < SignedDuration::try_from(interval).unwrap());
            prop_assert_eq!(close, None);
        }
    }

    #[test]
    fn nobody_waits_while_a_place_is_free_and_nothing_holds_it_back(concurrency in 1_u32..20, reserve in 0_u32..3, events in events()) {
        let limits = Limits { stat_reserve: reserve, ..limits(concurrency) };
        let mut street = Street::new(limits, 2);
        for event in events.into_iter().filter(|e| !matches!(e, Event::Endpoints(_))) {
            play(&mut street, &event);
            street.arrive_all();
            let free = (1..3).any(|n| street.out().get(&endpoint(n)).is_none_or(|(all, _)| *all < concurrency));
            prop_assert!(!free || street.asks.is_empty(), "{:?} wait", street.asks);
        }
    }

    #[test]
    fn nobody_whose_intent_is_written_waits_while_a_place_is_free_anywhere(concurrency in 1_u32..20, reserve in 0_u32..3, events in events()) {
        let limits = Limits { stat_reserve: reserve, ..limits(concurrency) };
        let (mut street, mut ready) = (Street::new(limits, 3), 3);
        for event in events {
            if let Event::Endpoints(n) = event {
                ready = n;
            }
            play(&mut street, &event);
            let here = street.calls.iter().any(|(id, c)| !c.out && street.arrived.contains(id));
            let free = |n: &u8| {
                let kept = street.calls.values().filter(|c| c.once && !c.out && c.endpoint == endpoint(*n)).count();
                let out = street.out().get(&endpoint(*n)).map_or(0, |(all, _)| *all);
                out + u32::try_from(kept).unwrap() < concurrency
            };
            prop_assert!(!here || !(1..=ready).any(|n| free(&n)));
        }
    }

    #[test]
    fn all_have_their_turn_in_the_end_and_nothing_is_left(limits in all_limits(), events in events()) {
        let limits = Limits { queue_max: None, queue_timeout: None, ..limits };
        let mut street = Street::new(limits.clone(), 2);
        events.iter().for_each(|event| play(&mut street, event));
        street.lane.set(limits, &[endpoint(1), endpoint(2)]);
        for _ in 0..2000 {
            street.pass();
            street.arrive_all();
            let out: Vec<u64> = street.calls.iter().filter(|(_, c)| c.out).map(|(id, _)| *id).collect();
            out.into_iter().for_each(|id| street.end(id, true));
            if street.asks.is_empty() && street.calls.is_empty() {
                break;
            }
            let next = street.lane.next_pass(street.now);
            if let Some(at) = next {
                street.now = at.max(street.now);
            }
        }
        prop_assert!(street.asks.is_empty() && street.calls.is_empty(), "{:?} {:?}", street.asks, street.calls);
        prop_assert!(street.lane.is_idle());
    }

    #[test]
    fn no_turn_is_given_to_one_while_another_of_a_higher_urgency_waits(concurrency in 1_u32..4, asked in prop::collection::vec(urgency(), 1..30)) {
        let mut street = Street::new(limits(concurrency), 1);
        for (i, urgency) in asked.iter().enumerate() {
            street.ask(&format!("r{i}"), ask(*urgency));
        }
        let given = street.pass();
        let lowest = given.iter().map(|(_, place)| street.calls[&place.id].urgency).min();
        let waiting = street.asks.values().map(|a| a.urgency).max();
        prop_assert!(lowest.zip(waiting).is_none_or(|(given, waits)| given >= waits), "{lowest:?} {waiting:?}");
    }

    #[test]
    fn the_order_in_which_askers_are_told_does_not_matter(limits in all_limits(), asked in prop::collection::vec(urgency(), 1..12).prop_flat_map(|a| { let all: Vec<_> = a.into_iter().enumerate().collect(); (Just(all.clone()), Just(all).prop_shuffle()) })) {
        let run = |asked: &[(usize, Urgency)]| {
            let mut street = Street::new(limits.clone(), 2);
            asked.iter().for_each(|(i, urgency)| street.ask(&format!("r{i}"), ask(*urgency)));
            (street.pass(), street.refused)
        };
        prop_assert_eq!(run(&asked.0), run(&asked.1));
    }
}
