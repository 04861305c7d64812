//! For all workflows, histories and moments.

use jiff::SignedDuration;
use medley::core::coordination::forecast::{Cell, Model, Sample, history};
use proptest::prelude::*;

use crate::flows::{Dice, Memory, Run, Truth, after, definition, start};

/// A random workflow: for each step the steps above that it waits for, and whether it has a condition.
type Plan = Vec<(Vec<prop::sample::Index>, bool)>;

fn plans() -> impl Strategy<Value = Plan> {
    prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>()), 1..8)
}

fn flow(plan: &Plan) -> std::sync::Arc<medley::core::coordination::Definition> {
    let names: Vec<String> =
        plan.iter().enumerate().map(|(i, p)| format!("s{i}{}", if p.1 { "?" } else { "" })).collect();
    let steps: Vec<(&str, Vec<&str>)> = plan
        .iter()
        .enumerate()
        .map(|(i, (after, _))| {
            let mut places: Vec<usize> = if i == 0 { Vec::new() } else { after.iter().map(|a| a.index(i)).collect() };
            places.sort_unstable();
            places.dedup();
            (names[i].as_str(), places.into_iter().map(|p| names[p].as_str()).collect())
        })
        .collect();
    let steps: Vec<(&str, &[&str])> = steps.iter().map(|(n, a)| (*n, a.as_slice())).collect();
    definition(&steps)
}

fn run(plan: &Plan, dice: &mut Dice) -> Run {
    let truth = plan
        .iter()
        .map(|(_, conditional)| {
            if *conditional && dice.even() < 0.4 {
                Truth::Skipped
            } else {
                let again = dice.even() < 0.2;
                let spread = 3.0 * dice.even();
                Truth::Takes(dice.around(30.0, spread), 1 + u32::from(again))
            }
        })
        .collect();
    Run::new(&flow(plan), truth)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_prediction_is_in_order_and_never_before_now(
        plan in plans(), seed in any::<u64>(), runs in 7_usize..40, share in 0.0..3.0_f64, time in 1.0..1e5_f64,
    ) {
        let mut dice = Dice::new(seed);
        let mut memory = Memory::new(&flow(&plan));
        for _ in 0..runs {
            memory.learn(&run(&plan, &mut dice));
        }
        let this = run(&plan, &mut dice);
        let now = share * this.end();
        let Some(model) = memory.model() else { return Ok(()) };
        // a step that was always skipped may be at work now: then there is no prediction
        let Some(forecast) = this.predict(&model, "u1", now, time) else { return Ok(()) };
        prop_assert!(after(now) <= forecast.earliest);
        prop_assert!(forecast.earliest <= forecast.median && forecast.median <= forecast.latest);
        prop_assert!((0.0..=1.0).contains(&forecast.miss));
        prop_assert!(forecast.look_at.is_none_or(|at| at > after(now) && at <= after(time)));
        prop_assert_eq!(&Some(forecast.clone()), &this.predict(&model, "u1", now, time), "the same, asked again");
        let status = this.status(now);
        for &place in &forecast.critical {
            let step = status.steps.get(&flow(&plan).steps[place].name).map(|s| s.phase);
            prop_assert!(step.is_none_or(|p| !p.is_final()), "an ended step decides nothing any more");
        }
        let later = this.predict(&model, "u1", now, time * 2.0).unwrap();
        prop_assert!(later.miss <= forecast.miss, "more time, and missed more often");
        prop_assert_eq!(later.median, forecast.median);
        if now > time {
            prop_assert!(forecast.miss >= 1.0 || forecast.earliest <= after(now) + SignedDuration::from_secs(1));
        }
    }

    #[test]
    fn samples_count_once_and_the_summary_is_read_as_it_was_written(
        plan in plans(), seed in any::<u64>(), batches in prop::collection::vec(1_usize..90, 1..4),
    ) {
        let (definition, mut dice) = (flow(&plan), Dice::new(seed));
        let mut summary = history::begin("rev".to_owned(), &definition, None);
        let mut number = 0;
        for size in batches {
            let samples: Vec<(i64, Sample)> = (0..size)
                .map(|_| {
                    number += 1;
                    (number, run(&plan, &mut dice).sample())
                })
                .collect();
            let news = history::News { epoch: 3, samples: &samples };
            let folded = history::fold(summary.clone(), &definition, news);
            prop_assert_eq!(&history::fold(folded.clone(), &definition, news), &folded, "folded twice counts once");
            let (some, rest) = samples.split_at(size / 2);
            let half = history::fold(summary, &definition, history::News { epoch: 3, samples: some });
            let both = history::fold(half, &definition, history::News { epoch: 3, samples: rest });
            prop_assert_eq!(&both, &folded, "two batches are one");
            let text = serde_json::to_string(&folded).unwrap();
            prop_assert_eq!(&serde_json::from_str::<medley::api::flow::FlowSummary>(&text).unwrap(), &folded);
            summary = folded;
        }
        let most = history::kept(plan.len());
        prop_assert!(summary.steps.values().all(|s| s.record.len() <= 2 * most));
        prop_assert!(summary.runs <= 24.0, "{}", summary.runs);
    }
}

#[test]
fn too_little_history_gives_no_prediction() {
    let plan: Plan = vec![(Vec::new(), false), (Vec::new(), true)];
    let (mut dice, mut memory) = (Dice::new(1), Memory::new(&flow(&plan)));
    for _ in 0..6 {
        memory.learn(&run(&plan, &mut dice));
        assert!(memory.model().is_none(), "{}", memory.summary.runs);
    }
    memory.learn(&run(&plan, &mut dice));
    assert!(memory.model().is_some());
}

#[test]
fn a_new_revision_keeps_what_stayed_as_it_was() {
    let old = definition(&[("read", &[]), ("measure", &["read"])]);
    let new = definition(&[("read", &[]), ("check", &["read"]), ("measure?", &["check"])]);
    let (mut dice, mut memory) = (Dice::new(1), Memory::new(&old));
    for _ in 0..40 {
        let truth = vec![Truth::Takes(dice.around(10.0, 0.1), 1), Truth::Takes(dice.around(90.0, 0.1), 1)];
        memory.learn(&Run::new(&old, truth));
    }
    let begun = history::begin("new".to_owned(), &new, Some((&memory.summary, &old)));
    assert_eq!(begun.steps["read"].median, memory.summary.steps["read"].median);
    assert!((begun.runs - memory.summary.runs / 2.0).abs() < 1.5, "{} of {}", begun.runs, memory.summary.runs);
    assert!(begun.steps["check"].record.is_empty(), "a new step");
    assert!(begun.steps["measure"].record.is_empty(), "it has a condition now");
    assert!(Model::new(&begun, &new).is_none(), "nobody knows how long the new step takes");
    assert_eq!(history::begin("new".to_owned(), &new, None).runs, 0.0);
}

#[test]
fn five_hundred_steps_stay_below_a_hundred_kibibytes() {
    for (letters, most) in [(63, 95 * 1024), (20, 72 * 1024)] {
        let names: Vec<String> = (0..500).map(|i| format!("{}{i:03}?", "s".repeat(letters - 3))).collect();
        let steps: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), [].as_slice())).collect();
        let definition = definition(&steps);
        let took = |i: usize| std::time::Duration::from_secs(5000 + i as u64);
        // the longest there is: each step is now skipped, now fails, now needs a retry
        let samples: Vec<(i64, Sample)> = (0..100_usize)
            .map(|run| {
                let cell = |i: usize| match (run + i) % 4 {
                    0 => Cell::Skipped,
                    1 => Cell::Failed,
                    _ => Cell::ran(took(i), 3),
                };
                (run as i64 + 1, Sample { revision: "rev".to_owned(), cells: (0..500).map(cell).collect() })
            })
            .collect();
        let empty = history::begin("rev".to_owned(), &definition, None);
        let summary = history::fold(empty, &definition, history::News { epoch: 1, samples: &samples });
        let size = serde_json::to_string(&summary).unwrap().len();
        println!("500 steps with names of {letters}: {size} bytes");
        assert!(size < most, "{size}");
    }
}

#[test]
fn a_step_that_takes_too_long_calls_for_a_look_before_the_deadline() {
    let flow = definition(&[("read", &[]), ("tell", &["read"])]);
    let (mut dice, mut memory) = (Dice::new(3), Memory::new(&flow));
    let mut truth = || vec![Truth::Takes(dice.around(60.0, 0.1), 1), Truth::Takes(dice.around(30.0, 0.1), 1)];
    for _ in 0..30 {
        memory.learn(&Run::new(&flow, truth()));
    }
    let model = memory.model().unwrap();
    let slow = Run::new(&flow, vec![Truth::Takes(1e6, 1), Truth::Takes(30.0, 1)]);
    let deadline = 150.0;
    let mut now = 0.0;
    let mut looks = 0;
    loop {
        let forecast = slow.predict(&model, "u1", now, deadline).unwrap();
        if forecast.miss >= 0.3 {
            break;
        }
        let at = forecast.look_at.expect("it would not be noticed before the deadline");
        now = at.duration_since(start()).as_secs_f64();
        looks += 1;
        assert!(looks < 10, "{looks} looks");
    }
    assert!(now > 60.0 && now < 125.0, "noticed at {now} s, after {looks} looks");
}
