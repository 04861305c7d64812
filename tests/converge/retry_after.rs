//! Is a service that is overloaded left alone for as long as it asks for (`Retry-After`), and no longer than is sensible?

use std::time::Duration;

use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    fan_out::{begun, items},
    stage::Stage,
    steps::call,
    undisturbed::{prepared, prepared_with},
    world::{Reply, answer},
};

/// A service that is overloaded, and asks for this.
fn overloaded(retry_after: &str) -> Reply {
    answer(503, json!({})).saying("retry-after", retry_after)
}

fn ask() -> Value {
    call("ask").retries(3).step()
}

/// How long a run took, from a service that is known.
async fn took(stage: &Stage) -> f64 {
    stage.start("op-1");
    sleep(Duration::from_secs(30)).await;
    let begun = Instant::now();
    stage.run("r1", "ct").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    begun.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_again_no_sooner_than_it_wants() {
    // seconds, more than the step's own wait of 10 s; less; and more than the longest wait
    for (says, wait) in [("120", 120.0), ("2", 10.0), ("86400", 300.0), ("soon", 10.0)] {
        let stage = prepared(vec![ask()]).await;
        stage.world.replies("/ask", [overloaded(says), answer(200, json!({}))]);
        let took = took(&stage).await;
        assert!((wait..wait + 2.0).contains(&took), "{says}: {took}");
        stage.assert_monotone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_is_understood_too() {
    let stage = prepared(vec![ask()]).await;
    let at = stage.server.now() + jiff::SignedDuration::from_secs(30 + 90);
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    stage.world.replies("/ask", [overloaded(&date), answer(200, json!({}))]);
    let took = took(&stage).await;
    assert!((88.0..93.0).contains(&took), "{date}: {took}");
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_waits_as_long() {
    let stage = prepared(vec![ask()]).await;
    stage.world.replies("/ask", [overloaded("120"), answer(200, json!({}))]);
    begun(&stage).await;
    let made = Instant::now();
    stage.until("it waits", Duration::from_secs(10), |s| s.step("r1", "ask")["phase"] == "Retrying").await;
    let message = stage.step("r1", "ask")["message"].clone();
    assert_eq!(message, "the service answered HTTP 503 and asks to wait for 120 s");
    sleep(Duration::from_secs(40)).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!((119..123).contains(&made.elapsed().as_secs()), "{:?}", made.elapsed());
    assert_eq!(stage.world.asked("/ask"), 2);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn an_item_waits_by_itself() {
    let each = call("each").path("/item/$( index )").retries(2).each(json!({"count": 6, "maxParallel": 2}));
    let stage = prepared(vec![each.step()]).await;
    stage.world.replies("/item/1", [overloaded("90"), answer(200, json!({}))]);
    begun(&stage).await;
    let made = Instant::now();
    stage.until("the others are done", Duration::from_secs(20), |s| items(s)["succeeded"] == json!(5)).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    // those that wait together may wait a quarter longer
    assert!((89..115).contains(&made.elapsed().as_secs()), "{:?}", made.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_runs_deadline_counts_all_the_same() {
    let stage = prepared_with(json!({"deadline": "1m", "steps": [ask()]})).await;
    stage.world.replies("/ask", [overloaded("250"), answer(200, json!({}))]);
    begun(&stage).await;
    let made = Instant::now();
    stage.until("it waits", Duration::from_secs(10), |s| s.step("r1", "ask")["phase"] == "Retrying").await;
    let (next, deadline) = (stage.step("r1", "ask")["wakeAt"].clone(), stage.stored("r1").status.unwrap().deadline);
    let next: jiff::Timestamp = next.as_str().unwrap().parse().unwrap();
    assert!(next <= deadline.unwrap().at, "no attempt is foretold that there cannot be: {next}");
    assert_eq!((stage.ended("r1").await, stage.reason("r1").as_str()), (RunPhase::Failed, "DeadlineExceeded"));
    assert!((58..63).contains(&made.elapsed().as_secs()), "{:?}", made.elapsed());
    assert_eq!(stage.world.asked("/ask"), 1);
}
