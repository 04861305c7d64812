//! Cases of calls whose intent is written: who goes out, where to, and how limits that change take effect.

use std::time::Duration;

use jiff::SignedDuration;
use medley::{
    api::Urgency,
    core::dispatch::{Ask, Limits, Refused},
};

use super::{
    limits,
    street::{Street, ask, endpoint},
};

/// Those of these names ask one after the other, and their intents are written.
fn all_arrive(street: &mut Street, names: &[&str], urgency: Urgency) {
    for name in names {
        street.ask(name, ask(urgency));
        street.wait(1);
        street.arrive_all();
    }
}

#[test]
fn a_place_that_gets_free_anywhere_is_for_the_first_that_is_here() {
    let mut street = Street::new(limits(1), 2);
    all_arrive(&mut street, &["r0", "r1", "r2", "r3"], Urgency::Routine);
    assert_eq!(street.order(), ["r0", "r1"], "the others have their intents written");
    assert_eq!(street.calls.len(), 4);
    for expected in ["r2", "r3"] {
        // always the same endpoint gets free
        let (id, _) = street.calls.iter().find(|(_, c)| c.out && c.endpoint == endpoint(2)).unwrap();
        street.end(*id, true);
        assert_eq!(street.order().last(), Some(&expected));
    }
}

#[test]
fn who_is_here_goes_elsewhere_when_its_endpoint_goes_or_is_left_alone() {
    let breaker = Some((1, Duration::from_secs(3600)));
    let mut street = Street::new(Limits { breaker, ..limits(1) }, 1);
    all_arrive(&mut street, &["r0", "r1"], Urgency::Routine);
    street.lane.set(street.limits.clone(), &[endpoint(1), endpoint(2)]);
    street.pass();
    assert_eq!(street.order(), ["r0", "r1"]);
    assert_eq!(street.calls[&street.of("r1")].endpoint, endpoint(2));
    all_arrive(&mut street, &["r2", "r3"], Urgency::Routine);
    // the first endpoint fails, and the second one goes
    street.end(street.of("r0"), false);
    street.lane.set(street.limits.clone(), &[endpoint(1), endpoint(3)]);
    street.pass();
    assert_eq!(street.order(), ["r0", "r1", "r2"]);
    assert_eq!(street.calls[&street.of("r2")].endpoint, endpoint(3));
    // nobody is there: it goes where it was meant to, rather than nowhere
    street.lane.set(street.limits.clone(), &[]);
    street.pass();
    street.end(street.of("r1"), true);
    street.end(street.of("r2"), true);
    assert_eq!(street.order(), ["r0", "r1", "r2", "r3"]);
}

#[test]
fn who_is_here_rises_as_those_do_that_wait() {
    let mut street = Street::new(limits(1), 1);
    all_arrive(&mut street, &["first"], Urgency::Urgent);
    street.ask("old", Ask { aging: Some(SignedDuration::from_secs(10)), ..ask(Urgency::Routine) });
    street.wait(1);
    street.arrive_all();
    all_arrive(&mut street, &["urgent"], Urgency::Urgent);
    assert_eq!(street.calls.len(), 3, "both have their intents written");
    let next = street.lane.next_pass(street.now).unwrap();
    assert_eq!(next.duration_since(street.now), SignedDuration::from_millis(9998), "when `old` rises");
    street.wait(9998);
    street.end(street.of("first"), true);
    assert_eq!(street.order(), ["first", "old"]);
}

#[test]
fn a_stat_call_leaves_what_may_take_effect_once_its_place() {
    for interval in [None, Some(Duration::from_millis(100))] {
        let mut street = Street::new(Limits { interval, ..limits(1) }, 1);
        street.ask("once", Ask { once: true, ..ask(Urgency::Routine) });
        street.pass();
        all_arrive(&mut street, &["stat"], Urgency::Stat);
        street.arrive_all();
        assert_eq!(street.order(), ["once"], "{interval:?}");
        street.end(street.of("once"), true);
        street.wait(100);
        street.arrive_all();
        assert_eq!(street.order(), ["once", "stat"], "{interval:?}");
    }
}

#[test]
fn limits_that_are_loosened_hold_at_once() {
    let hour = Duration::from_secs(3600);
    let mut street = Street::new(Limits { interval: Some(hour), ..Limits::default() }, 1);
    all_arrive(&mut street, &["r0", "r1"], Urgency::Routine);
    assert_eq!(street.order(), ["r0"]);
    street.limits.interval = Some(Duration::from_millis(1));
    street.lane.set(street.limits.clone(), &[endpoint(1)]);
    street.wait(1);
    assert_eq!(street.order(), ["r0", "r1"]);
}

#[test]
fn a_call_that_hangs_does_not_keep_its_endpoint_from_being_tried() {
    let breaker = Some((2, Duration::from_secs(10)));
    let mut street = Street::new(Limits { breaker, ..Limits::default() }, 1);
    all_arrive(&mut street, &["hangs", "r0", "r1"], Urgency::Routine);
    for name in ["r0", "r1"] {
        street.end(street.of(name), false);
    }
    all_arrive(&mut street, &["r2", "r3"], Urgency::Routine);
    street.wait(10_000);
    street.arrive_all();
    assert_eq!(street.order(), ["hangs", "r0", "r1", "r2"], "one tries it");
    street.end(street.of("r2"), false);
    street.wait(10_000);
    street.arrive_all();
    assert_eq!(street.order(), ["hangs", "r0", "r1", "r2", "r3"], "and the next one, after another pause");
}

#[test]
fn only_the_time_in_the_queue_counts_against_its_timeout_and_a_turn_comes_first() {
    let mut street = Street::new(Limits { queue_timeout: Some(Duration::from_secs(5)), ..limits(1) }, 1);
    street.wait(3_600_000);
    let since = Some(street.now - SignedDuration::from_hours(1));
    for name in ["r0", "r1", "r2", "r3"] {
        street.ask(name, Ask { since, ..ask(Urgency::Routine) });
        street.pass();
        street.arrive_all();
    }
    assert_eq!(street.refused, [], "it came an hour ago and stands here since now");
    street.wait(4999);
    // a look that changes nothing does not start the time anew
    street.ask("r2", Ask { since, ..ask(Urgency::Routine) });
    street.ask("r3", Ask { since, stored: true, ..ask(Urgency::Routine) });
    street.now += SignedDuration::from_millis(1);
    let first = street.of("r0");
    street.calls.remove(&first);
    street.lane.leave(first, None, street.now);
    street.pass();
    assert_eq!(street.refused, [], "a place is free in the same moment, and an intent that is stored is not refused");
    street.arrive_all();
    street.ask("r4", Ask { since, ..ask(Urgency::Routine) });
    street.wait(5000);
    assert_eq!(street.refused, [("r4".to_owned(), Refused::Waited(Duration::from_secs(5)))]);
    assert!(street.asks.contains_key("r3"));
}

#[test]
fn a_turn_that_cannot_be_used_keeps_nothing_from_others_and_counts_again_when_it_is() {
    let mut street = Street::new(limits(1), 1);
    let failing = street.turn_of("fails", ask(Urgency::Urgent));
    street.suspend("fails");
    all_arrive(&mut street, &["r0", "r1", "r2"], Urgency::Routine);
    assert_eq!((street.order(), street.calls.len()), (vec!["r0"], 2), "one is out, one ahead");
    assert_eq!(street.lane.loads()[&endpoint(1)].in_flight, 2);
    // now its intent is written
    assert_eq!(street.turn("fails").places, [failing]);
    street.begins("fails", failing);
    assert_eq!(street.order(), ["r0"]);
    street.end(street.of("r0"), true);
    assert_eq!(street.order(), ["r0", "fails"], "it comes first by its urgency");
    street.end(street.of("fails"), true);
    street.end(street.of("r1"), true);
    street.arrive_all();
    street.end(street.of("r2"), true);
    assert!(street.lane.is_idle());
}

#[test]
fn one_that_may_take_effect_once_is_a_turn_again_only_where_it_need_not_wait() {
    let mut street = Street::new(limits(1), 1);
    let once = Ask { once: true, ..ask(Urgency::Urgent) };
    let failing = street.turn_of("fails", once.clone());
    street.suspend("fails");
    assert_eq!(street.turn("fails").places, [failing], "its place is free");
    street.suspend("fails");
    all_arrive(&mut street, &["r0"], Urgency::Routine);
    assert_eq!(street.order(), ["r0"], "others had it meanwhile");
    assert_eq!(street.turn("fails").places, []);
    street.ask("fails", once);
    street.pass();
    street.end(street.of("r0"), true);
    street.arrive_all();
    assert_eq!(street.order(), ["r0", "fails"]);
    street.end(street.of("fails"), true);
    assert!(street.lane.is_idle());
}

#[test]
fn a_step_whose_looks_fail_gets_no_further_turns() {
    let mut street = Street::new(limits(1), 1);
    street.turn_of("fails", Ask { count: 9, ..ask(Urgency::Urgent) });
    street.suspend("fails");
    all_arrive(&mut street, &["r0", "r1"], Urgency::Routine);
    assert_eq!((street.order(), street.calls.len()), (vec!["r0"], 2));
}

#[test]
fn a_refusal_that_a_look_does_not_know_of_is_told_to_the_next_one() {
    let mut street = Street::new(Limits { queue_timeout: Some(Duration::from_secs(5)), ..limits(1) }, 1);
    all_arrive(&mut street, &["r0", "r1"], Urgency::Routine);
    let late = Ask { since: Some(street.now), ..ask(Urgency::Routine) };
    street.ask("late", late.clone());
    assert_eq!(street.turn("late").refused, None);
    street.now += SignedDuration::from_secs(5);
    street.only_pass();
    // the look that began before asks once more
    street.ask("late", late);
    assert_eq!(street.turn("late").refused, Some(Refused::Waited(Duration::from_secs(5))));
}
