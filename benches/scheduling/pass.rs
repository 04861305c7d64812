//! How long a pass takes: from cold, and after one change; as demands grow.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::Urgency,
    core::{
        name::Key,
        scheduling::{Book, Claimant, Demand, PoolDefinition, Ruling, ShareDefinition},
    },
};

use super::{
    figures::{Figures, quantile},
    units,
};

const QUEUES: usize = 1000;
/// Shares of one pool.
const PER_POOL: usize = 100;

/// Ten pools of a hundred shares each, each share with two slots of its own.
fn pools() -> Vec<PoolDefinition> {
    let share = |i: usize| ShareDefinition {
        name: format!("s{i}"),
        nominal: units(2),
        weight: 1 + u32::try_from(i % 3).unwrap(),
        ..ShareDefinition::default()
    };
    let pool = |p: usize| PoolDefinition {
        name: format!("pool-{p}"),
        supply: units(2 * i64::try_from(PER_POOL).unwrap()),
        shares: (0..PER_POOL).map(share).collect(),
        ..PoolDefinition::default()
    };
    (0..QUEUES / PER_POOL).map(pool).collect()
}

/// Demand number `i`: of every urgency, of three sizes, spread over all queues.
fn demand(i: usize, start: Timestamp) -> Demand {
    let queue = i % QUEUES;
    // spread without pattern: Knuth, "The Art of Computer Programming", vol. 3, §6.4
    let hash = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Demand {
        claimant: Arc::new(Claimant {
            run: Key::new("radiology", format!("run-{i:07}")),
            uid: format!("00000000-0000-4000-8000-{i:012}"),
            step: "read".to_owned(),
            attempt: 1,
        }),
        pool: format!("pool-{}", queue / PER_POOL),
        share: format!("s{}", queue % PER_POOL),
        urgency: Urgency::ALL[usize::try_from(hash % 4).unwrap()],
        since: start + SignedDuration::from_millis(i64::try_from(i).unwrap()),
        aging: Some(SignedDuration::from_hours(1)),
        unit: units([1, 2, 5][usize::try_from(hash % 3).unwrap()]),
        bounds: Vec::new(),
        count: 1,
        least: 1,
        preempts: true,
        interruptible: false,
        strict: false,
    }
}

fn granted(rulings: &[Ruling]) -> Vec<Arc<Claimant>> {
    let granted = rulings.iter().filter_map(|r| match r {
        Ruling::Granted { claimant, .. } => Some(Arc::clone(claimant)),
        Ruling::Preempted { .. } => None,
    });
    granted.collect()
}

fn millis(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "counts of demands")]
pub(crate) fn over_many_demands(figures: &mut Figures) {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let mut cold_of = Vec::new();
    for count in [5_000, 50_000, 500_000] {
        println!("  {count} demands in {QUEUES} queues");
        let demands: Vec<Demand> = (0..count).map(|i| demand(i, start)).collect();
        let now = start + SignedDuration::from_secs(600);
        let began = Instant::now();
        let mut book = Book::new(pools());
        for demand in demands {
            book.ask(demand, now);
        }
        let first = book.pass(now);
        let cold = began.elapsed();
        cold_of.push(millis(cold));
        let name = |what: &str| format!("{what}, {QUEUES} queues, {count} demands waiting");
        if count == 50_000 {
            figures.at_most(&name("pass from cold"), millis(cold), "ms", 300.0);
            figures.at_least(&name("demands judged a second"), count as f64 / cold.as_secs_f64(), "1/s", 200_000.0);
        } else {
            figures.add(&name("pass from cold"), millis(cold), "ms");
        }
        let mut held = granted(&first);
        assert!(!held.is_empty());
        let mut times = Vec::new();
        for i in 0..200 {
            // one step ends, and another asks
            let ended = held.swap_remove(i * 7919 % held.len());
            let now = now + SignedDuration::from_millis(i64::try_from(i).unwrap());
            let began = Instant::now();
            book.release(&ended);
            book.ask(demand(count + i, start), now);
            let rulings = book.pass(now);
            times.push(millis(began.elapsed()));
            held.extend(granted(&rulings));
        }
        if count == 50_000 {
            figures.at_most(&name("pass after one change, p99"), quantile(&mut times, 0.99), "ms", 20.0);
        } else {
            figures.add(&name("pass after one change, p99"), quantile(&mut times, 0.99), "ms");
        }
    }
    figures.at_most(
        "pass from cold, ten times the demands (500,000 to 50,000)",
        cold_of[2] / cold_of[1],
        "times",
        15.0,
    );
}
