//! Do thousands of random scenarios end as they should, whatever goes wrong on the way? A plan is a scenario and its troubles;
//! it follows from a seed, fits one line of JSON, and is judged beside the same scenario undisturbed.

mod delays;
mod effects;
mod found;
mod generate;
mod oracle;
mod person;
mod plan;
mod quiet;
mod runner;
mod scenario;
mod shrink;
mod slots;
mod stories;
mod story;
mod troubles;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use plan::Plan;
use runner::Outcome;

/// Plans in a plain `cargo test`; `MEDLEY_PLANS` asks for more.
const USUAL: u64 = 200;
/// A seed that fails stops the search after so many.
const ENOUGH: usize = 3;

/// How long nothing may be written after the end: an hour for some, in which all watches are renewed many times.
fn calm(seed: u64) -> Duration {
    Duration::from_secs(if seed.is_multiple_of(256) { 3600 } else { 20 })
}

/// The outcome of the undisturbed scenario, and what is wrong with it.
fn undisturbed(plan: &Plan, calm: Duration) -> (Outcome, Vec<String>) {
    let outcome = runner::play(&plan.undisturbed(), calm);
    let wrong = oracle::judge(&plan.undisturbed(), &outcome);
    (outcome, wrong)
}

/// Plays a plan beside the undisturbed outcome; all that is wrong.
fn disturbed(plan: &Plan, expected: &Outcome, calm: Duration) -> (Outcome, Vec<String>) {
    let outcome = runner::play(plan, calm);
    let mut wrong = oracle::judge(plan, &outcome);
    wrong.extend(oracle::compare(plan, expected, &outcome));
    (outcome, wrong)
}

/// Plays a plan and its undisturbed scenario; the story of the first that fails.
fn check(plan: &Plan, calm: Duration) -> Result<(), String> {
    let (expected, wrong) = undisturbed(plan, calm);
    if !wrong.is_empty() {
        return Err(story::tell(&plan.undisturbed(), &expected, &wrong));
    }
    let (outcome, wrong) = disturbed(plan, &expected, calm);
    if wrong.is_empty() { Ok(()) } else { Err(story::tell(plan, &outcome, &wrong)) }
}

/// The story of a smaller plan that fails as well.
fn explain(seed: u64, plan: Plan, story: String) -> String {
    let calm = calm(seed);
    let small = shrink::shrink(plan, |smaller| check(smaller, calm).is_err());
    let story = check(&small, calm).err().unwrap_or(story);
    format!("seed {seed}:\n{story}")
}

/// Plays the plans of these seeds on all processors; the stories of those that fail.
fn play_seeds(from: u64, count: u64) -> Vec<String> {
    let began = Instant::now();
    let next = AtomicU64::new(from / generate::SHARED);
    let last = (from + count).div_ceil(generate::SHARED);
    let failed: Mutex<Vec<(u64, Plan, String)>> = Mutex::default();
    let work = || {
        while failed.lock().unwrap().len() < ENOUGH {
            let group = next.fetch_add(1, Ordering::Relaxed);
            if group >= last {
                return;
            }
            let first = group * generate::SHARED;
            let plan = generate::plan(first);
            let (expected, wrong) = undisturbed(&plan, calm(first));
            if !wrong.is_empty() {
                let story = story::tell(&plan.undisturbed(), &expected, &wrong);
                failed.lock().unwrap().push((first, plan.undisturbed(), story));
                continue;
            }
            for seed in (first..first + generate::SHARED).filter(|s| (from..from + count).contains(s)) {
                let plan = generate::plan(seed);
                let (outcome, wrong) = disturbed(&plan, &expected, calm(seed));
                if !wrong.is_empty() {
                    let story = story::tell(&plan, &outcome, &wrong);
                    failed.lock().unwrap().push((seed, plan, story));
                }
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("{count} plans from seed {from} in {:.1} s: {} failed", began.elapsed().as_secs_f64(), failed.len());
    failed.into_iter().take(ENOUGH).map(|(seed, plan, story)| explain(seed, plan, story)).collect()
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn whatever_goes_wrong_each_plan_ends_as_if_nothing_had() {
    let (from, count) = (asked("MEDLEY_PLANS_FROM", 0), asked("MEDLEY_PLANS", USUAL));
    let failed = play_seeds(from, count);
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// `MEDLEY_PLAN='{…}'`: that plan, a few times; otherwise one that was written down and read again.
#[test]
fn replay() {
    let given = std::env::var("MEDLEY_PLAN").ok();
    let line = given.unwrap_or_else(|| generate::plan(7).to_line());
    let plan = Plan::from_line(&line);
    for _ in 0..10 {
        if let Err(story) = check(&plan, calm(1)) {
            panic!("{story}");
        }
    }
}
