//! Which service is called by a step that names a query?

use std::{collections::BTreeMap, time::Duration};

use medley::api::workflow_run::{RunPhase, StepPhase};
use serde_json::{Value, json};

use super::{
    questions::{SOON, ask, behind, matches, triage},
    stage::{NAMESPACE, Stage},
    steps::Step,
    world::{answer, reset},
};

/// A GET to whoever the query `answer` finds, at a path that is the step's name.
fn call(name: &str) -> Step {
    Step::of(json!({"name": name, "call": {"query": "answer", "http": {"path": format!("/{name}")}}}))
}

/// How many requests each address got.
fn asked(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in stage.world.requests() {
        *counts.entry(request.to.ip().to_string()).or_default() += 1;
    }
    counts
}

/// Two services that match, and the query.
async fn two(stage: &Stage, more: Value) {
    triage(stage, "north", &[("10.0.0.1", "n1")], json!({"attributes": {"site": "north"}})).await;
    triage(stage, "south", &[("10.0.0.3", "s1")], json!({})).await;
    ask(stage, "answer", more).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_calls_a_service_of_the_answer_and_tells_which() {
    let stage = Stage::new();
    // e to the power of 1 to 1: 73 and 27 percent
    two(&stage, json!({"prefer": {"matching": [{"match": {"attributes": {"site": "north"}}, "weight": 1}]}})).await;
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    let mut seen = BTreeMap::new();
    for i in 0..40 {
        let run = format!("r{i}");
        stage.run(&run, "ct").await;
        assert_eq!(stage.ended(&run).await, RunPhase::Succeeded);
        let target = stage.step(&run, "read")["target"].clone();
        let (name, at) = (target["service"]["name"].as_str().unwrap(), target["endpoint"].as_str().unwrap());
        let expected = if name == "north" { ("10.0.0.1:8080", 73) } else { ("10.0.0.3:8080", 27) };
        assert_eq!((at, &target["service"]["probability"]), (expected.0, &json!(expected.1)));
        assert_eq!(target["probability"], 100, "the only endpoint of its service");
        *seen.entry(name.to_owned()).or_insert(0) += 1;
    }
    assert!((22..=36).contains(&seen["north"]) && seen["south"] >= 4, "{seen:?}");
    let asked = asked(&stage);
    assert_eq!((asked["10.0.0.1"], asked["10.0.0.3"]), (seen["north"], seen["south"]));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_an_answer() {
    let stage = Stage::new();
    stage.workflow("ct", [call("read").timeout("1h").step()]).await;
    stage.start("op-1");
    stage.run("r1", "ct").await;
    let message = |s: &Stage| s.step("r1", "read")["message"].as_str().unwrap_or_default().to_owned();
    stage.until("no query", SOON, |s| message(s).contains("there is no ServiceQuery `answer`")).await;
    ask(&stage, "answer", json!({})).await;
    stage.rest().await;
    assert_eq!(stage.history_of("r1").last().unwrap().steps["read"].phase, StepPhase::Waiting);
    triage(&stage, "north", &[("10.0.0.1", "n1")], json!({})).await;
    stage.until("it has called", SOON, |s| s.phase("r1") == Some(RunPhase::Succeeded)).await;
    assert_eq!(asked(&stage), BTreeMap::from([("10.0.0.1".to_owned(), 1)]));
}

#[tokio::test(start_paused = true)]
async fn whoever_must_not_be_asked_any_more_is_not_called() {
    let stage = Stage::new();
    let may = json!({"data": {"purposes": ["TREAT"]}});
    triage(&stage, "north", &[("10.0.0.1", "n1")], may.clone()).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], may).await;
    ask(&stage, "answer", json!({"purpose": "ETREAT"})).await;
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    let research = json!({"spec": {"data": {"purposes": ["HRESCH"]}}});
    stage.server.patch("MedicalService", NAMESPACE, "north", &research).unwrap();
    // no wait: the answer may still hold it
    for i in 0..12 {
        stage.run(&format!("r{i}"), "ct").await;
    }
    for i in 0..12 {
        assert_eq!(stage.ended(&format!("r{i}")).await, RunPhase::Succeeded);
    }
    assert_eq!(asked(&stage), BTreeMap::from([("10.0.0.3".to_owned(), 12)]));
    assert_eq!(behind(&stage, "answer"), ["10.0.0.3"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_left_for_another_and_a_repetition_by_a_new_leader_stays() {
    let stage = Stage::new();
    two(&stage, json!({})).await;
    stage.workflow("ct", [call("read").retries(8).step()]).await;
    stage.world.replies("/read", [reset(), reset(), reset(), reset(), answer(200, json!({}))]);
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    stage.run("r1", "ct").await;
    assert_eq!(stage.ended_within("r1", 3600).await, RunPhase::Succeeded);
    let asked = asked(&stage);
    assert_eq!((asked.len(), asked.values().sum::<usize>()), (2, 5), "each attempt chooses anew: {asked:?}");

    // the process dies while the request is under way
    stage.world.replies("/read", [answer(200, json!({})).after(Duration::from_secs(20))]);
    let before = stage.world.requests().len();
    stage.run("r2", "ct").await;
    stage.until("it is under way", SOON, |s| s.world.requests().len() > before).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    assert_eq!(stage.ended_within("r2", 3600).await, RunPhase::Succeeded);
    let requests = stage.world.requests().split_off(before);
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].to, &requests[0].key), (requests[1].to, &requests[1].key));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn items_go_to_all_services_of_the_answer_within_their_capacity() {
    for capacity in [Value::Null, json!({"concurrency": 4})] {
        let stage = Stage::new();
        for (name, host, zone) in [("north", "10.0.0.1", "n1"), ("south", "10.0.0.3", "s1")] {
            let more = if capacity.is_null() { json!({}) } else { json!({"capacity": capacity}) };
            triage(&stage, name, &[(host, zone)], more).await;
        }
        ask(&stage, "answer", json!({})).await;
        let each = json!({"count": 400, "maxParallel": 20});
        stage.workflow("ct", [call("read").each(each).timeout("1h").step()]).await;
        stage.start("op-1");
        stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
        stage.run("r1", "ct").await;
        assert_eq!(stage.ended_within("r1", 3600).await, RunPhase::Succeeded);
        assert_eq!(stage.step("r1", "read")["items"]["succeeded"], 400);
        let asked = asked(&stage);
        assert_eq!(asked.values().sum::<usize>(), 400, "each once: {asked:?}");
        assert!(asked.values().all(|n| *n >= 64), "{asked:?}");
        if !capacity.is_null() {
            let most = ["10.0.0.1", "10.0.0.3"].map(|a| stage.world.most_at_work("op-1", a));
            assert!(most.iter().all(|n| *n <= 4), "{most:?}");
        }
        let writes = stage.status_writes();
        assert!(writes <= 250, "{writes} writes for 400 items");
        stage.assert_monotone();
    }
}

/// How often the status of a query was written.
fn told(stage: &Stage) -> usize {
    let calls = stage.server.calls();
    calls.iter().filter(|r| r.call.is_write() && r.call.resource == "servicequeries" && r.changed).count()
}

/// A change of health concerns many queries: the slices of all of them are not to wait for what is told.
#[tokio::test(start_paused = true)]
async fn slices_come_first_and_changes_that_come_together_are_told_of_once() {
    let stage = Stage::new();
    two(&stage, json!({})).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    stage.rest().await;
    let before = told(&stage);
    let other = json!({"spec": {"capabilities": ["read"]}});
    for (service, left) in [("north", 1), ("south", 0)] {
        stage.server.patch("MedicalService", NAMESPACE, service, &other).unwrap();
        let within = Duration::from_millis(100);
        stage.until("its endpoints leave", within, |s| behind(s, "answer").len() == left).await;
        assert_eq!((told(&stage) - before, matches(&stage, "answer").len()), (0, 2), "{service}: the status follows");
    }
    stage.until("it is told", Duration::from_millis(500), |s| matches(s, "answer").is_empty()).await;
    stage.rest().await;
    assert_eq!(told(&stage) - before, 1);
}

/// A query whose endpoints change all the time is told of all the same.
#[tokio::test(start_paused = true)]
async fn a_status_waits_no_longer_than_a_second_for_slices_that_keep_changing() {
    let stage = Stage::new();
    two(&stage, json!({})).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| matches(s, "answer").len() == 2).await;
    stage.rest().await;
    for round in 0..30 {
        let what = if round % 2 == 0 { "read" } else { "triage" };
        let patch = json!({"spec": {"capabilities": [what]}});
        stage.server.patch("MedicalService", NAMESPACE, "south", &patch).unwrap();
        let left = if what == "read" { 1 } else { 2 };
        stage.until("the slices follow", Duration::from_millis(100), |s| behind(s, "answer").len() == left).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = told(&stage);
    assert!(told >= 3, "{told} writes in some three seconds of changes");
}
