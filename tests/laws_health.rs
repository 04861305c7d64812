//! Laws of health: for all sequences of probe outcomes.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use jiff::Timestamp;
use medley::{
    api::medical_service::EndpointReason,
    core::monitoring::health::{Health, ProbeOutcome, Thresholds},
};
use proptest::prelude::*;

fn outcome() -> impl Strategy<Value = ProbeOutcome> {
    prop_oneof![
        3 => Just(ProbeOutcome::Answered),
        1 => Just(ProbeOutcome::Failed(EndpointReason::TcpRefused)),
        1 => Just(ProbeOutcome::Failed(EndpointReason::TcpTimeout)),
        1 => Just(ProbeOutcome::Failed(EndpointReason::HttpStatus)),
    ]
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    (1_u8..6, 1_u8..6).prop_map(|(failures, successes)| Thresholds { failures, successes })
}

fn at(i: usize) -> Timestamp {
    Timestamp::from_second(i64::try_from(i).unwrap()).unwrap()
}

fn answered(outcome: ProbeOutcome) -> bool {
    outcome == ProbeOutcome::Answered
}

/// The last `n` outcomes up to and with `i`, if there are so many.
fn last(outcomes: &[ProbeOutcome], i: usize, n: u8) -> Option<&[ProbeOutcome]> {
    (i + 1).checked_sub(usize::from(n)).map(|from| &outcomes[from..=i])
}

proptest! {
    #[test]
    fn it_does_not_flap_faster_than_its_hysteresis(
        outcomes in prop::collection::vec(outcome(), 1..200),
        limits in thresholds(),
        trusted in any::<bool>(),
    ) {
        let mut health = if trusted { Health::trusted(at(0)) } else { Health::unknown(at(0)) };
        for (i, &outcome) in outcomes.iter().enumerate() {
            let before = health;
            let changed = health.observe(outcome, at(i + 1), limits);
            prop_assert_eq!(
                changed,
                (before.state(), before.reason()) != (health.state(), health.reason()),
                "a change is told, and nothing else is"
            );
            if before.ready() && !health.ready() {
                let run = last(&outcomes, i, limits.failures);
                prop_assert!(run.is_some_and(|run| run.iter().all(|&o| !answered(o))), "taken out too soon at {}", i);
            }
            if !before.ready() && health.ready() {
                let run = last(&outcomes, i, limits.successes);
                prop_assert!(run.is_some_and(|run| run.iter().all(|&o| answered(o))), "put in too soon at {}", i);
            }
        }
    }

    #[test]
    fn enough_outcomes_in_a_row_always_decide(
        outcomes in prop::collection::vec(outcome(), 0..60),
        limits in thresholds(),
        end in outcome(),
    ) {
        let mut health = Health::unknown(at(0));
        for (i, &outcome) in outcomes.iter().enumerate() {
            health.observe(outcome, at(i), limits);
        }
        let needed = if answered(end) { limits.successes } else { limits.failures };
        for i in 0..usize::from(needed) {
            health.observe(end, at(100 + i), limits);
        }
        prop_assert_eq!(health.ready(), answered(end));
        if let ProbeOutcome::Failed(_) = end {
            // one more round names the layer that fails now, whatever failed before
            for i in 0..usize::from(needed) {
                health.observe(end, at(200 + i), limits);
            }
            prop_assert_eq!(ProbeOutcome::Failed(health.reason()), end);
        }
    }

    #[test]
    fn since_moves_exactly_with_readiness(
        outcomes in prop::collection::vec(outcome(), 1..200),
        limits in thresholds(),
    ) {
        let mut health = Health::unknown(at(0));
        for (i, &outcome) in outcomes.iter().enumerate() {
            let before = health;
            health.observe(outcome, at(i + 1), limits);
            let expected = if before.ready() == health.ready() { before.since() } else { at(i + 1) };
            prop_assert_eq!(health.since(), expected);
        }
    }
}
