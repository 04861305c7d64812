//! Ten tenants of equal weight, one of which asks for a hundred times as much: what does each get in a minute?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::Urgency,
    core::{
        name::Key,
        scheduling::{Book, Claimant, Demand, PoolDefinition, Ruling, ShareDefinition},
    },
};

use super::{figures::Figures, units};

const TENANTS: usize = 10;
const SLOTS: usize = 100;
/// How long a piece of work takes at most; at least half of that.
const WORK: SignedDuration = SignedDuration::from_millis(600);
/// And on average.
const MEAN: f64 = 0.45;
const TICK: SignedDuration = SignedDuration::from_millis(10);

struct Town {
    book: Book,
    now: Timestamp,
    next: usize,
    ends: BTreeSet<(Timestamp, Arc<Claimant>)>,
    /// Units of work done, by tenant.
    done: BTreeMap<usize, usize>,
}

impl Town {
    fn ask(&mut self, tenant: usize) {
        self.next += 1;
        let claimant = Claimant {
            run: Key::new(format!("tenant-{tenant}"), format!("run-{:07}", self.next)),
            uid: self.next.to_string(),
            step: "read".to_owned(),
            attempt: 1,
        };
        let demand = Demand {
            claimant: Arc::new(claimant),
            pool: "pool".to_owned(),
            share: format!("tenant-{tenant}"),
            urgency: Urgency::Routine,
            since: self.now,
            aging: None,
            unit: units(1),
            bounds: Vec::new(),
            count: 1,
            least: 1,
            preempts: false,
            interruptible: false,
            strict: false,
        };
        self.book.ask(demand, self.now);
    }

    fn tick(&mut self) {
        while let Some((at, claimant)) = self.ends.first().cloned().filter(|(at, _)| *at <= self.now) {
            self.book.release(&claimant);
            let tenant = claimant.run.namespace.trim_start_matches("tenant-").parse().unwrap();
            *self.done.entry(tenant).or_default() += 1;
            self.ends.remove(&(at, claimant));
        }
        for ruling in self.book.pass(self.now) {
            if let Ruling::Granted { claimant, .. } = ruling {
                // spread without pattern: Knuth, "The Art of Computer Programming", vol. 3, §6.4
                let number: u64 = claimant.uid.parse().unwrap();
                let part = i64::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap() % 300;
                self.ends.insert((self.now + WORK - SignedDuration::from_millis(part), claimant));
            }
        }
        self.now += TICK;
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn of_ten_tenants(figures: &mut Figures) {
    let share = |t: usize| ShareDefinition { name: format!("tenant-{t}"), weight: 1, ..ShareDefinition::default() };
    let pool = PoolDefinition {
        name: "pool".to_owned(),
        supply: units(i64::try_from(SLOTS).unwrap()),
        shares: (0..TENANTS).map(share).collect(),
        ..PoolDefinition::default()
    };
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut town = Town { book: Book::new([pool]), now, next: 0, ends: BTreeSet::new(), done: BTreeMap::new() };
    // the first asks for a hundred times as much as each other, and each of these for a little more than its part
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let fair = ((SLOTS / TENANTS) as f64 * 60.0 / MEAN) as usize;
    for tenant in 0..TENANTS {
        let asks = if tenant == 0 { 100 * fair } else { fair + SLOTS };
        (0..asks).for_each(|_| town.ask(tenant));
    }
    let ticks = |seconds: i64| seconds * 1000 / i64::try_from(TICK.as_millis()).unwrap();
    (0..ticks(60)).for_each(|_| town.tick());
    let done = |t: usize| town.done.get(&t).copied().unwrap_or(0) as f64;
    let worst = (0..TENANTS).map(|t| 100.0 * (done(t) - fair as f64).abs() / fair as f64).fold(0.0, f64::max);
    figures.at_most("10 tenants, demand 100:1, 60 simulated s: worst distance from the equal share", worst, "%", 5.0);

    // alone, the first takes all; when another comes, that one has its part within one service time
    let mut town = Town { book: Book::new(town_pool()), now, next: 0, ends: BTreeSet::new(), done: BTreeMap::new() };
    (0..100 * SLOTS).for_each(|_| town.ask(0));
    (0..ticks(5)).for_each(|_| town.tick());
    let alone = town.ends.len();
    figures.at_least("slots that one tenant has while nobody else asks, of 100", alone as f64, "slots", SLOTS as f64);
    let came = town.now;
    (0..10 * SLOTS).for_each(|_| town.ask(1));
    let has_part = |town: &Town| town.ends.iter().filter(|(_, c)| c.run.namespace == "tenant-1").count() >= SLOTS / 2;
    while !has_part(&town) {
        town.tick();
        assert!(town.now.duration_since(came) < SignedDuration::from_secs(60), "it never comes back");
    }
    let took = town.now.duration_since(came).as_secs_f64() / WORK.as_secs_f64();
    figures.at_most("until a lent share is back, in times of the longest work", took, "times", 1.05);
}

fn town_pool() -> [PoolDefinition; 1] {
    let share = |t: usize| ShareDefinition { name: format!("tenant-{t}"), weight: 1, ..ShareDefinition::default() };
    [PoolDefinition {
        name: "pool".to_owned(),
        supply: units(i64::try_from(SLOTS).unwrap()),
        shares: (0..2).map(share).collect(),
        ..PoolDefinition::default()
    }]
}
