//! Does a run of many steps stay small while it is under way, and is all of it there in the end?

use std::time::Duration;

use medley::{api::workflow_run::RunPhase, core::coordination::ended::KEPT};

use serde_json::Value;

use super::{stage::Stage, steps::call, undisturbed::prepared};

const STEPS: usize = KEPT + 40;

/// Calls, each after the one before.
fn chain() -> Vec<Value> {
    (0..STEPS)
        .map(|n| {
            let step = call(&format!("s{n}"));
            if n == 0 { step.step() } else { step.after(&[&format!("s{}", n - 1)]).step() }
        })
        .collect()
}

/// A run whose first steps are in the text, and whose leader has died.
async fn leaderless_once_folded() -> Stage {
    let stage = prepared(chain()).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let folded = |s: &Stage| s.stored("r1").status.is_some_and(|s| s.ended_steps.is_some());
    stage.until("the first steps are folded", Duration::from_secs(120), folded).await;
    stage.world.kill("op-1");
    stage
}

#[tokio::test(start_paused = true)]
async fn steps_that_have_ended_go_into_a_text_and_come_back_whoever_leads() {
    let stage = leaderless_once_folded().await;
    stage.start("op-2");
    let mut most = 0;
    while !stage.phase("r1").is_some_and(RunPhase::is_final) {
        most = most.max(stage.stored("r1").status.map_or(0, |s| s.steps.len()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(most <= KEPT + 1, "{most} steps stood among those at work");
    let status = stage.stored("r1").status.unwrap();
    assert_eq!((status.phase, status.steps.len()), (Some(RunPhase::Succeeded), STEPS));
    assert_eq!((status.ended_steps, status.step_summary), (None, Some(format!("{STEPS}/{STEPS}"))));
    for n in 0..STEPS {
        let asked = stage.world.asked(&format!("/s{n}"));
        assert!((1..=2).contains(&asked), "s{n} was asked {asked} times");
    }
    assert!(stage.world.requests().len() <= STEPS + 1, "only what was under way when the leader died is repeated");
}

#[tokio::test(start_paused = true)]
async fn a_text_that_somebody_has_spoilt_ends_the_run_and_repeats_nothing() {
    let stage = leaderless_once_folded().await;
    let before = stage.world.requests().len();
    let mut spoilt = stage.stored("r1");
    let text = &mut spoilt.status.as_mut().unwrap().ended_steps;
    *text = Some(format!("{}!", text.as_deref().unwrap()));
    let text = text.clone();
    stage.write_status(&spoilt).await.unwrap();
    stage.start("op-2");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.reason("r1"), "StatusUnreadable");
    assert_eq!(stage.world.requests().len(), before);
    assert_eq!(stage.stored("r1").status.unwrap().ended_steps, text, "it stays as evidence");
}
