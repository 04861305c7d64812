//! Laws of admission: for all pools, demands and orders of events.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

#[path = "laws_scheduling/town.rs"]
mod town;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use medley::{
    api::Urgency,
    core::scheduling::{Book, Course, Ruling, Shortage, Waits},
};
use proptest::prelude::*;
use town::{Ask, Event, Town, asks, claimant, events, pools};

/// More with `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    ProptestConfig { cases: ProptestConfig::default().cases.max(512), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_more_is_granted_than_there_is(pools in pools(), events in events()) {
        let mut town = Town::new(pools);
        for event in events {
            town.play(&event);
            prop_assert_eq!(town.overdrawn(), Vec::<String>::new());
        }
    }

    #[test]
    fn nothing_waits_that_fits_and_that_no_rule_holds_back(pools in pools(), asks in asks(false)) {
        let mut town = Town::new(pools);
        asks.iter().for_each(|ask| town.ask(&Ask { urgency: Urgency::Routine, strict: false, ..ask.clone() }));
        town.pass();
        for name in town.waiting() {
            let standing = town.book.standing(&claimant(&name, 1), town.now).unwrap();
            prop_assert!(standing.waits != Waits::Behind, "{} fits and waits", name);
        }
        // once more changes nothing
        prop_assert_eq!(town.pass(), Vec::new());
    }

    #[test]
    fn who_is_admitted_is_still_admitted_with_more_urgency(pools in pools(), asks in asks(false), one in any::<prop::sample::Index>()) {
        let admitted = |asks: &[Ask]| {
            let mut town = Town::new(pools.clone());
            asks.iter().for_each(|ask| town.ask(ask));
            town.granted()
        };
        let before = admitted(&asks);
        let mut asks = asks;
        let place = one.index(asks.len());
        let raised = asks[place].urgency;
        asks[place].urgency = Urgency::ALL[(raised as usize + 1).min(4)];
        let name = asks[place].name();
        if before.contains_key(&name) {
            prop_assert!(admitted(&asks).contains_key(&name));
        }
    }

    #[test]
    fn the_order_in_which_demands_are_told_does_not_matter(pools in pools(), asks in asks(true).prop_flat_map(|a| (Just(a.clone()), Just(a).prop_shuffle()))) {
        let run = |asks: &[Ask]| {
            let mut town = Town::new(pools.clone());
            asks.iter().for_each(|ask| town.ask(ask));
            town.pass()
        };
        prop_assert_eq!(run(&asks.0), run(&asks.1));
    }

    #[test]
    fn only_what_is_less_urgent_and_interruptible_is_displaced_and_it_comes_to_an_end(pools in pools(), asks in asks(true)) {
        let mut town = Town::new(pools);
        for ask in &asks {
            town.play(&Event::Ask(ask.clone()));
        }
        // whoever is displaced asks again; nothing new comes and nothing ends by itself
        let bound = 5 * asks.len() + 5;
        let mut passes = 0;
        loop {
            let rulings = town.pass();
            let displaced: Vec<_> = rulings
                .iter()
                .filter_map(|r| match r {
                    Ruling::Preempted { victim, by } => Some((victim.clone(), by.clone())),
                    Ruling::Granted { .. } => None,
                })
                .collect();
            for (victim, by) in &displaced {
                let (victim, by) = (town.ask_of(victim), town.ask_of(by));
                prop_assert!(victim.interruptible && victim.urgency < by.urgency && by.preempts);
            }
            if rulings.is_empty() && town.leaving.is_empty() {
                break;
            }
            town.leave_all();
            passes += 1;
            prop_assert!(passes <= bound, "they displace each other in turn");
        }
    }

    #[test]
    fn what_is_foreseen_is_what_then_happens(pools in pools(), asks in asks(true), begun in 0_usize..20, age in 0_i64..30) {
        // some have asked before, and some of these are at work
        let mut town = Town::new(pools);
        let (before, after) = asks.split_at(begun.min(asks.len()));
        before.iter().for_each(|ask| town.ask(ask));
        town.pass();
        town.now += SignedDuration::from_secs(age);
        after.iter().for_each(|ask| town.ask(ask));
        let until = town.now + SignedDuration::from_secs(120);
        let course = Course { takes: &town::takes, grace: town::GRACE, pause: town::PAUSE, until };
        let foreseen = town.book.foresee(town.now, &course);
        prop_assert_eq!(town.live(until), foreseen);
    }

    #[test]
    fn what_is_freed_for_a_demand_is_not_taken_by_its_equals(batch in 2_u32..20, late in 1_u32..20) {
        let mut town = Town::new(vec![town::pool("p", i64::from(batch))]);
        for i in 0..batch {
            town.play(&Event::Ask(Ask { interruptible: true, ..Ask::new(&format!("old-{i:02}"), Urgency::Batch, 1) }));
        }
        town.play(&Event::Ask(Ask { preempts: true, ..Ask::new("stat", Urgency::Stat, i64::from(batch / 2).max(1)) }));
        let told = town.leaving.len();
        prop_assert_eq!(told, usize::try_from((batch / 2).max(1)).unwrap(), "as few as suffice");
        for i in 0..late {
            town.play(&Event::Ask(Ask::new(&format!("late-{i:02}"), Urgency::Stat, 1)));
        }
        town.leave_all();
        let rulings = town.pass();
        prop_assert!(matches!(&rulings[..], [Ruling::Granted { claimant, .. }] if claimant.run.name == "stat"), "{:?}", rulings);
    }

    #[test]
    fn with_aging_nothing_is_overtaken_by_its_equals_for_ever(big in 2_i64..10, aging in 5_i64..60) {
        let mut town = Town::new(vec![town::pool("p", big)]);
        let aging = Some(SignedDuration::from_secs(aging));
        let mut admitted = None;
        for second in 0..300 {
            // small ones keep coming, two for each that ends
            for i in 0..2 * big {
                town.ask(&Ask { aging, ..Ask::new(&format!("small-{second}-{i}"), Urgency::Routine, 1) });
            }
            if second == 0 {
                town.ask(&Ask { aging, ..Ask::new("big", Urgency::Routine, big) });
            }
            town.pass();
            if town.book.holds(&claimant("big", 1)) {
                admitted = Some(second);
                break;
            }
            town.finish_older_than(SignedDuration::from_secs(i64::from(second % 3)));
            town.now += SignedDuration::from_secs(1);
        }
        prop_assert!(admitted.is_some(), "it waits for ever");
    }

    #[test]
    fn shares_of_equal_weight_get_the_same_where_all_want_more(weights in prop::collection::vec(1_u32..4, 2..10), per in 1_i64..4) {
        let total: u32 = weights.iter().sum();
        let supply = 20 * i64::from(total) * per;
        let shares: Vec<_> = weights.iter().enumerate().map(|(i, w)| town::share(&format!("s{i}"), 0, *w)).collect();
        let mut town = Town::new(vec![town::pool_of("p", supply, shares)]);
        for (i, _) in weights.iter().enumerate() {
            for n in 0..20 * total {
                town.ask(&Ask { share: format!("s{i}"), ..Ask::new(&format!("{i}-{n}"), Urgency::Routine, per) });
            }
        }
        let granted = town.granted();
        let mut by_share: BTreeMap<String, i64> = BTreeMap::new();
        granted.keys().for_each(|name| *by_share.entry(name.split('-').next().unwrap().to_owned()).or_default() += per);
        for (i, weight) in weights.iter().enumerate() {
            let due = supply * i64::from(*weight) / i64::from(total);
            let got = by_share.get(&i.to_string()).copied().unwrap_or(0);
            prop_assert!((got - due).abs() <= per * i64::from(*weight), "share {}: {} of {}", i, got, due);
        }
    }
}

#[test]
fn a_demand_that_is_larger_than_all_there_is_holds_nobody_up() {
    let mut town = Town::new(vec![town::pool("p", 4)]);
    town.ask(&Ask::new("huge", Urgency::Stat, 5));
    town.ask(&Ask::new("small", Urgency::Batch, 4));
    assert_eq!(town.granted().into_keys().collect::<BTreeSet<_>>(), BTreeSet::from(["small".to_owned()]));
    let standing = town.book.standing(&claimant("huge", 1), town.now).unwrap();
    assert_eq!(standing.waits, Waits::Short(Shortage::TooLarge));
}

#[test]
fn less_urgent_work_does_not_overtake_what_waits_for_more() {
    let mut town = Town::new(vec![town::pool("p", 4)]);
    town.play(&Event::Ask(Ask::new("first", Urgency::Routine, 2)));
    town.play(&Event::Ask(Ask::new("urgent", Urgency::Urgent, 3)));
    town.play(&Event::Ask(Ask::new("small", Urgency::Routine, 1)));
    assert!(!town.book.holds(&claimant("small", 1)), "two are free, and kept for what needs three");
    assert_eq!(town.book.standing(&claimant("small", 1), town.now).unwrap().waits, Waits::Behind);
}

#[test]
fn reserved_slots_are_for_their_urgency_and_those_above_only() {
    let mut pool = town::pool("p", 4);
    pool.reserved = [(Urgency::Urgent, town::units(2))].into();
    let mut town = Town::new(vec![pool]);
    for i in 0..4 {
        town.play(&Event::Ask(Ask::new(&format!("r{i}"), Urgency::Routine, 1)));
    }
    assert_eq!(town.granted().len(), 2);
    let standing = town.book.standing(&claimant("r3", 1), town.now).unwrap();
    assert_eq!((standing.waits, standing.ahead), (Waits::Short(Shortage::Reserved), 1));
    town.play(&Event::Ask(Ask::new("u", Urgency::Urgent, 2)));
    assert!(town.book.holds(&claimant("u", 1)));
}

#[test]
fn a_share_lends_no_more_than_it_wants_to_and_what_it_lends_comes_back() {
    let mut lender = town::share("lender", 4, 1);
    lender.lend_limit = Some(town::units(3));
    let mut town = Town::new(vec![town::pool_of("p", 4, vec![lender, town::share("borrower", 0, 1)])]);
    let ask = |share: &str, name: &str| Ask { share: share.to_owned(), ..Ask::new(name, Urgency::Routine, 1) };
    for i in 0..4 {
        town.play(&Event::Ask(ask("borrower", &format!("b{i}"))));
    }
    assert_eq!(town.granted().len(), 3);
    let why = town.book.standing(&claimant("b3", 1), town.now).unwrap().waits;
    assert_eq!(why, Waits::Short(Shortage::NotLent));
    for i in 0..4 {
        town.play(&Event::Ask(ask("lender", &format!("l{i}"))));
    }
    assert!(town.book.holds(&claimant("l0", 1)));
    // as the borrower's work ends, the lender's comes first
    for i in 0..3 {
        town.play(&Event::Finish(format!("b{i}")));
        assert!(town.book.holds(&claimant(&format!("l{}", i + 1), 1)), "after {i}");
    }
    assert!(!town.book.holds(&claimant("b3", 1)));
}

#[test]
fn an_old_pool_tree_becomes_a_new_one_without_losing_what_is_held_and_asked() {
    let mut town = Town::new(vec![town::pool("p", 2)]);
    for i in 0..4 {
        town.play(&Event::Ask(Ask::new(&format!("r{i}"), Urgency::Routine, 1)));
    }
    let book = std::mem::take(&mut town.book);
    town.book = book.with_pools([], town.now);
    assert_eq!(town.pass(), []);
    assert_eq!(town.book.standing(&claimant("r3", 1), town.now).unwrap().waits, Waits::NoPool);
    let book = std::mem::take(&mut town.book);
    town.book = book.with_pools([town::pool("p", 3)], town.now);
    town.pass();
    let held = |town: &Town| (0..4).filter(|i| town.book.holds(&claimant(&format!("r{i}"), 1))).count();
    assert_eq!(held(&town), 3);
    let _: &Book = &town.book;
}
