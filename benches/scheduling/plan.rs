//! How good is what is foreseen? Snapshots of a steady load are played ahead with the mean duration of steps, and with the durations
//! that they then have.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::Urgency,
    core::{
        name::Key,
        scheduling::{Book, Claimant, Course, Demand, Foreseen, Holding, PoolDefinition, Ruling, ShareDefinition},
    },
};

use super::{
    figures::{Figures, quantile},
    units,
};

const SNAPSHOTS: u64 = 1000;
const SLOTS: i64 = 20;
const WAITING: u64 = 60;
const SHARES: u64 = 3;
/// Seconds that a step takes on average; at least half of that, and at most half as much again.
const MEAN: i64 = 60;

/// A number without pattern: Knuth, "The Art of Computer Programming", vol. 3, §6.4.
const fn hash(a: u64, b: u64) -> u64 {
    (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// How long a step really takes.
fn real(claimant: &Claimant) -> SignedDuration {
    let number: u64 = claimant.uid.parse().unwrap();
    let spread = i64::try_from(hash(number, 3) % 1000).unwrap();
    SignedDuration::from_millis(MEAN * 500 + MEAN * spread)
}

fn demand(snapshot: u64, i: u64, now: Timestamp) -> Demand {
    let random = |salt: u64| hash(snapshot * 1000 + i, salt);
    Demand {
        claimant: Arc::new(Claimant {
            run: Key::new("n", format!("run-{i:03}")),
            uid: (snapshot * 1000 + i).to_string(),
            step: "read".to_owned(),
            attempt: 1,
        }),
        pool: "pool".to_owned(),
        share: format!("s{}", random(1) % SHARES),
        urgency: Urgency::ALL[usize::try_from(random(2) % 5).unwrap()],
        since: now - SignedDuration::from_secs(i64::try_from(random(4) % 300).unwrap()),
        aging: None,
        unit: units(1),
        bounds: Vec::new(),
        count: 1,
        least: 1,
        preempts: random(5).is_multiple_of(4),
        interruptible: random(6).is_multiple_of(2),
        strict: false,
    }
}

/// Slots in the middle of their work, and demands that wait for them.
fn snapshot(number: u64, now: Timestamp) -> Book {
    let share = |i: u64| ShareDefinition { name: format!("s{i}"), weight: 1, ..ShareDefinition::default() };
    let mut book = Book::new([PoolDefinition {
        name: "pool".to_owned(),
        supply: units(SLOTS),
        shares: (0..SHARES).map(share).collect(),
        ..PoolDefinition::default()
    }]);
    for i in 0..SLOTS.unsigned_abs() {
        let demand = demand(number, i, now);
        // it has not ended, so it has worked for less than it takes
        let age = real(&demand.claimant).as_millis() * i128::from(hash(number * 1000 + i, 7) % 1000) / 1000;
        let since = now - SignedDuration::from_millis(i64::try_from(age).unwrap());
        book.hold(&Holding { demand, count: 1, since });
    }
    (SLOTS.unsigned_abs()..SLOTS.unsigned_abs() + WAITING).for_each(|i| book.ask(demand(number, i, now), now));
    book
}

/// When each was admitted first.
fn admitted(foreseen: &[Foreseen]) -> BTreeMap<String, Timestamp> {
    let mut first = BTreeMap::new();
    for Foreseen { at, ruling } in foreseen {
        if let Ruling::Granted { claimant, .. } = ruling {
            first.entry(claimant.run.name.clone()).or_insert(*at);
        }
    }
    first
}

pub(crate) fn against_what_then_happens(figures: &mut Figures) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mean = |_: &Claimant| SignedDuration::from_secs(MEAN);
    let course = |takes| Course {
        takes,
        grace: SignedDuration::from_secs(2),
        pause: SignedDuration::from_secs(5),
        until: now + SignedDuration::from_hours(2),
    };
    let (mut errors, mut times) = (Vec::new(), Vec::new());
    for number in 0..SNAPSHOTS {
        let book = snapshot(number, now);
        let began = Instant::now();
        let foreseen = book.foresee(now, &course(&mean));
        times.push(1000.0 * began.elapsed().as_secs_f64());
        let happens = book.foresee(now, &course(&real));
        let (foreseen, happens) = (admitted(&foreseen), admitted(&happens));
        for (name, at) in happens.iter().filter(|(_, at)| **at > now) {
            let waited = at.duration_since(now).as_secs_f64();
            if let Some(eta) = foreseen.get(name) {
                errors.push(100.0 * (eta.duration_since(*at).as_secs_f64() / waited).abs());
            }
        }
    }
    let name = |what: &str| format!("{what}, {SNAPSHOTS} snapshots of {SLOTS} slots and {WAITING} waiting");
    figures.at_most(&name("error of the foreseen admission, median"), quantile(&mut errors, 0.5), "%", 20.0);
    figures.add(&name("error of the foreseen admission, p90"), quantile(&mut errors, 0.9), "%");
    figures.add(&name("time to foresee all admissions, p99"), quantile(&mut times, 0.99), "ms");
}
