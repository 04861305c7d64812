//! A seed becomes a plan. Scenarios are made so that it is known how they end, whatever goes wrong: what depends on time has
//! time enough, and what hangs hangs for longer than any trouble lasts.

use medley::api::vocabulary::ErrorClass;

use super::{
    plan::Plan,
    scenario::{Act, Each, Fare, Order, Retry, Scenario, Step, Undo},
    troubles::Trouble,
};

/// Plans in a row that share a scenario, so that its undisturbed outcome is needed once.
pub(crate) const SHARED: u64 = 8;

/// The plan of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    let scenario = scenario(seed / SHARED);
    let mut dice = Dice::new(seed ^ 0x7ab1_e5ee);
    let count = dice.pick(&[1, 1, 1, 1, 2, 2, 3]);
    let mut troubles: Vec<Trouble> = (0..count).map(|_| trouble(&mut dice)).collect();
    // two of these only shorten each other
    let mut standby = false;
    troubles.retain(|t| !t.has_standby() || !std::mem::replace(&mut standby, true));
    Plan { scenario, troubles }
}

/// The scenario of a seed.
pub(crate) fn scenario(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed);
    let mut scenario =
        Scenario { runs: dice.pick(&[1, 1, 1, 1, 2, 2, 3]), person: dice.one_in(2), ..Scenario::default() };
    let count = dice.pick(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8]);
    let chain = dice.one_in(3);
    scenario.steps = steps(&mut dice, "s", count, chain, true);
    if scenario.steps.iter().any(|s| s.act == Act::Child) {
        let count = dice.pick(&[1, 1, 2, 3]);
        scenario.part = steps(&mut dice, "p", count, true, false);
    }
    if dice.one_in(5) {
        let count = dice.pick(&[1, 1, 2]);
        scenario.finally = steps(&mut dice, "f", count, true, false);
        for step in &mut scenario.finally {
            step.undo = None;
            // one whose outcome is unknown ends the run, before anybody can be asked
            step.once = false;
        }
    }
    scenario.workspace = dice.one_in(8);
    if dice.one_in(25) {
        scenario.deadline = dice.pick(&[20, 60, 300]);
    }
    if dice.one_in(12) {
        let (run, at) = (1, dice.below(40) as u16);
        let hold = dice.one_in(2);
        let secs = 1 + dice.below(60) as u16;
        scenario.orders.push(if hold { Order::Suspend { run, at, secs } } else { Order::Cancel { run, at } });
    }
    // how long a step waits for its slot must decide nothing else
    if dice.one_in(5) && scenario.deadline == 0 && scenario.orders.is_empty() {
        scenario.slots = dice.pick(&[1, 1, 2, 3]);
    }
    // the same for its turn to call
    if dice.one_in(4) && scenario.deadline == 0 && scenario.orders.is_empty() {
        scenario.places = dice.pick(&[1, 1, 2, 4]);
    }
    // and for its place among those at work; a run of which nobody tells what became of it would keep its own for ever
    let ends = scenario.person || !scenario.steps.iter().chain(&scenario.part).any(|s| s.once);
    if dice.one_in(6) && scenario.deadline == 0 && scenario.orders.is_empty() && ends {
        scenario.limit = dice.pick(&[1, 1, 2, 3]);
    }
    scenario
}

fn steps(dice: &mut Dice, prefix: &str, count: u64, chain: bool, main: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for i in 0..count {
        let mut step = Step { name: format!("{prefix}{i}"), ..Step::default() };
        step.act = match dice.below(if main { 100 } else { 84 }) {
            0..40 => Act::Call,
            40..66 => Act::Container,
            66..78 => Act::Transform,
            78..84 => Act::Wait(dice.pick(&[1, 5, 40])),
            _ => Act::Child,
        };
        if chain && i > 0 {
            step.after.push(format!("{prefix}{}", i - 1));
        } else if !chain {
            step.after.extend((0..i).filter(|_| dice.one_in(2)).map(|j| format!("{prefix}{j}")));
        }
        step.when = match dice.below(12) {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        };
        let has_each = steps.iter().filter(|s| s.each.is_some()).count() >= 2;
        if !has_each && dice.one_in(6) && matches!(step.act, Act::Call | Act::Container | Act::Transform) {
            let count = dice.pick(&[1, 3, 5, 12]);
            let bad = (0..count).filter(|_| dice.one_in(4)).collect::<Vec<u16>>();
            let tolerate = if dice.one_in(3) { 0 } else { bad.len() as u16 };
            step.each = Some(Each { count, parallel: dice.pick(&[1, 2, 5]), tolerate, bad });
        }
        fill_in(dice, &mut step);
        if main && dice.one_in(4) && matches!(step.act, Act::Call | Act::Container) {
            let fares = match dice.below(6) {
                0 => vec![Fare::Status(503), Fare::Well(50)],
                1 => vec![Fare::Status(400)],
                _ => Vec::new(),
            };
            step.undo = Some(Undo { container: dice.one_in(3), fares });
        }
        steps.push(step);
    }
    steps
}

/// How a step fares, and what follows a failure.
fn fill_in(dice: &mut Dice, step: &mut Step) {
    let items_of_pods = step.each.is_some() && step.act == Act::Container;
    if matches!(step.act, Act::Call | Act::Container) {
        step.once = dice.one_in(5) && !items_of_pods;
    }
    if step.act == Act::Container {
        step.interruptible = dice.one_in(8) && !step.once;
    }
    let fare = match step.act {
        Act::Call => call_fare(dice),
        Act::Container => pod_fare(dice, items_of_pods),
        _ => return,
    };
    step.fares.push(fare);
    if fare == Fare::Hang || fare == Fare::Unplaced {
        step.timeout = Some(dice.pick(&[240, 300]));
    }
    if dice.one_in(2) && !matches!(fare, Fare::Well(_)) {
        let limit = dice.pick(&[1, 2, 3]);
        step.retry = Some(Retry { limit, errors: Vec::new() });
        if !items_of_pods && dice.one_in(2) {
            // also what is not tried again by itself
            let extra = if step.act == Act::Call { ErrorClass::Rejected } else { ErrorClass::ContainerFailed };
            let errors =
                vec![ErrorClass::Connection, ErrorClass::Timeout, ErrorClass::PodLost, ErrorClass::ServerError, extra];
            step.retry = Some(Retry { limit, errors });
        }
        if !dice.one_in(4) && !step.once {
            step.fares.push(Fare::Well(50));
        }
    }
    if step.interruptible {
        // a pod that is taken away each time is made again for ever
        step.fares.push(Fare::Well(50));
    }
}

fn call_fare(dice: &mut Dice) -> Fare {
    match dice.below(20) {
        0..10 => Fare::Well(dice.pick(&[10, 50, 50, 400, 3000, 9000])),
        10 | 11 => Fare::Status(503),
        12 | 13 => Fare::Status(500),
        14 => Fare::Status(422),
        15 | 16 => Fare::Reset,
        17 | 18 => Fare::Refused,
        _ => Fare::Hang,
    }
}

fn pod_fare(dice: &mut Dice, of_job: bool) -> Fare {
    match dice.below(if of_job { 14 } else { 20 }) {
        0..11 => Fare::Well(dice.pick(&[100, 300, 300, 1500, 4000, 12_000])),
        11..14 => Fare::Exit(1),
        14 | 15 => Fare::Evicted(dice.pick(&[100, 3000])),
        16 | 17 => Fare::Vanish(dice.pick(&[10, 50, 300, 1500, 5000])),
        18 => Fare::Stuck,
        _ => dice.pick(&[Fare::Hang, Fare::Unplaced]),
    }
}

fn trouble(dice: &mut Dice) -> Trouble {
    let early = |dice: &mut Dice| 1 + dice.below(24) as u16;
    match dice.below(30) {
        0..8 => Trouble::Crash {
            write: early(dice),
            after: dice.one_in(2),
            back: dice.pick(&[0, 0, 1, 5, 20, 45]),
            past: if dice.one_in(3) { 1 + dice.below(12) as u16 } else { 0 },
        },
        8..10 => Trouble::Lost { write: early(dice) },
        10 => Trouble::Late { write: early(dice), secs: dice.pick(&[3, 5, 10, 25]) },
        11 => Trouble::Slow { every: dice.pick(&[1, 2, 3]), times: 4, secs: dice.pick(&[1, 6]) },
        12..14 => Trouble::Conflict { every: 2, times: dice.pick(&[3, 20]) },
        14..16 => Trouble::Burst {
            from: 1 + dice.below(80) as u16,
            calls: dice.pick(&[1, 5, 30, 100]),
            code: dice.pick(&[429, 500, 503]),
        },
        16 => Trouble::Break { every: dice.pick(&[2, 3, 4, 7]), times: dice.pick(&[3, 10, 20]) },
        17..19 => Trouble::Cut { at: dice.below(30) as u8, reset: dice.one_in(2), forget: dice.one_in(2) },
        19..23 => Trouble::Delay {
            percent: dice.pick(&[10, 50, 100]),
            least: dice.pick(&[0, 1, 5]),
            most: dice.pick(&[2, 10, 30]),
            until: dice.pick(&[10, 60, 120]),
        },
        23..25 => Trouble::Drop { percent: dice.pick(&[5, 30, 100]), until: dice.pick(&[2, 10, 40]) },
        25 => Trouble::Cutoff { at: dice.below(12) as u8, secs: dice.pick(&[5, 12, 30]) },
        26 | 27 => Trouble::Overlap { at: dice.below(12) as u8, secs: dice.pick(&[5, 12, 30]) },
        _ => Trouble::Skew { operator: dice.pick(&[1, 2, 2]), secs: dice.pick(&[-60, -20, -2, 2, 20, 60]) },
    }
}

/// Chance that repeats: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}
