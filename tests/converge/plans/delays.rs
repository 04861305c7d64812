//! Thousands of steps, and every watch event 5 to 30 s late: is any executed twice?

use std::{collections::BTreeSet, time::Duration};

use super::{
    USUAL, asked, oracle,
    plan::Plan,
    runner,
    scenario::{Act, Fare, Scenario, Step},
    story,
    troubles::Trouble,
};

/// Ten layers of five steps: three calls, a container and a transform, each after two of the layer above.
fn layers() -> Vec<Step> {
    let name = |layer: usize, place: usize| format!("s{layer}{place}");
    let mut steps = Vec::new();
    for layer in 0..10 {
        for place in 0..5 {
            let act = match place {
                0..3 => Act::Call,
                3 => Act::Container,
                _ => Act::Transform,
            };
            let after =
                if layer == 0 { Vec::new() } else { vec![name(layer - 1, place), name(layer - 1, (place + 1) % 5)] };
            let fares = if act == Act::Container { vec![Fare::Well(1200)] } else { Vec::new() };
            steps.push(Step { name: name(layer, place), act, after, fares, ..Step::default() });
        }
    }
    steps
}

#[test]
fn with_watch_events_5_to_30_s_late_no_step_is_executed_twice() {
    // 10,000 steps where time is given
    let runs: u8 = if asked("MEDLEY_PLANS", USUAL) >= 10_000 { 200 } else { 6 };
    let steps = layers();
    let (calls, pods) = (30 * usize::from(runs), 10 * usize::from(runs));
    let plan = Plan {
        scenario: Scenario { steps, runs, ..Scenario::default() },
        troubles: vec![Trouble::Delay { percent: 100, least: 5, most: 30, until: 3600 }],
    };
    let outcome = runner::play(&plan, Duration::from_secs(60));
    let wrong = oracle::judge(&plan, &outcome);
    assert!(wrong.is_empty(), "{}", story::tell(&plan, &outcome, &wrong));
    let keys: BTreeSet<&str> = outcome.effects.iter().map(|e| e.key.as_str()).collect();
    assert_eq!((outcome.effects.len(), keys.len()), (calls, calls), "requests, and keys among them");
    let made =
        outcome.calls.iter().filter(|r| r.call.verb == "create" && r.call.resource == "pods" && r.changed).count();
    assert_eq!(made, pods, "pods");
    assert!(outcome.struck.len() > 10 * usize::from(runs), "the events were late: {}", outcome.struck.len());
}
