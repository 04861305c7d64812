//! What is the answer to a query while services come, fail, change and go?

use std::time::Duration;

use harness::simulated::Record;
use medley::api::{MedicalService, ServiceQuery};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::{NAMESPACE, Stage};

/// A service outside the cluster that can triage, one HTTP interface: out after 2 failures, a second apart.
pub(crate) async fn triage(stage: &Stage, name: &str, hosts: &[(&str, &str)], more: Value) {
    let endpoints: Vec<Value> = hosts.iter().map(|(host, zone)| json!({"host": host, "zone": zone})).collect();
    let probe = json!({"level": "Transport", "interval": "1s", "timeout": "1s", "failureThreshold": 2});
    let mut spec = json!({
        "external": {"endpoints": endpoints}, "capabilities": ["triage"],
        "interfaces": [{"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    stage.create::<MedicalService>(name, spec).await;
}

pub(crate) async fn ask(stage: &Stage, name: &str, more: Value) {
    let mut spec = json!({"capability": "triage", "protocol": "HTTP", "port": 80});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    stage.create::<ServiceQuery>(name, spec).await;
}

/// Addresses that get the traffic of a Service.
pub(crate) fn behind(stage: &Stage, service: &str) -> Vec<String> {
    let of_service = |s: &Value| {
        s["metadata"]["namespace"] == NAMESPACE && s["metadata"]["labels"]["kubernetes.io/service-name"] == service
    };
    let slices = stage.server.objects("EndpointSlice").into_iter().filter(of_service);
    let mut found: Vec<String> = slices
        .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default())
        .flat_map(|e| e["addresses"].as_array().cloned().unwrap_or_default())
        .map(|a| a.as_str().unwrap().to_owned())
        .collect();
    found.sort();
    found
}

fn status(stage: &Stage, query: &str) -> Value {
    stage.server.object("ServiceQuery", NAMESPACE, query).unwrap()["status"].clone()
}

pub(crate) fn condition(stage: &Stage, query: &str, type_: &str) -> String {
    let status = status(stage, query);
    let found = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == type_);
    found.map(|c| format!("{} {}", c["status"].as_str().unwrap(), c["reason"].as_str().unwrap())).unwrap_or_default()
}

pub(crate) fn matches(stage: &Stage, query: &str) -> Vec<String> {
    let status = status(stage, query);
    let list = status["matches"].as_array().into_iter().flatten();
    list.map(|m| format!("{} {} {}", m["service"].as_str().unwrap(), m["endpoint"].as_str().unwrap(), m["probability"]))
        .collect()
}

fn excluded(stage: &Stage, query: &str) -> Vec<String> {
    let status = status(stage, query);
    let list = status["excluded"].as_array().into_iter().flatten();
    list.map(|e| format!("{} {}", e["service"].as_str().unwrap(), e["reason"].as_str().unwrap())).collect()
}

/// Writes for queries that took effect.
pub(crate) fn writes(stage: &Stage) -> usize {
    let of_query = |r: &&Record| {
        r.call.is_write() && r.changed && (r.call.resource == "servicequeries" || r.call.name.starts_with("answer"))
    };
    stage.server.calls().iter().filter(of_query).count()
}

pub(crate) const SOON: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn an_answer_follows_an_endpoint_that_fails_and_comes_back() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")], json!({})).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], json!({})).await;
    stage.service("archive", &["10.0.0.9"]).await;
    ask(&stage, "answer", json!({})).await;
    stage.start("op-1");
    stage.until("all are in", SOON, |s| behind(s, "answer") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    stage.rest().await;
    assert_eq!(
        matches(&stage, "answer"),
        ["north 10.0.0.1:8080 34", "north 10.0.0.2:8080 33", "south 10.0.0.3:8080 33"]
    );
    assert_eq!(excluded(&stage, "answer"), ["archive Capability"]);
    assert_eq!(condition(&stage, "answer", "Ready"), "True Programmed");
    assert_eq!(condition(&stage, "answer", "Empty"), "False Answered");
    assert_eq!(status(&stage, "answer")["dnsName"], "answer.radiology.svc.cluster.local");
    let service = stage.server.object("Service", NAMESPACE, "answer").unwrap();
    assert_eq!(service["spec"]["ports"][0]["name"], "http");
    assert!(service["spec"]["selector"].is_null());

    stage.world.set_well("10.0.0.3", false);
    stage.until("its service takes it out", SOON, |s| behind(s, "south").is_empty()).await;
    stage
        .until("so does the answer", Duration::from_millis(500), |s| behind(s, "answer") == ["10.0.0.1", "10.0.0.2"])
        .await;
    stage
        .until("it is told", SOON, |s| matches(s, "answer") == ["north 10.0.0.1:8080 50", "north 10.0.0.2:8080 50"])
        .await;
    assert_eq!(excluded(&stage, "answer"), ["south NoneReady", "archive Capability"]);
    stage.world.set_well("10.0.0.3", true);
    stage.until("it comes back", SOON, |s| behind(s, "answer") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_good_answer_is_kept_or_not_as_is_asked() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")], json!({})).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], json!({})).await;
    ask(&stage, "answer", json!({})).await;
    ask(&stage, "strict", json!({"whenNoneReady": "Empty"})).await;
    stage.start("op-1");
    stage.until("all are in", SOON, |s| behind(s, "answer").len() == 3 && behind(s, "strict").len() == 3).await;
    stage.rest().await;
    // one fails long before the others: it was not in the last good answer
    stage.world.set_well("10.0.0.2", false);
    stage.until("it leaves", SOON, |s| behind(s, "answer").len() == 2).await;
    stage.world.set_well("10.0.0.1", false);
    stage.until("the next one leaves", SOON, |s| behind(s, "answer") == ["10.0.0.3"]).await;
    stage.world.set_well("10.0.0.3", false);
    stage.until("panic", SOON, |s| condition(s, "answer", "Panic") == "True NoneReady").await;
    assert_eq!(behind(&stage, "answer"), ["10.0.0.3"], "what was in the last good answer");
    assert_eq!(condition(&stage, "answer", "Empty"), "False Panic");
    stage.until("the other is empty", SOON, |s| condition(s, "strict", "Empty") == "True NoneReady").await;
    assert!(behind(&stage, "strict").is_empty());
    assert_eq!(status(&stage, "strict")["matched"], 0);
    let told = stage.events().await;
    assert!(told.iter().any(|e| e.starts_with("Panic ")), "{told:?}");
    // what must not be asked any more leaves in a panic too
    let drop = json!({"spec": {"capabilities": ["read"]}});
    stage.server.patch("MedicalService", NAMESPACE, "south", &drop).unwrap();
    stage.until("nothing is left", SOON, |s| condition(s, "answer", "Empty") == "True NoneReady").await;
    assert!(behind(&stage, "answer").is_empty());
    stage.world.set_well("10.0.0.1", true);
    stage.until("a good answer", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    stage.until("no panic", SOON, |s| condition(s, "answer", "Panic") == "False Answered").await;
}

#[tokio::test(start_paused = true)]
async fn another_operator_that_sees_nothing_leaves_the_answer_alone() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")], json!({})).await;
    ask(&stage, "answer", json!({})).await;
    stage.start("op-1");
    stage.until("both are in", SOON, |s| behind(s, "answer").len() == 2).await;
    stage.world.set_well("10.0.0.2", false);
    stage.until("one is in", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    stage.rest().await;
    let before = (status(&stage, "answer"), writes(&stage));
    stage.world.kill("op-1");
    stage.world.blind("op-2");
    stage.start("op-2");
    for minute in 0..10 {
        stage.rest().await;
        assert_eq!(behind(&stage, "answer"), ["10.0.0.1"], "minute {minute}");
    }
    assert_eq!((status(&stage, "answer"), behind(&stage, "north")), (before.0, vec!["10.0.0.1".to_owned()]));
    let touched: Vec<_> = stage.calls_of("op-2").into_iter().filter(|r| r.call.is_write() && r.changed).collect();
    assert!(touched.iter().all(|r| r.call.resource == "leases"), "{touched:#?}");
    assert_eq!(writes(&stage), before.1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_left_alone_until_it_is_free() {
    let stage = Stage::new();
    // a MedicalService of this name was there first
    triage(&stage, "answer", &[("10.0.0.1", "n1")], json!({})).await;
    stage.start("op-1");
    stage.until("it is published", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], json!({})).await;
    ask(&stage, "answer", json!({})).await;
    stage.until("it says so", SOON, |s| condition(s, "answer", "Ready") == "False NameTaken").await;
    assert_eq!(condition(&stage, "answer", "Stalled"), "True NameTaken");
    stage.rest().await;
    assert_eq!(behind(&stage, "answer"), ["10.0.0.1"], "the Service has no endpoint of the query's");
    stage.server.delete("MedicalService", NAMESPACE, "answer", 0).unwrap();
    stage.until("it is the query's", Duration::from_secs(120), |s| behind(s, "answer") == ["10.0.0.3"]).await;
    stage.until("it is ready", SOON, |s| condition(s, "answer", "Ready") == "True Programmed").await;
}

#[tokio::test(start_paused = true)]
async fn the_best_tier_that_has_endpoints_answers() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")], json!({"attributes": {"site": "north"}})).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], json!({"attributes": {"site": "south"}})).await;
    ask(&stage, "answer", json!({"tiers": [{"zones": ["n1"]}, {"attributes": {"site": "north"}}]})).await;
    stage.start("op-1");
    stage.until("the zone", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    stage.until("it is told", SOON, |s| excluded(s, "answer") == ["south LaterTier"]).await;
    stage.world.set_well("10.0.0.1", false);
    stage.until("the site", SOON, |s| behind(s, "answer") == ["10.0.0.2"]).await;
    stage.world.set_well("10.0.0.2", false);
    stage.until("anybody", SOON, |s| behind(s, "answer") == ["10.0.0.3"]).await;
    stage.until("its tier", SOON, |s| status(s, "answer")["matches"][0]["tier"] == 3).await;
    stage.world.set_well("10.0.0.1", true);
    stage.until("the zone again", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_cannot_be_read_keeps_its_answer_and_says_what_is_wrong() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1")], json!({"attributes": {"site": "north"}})).await;
    triage(&stage, "south", &[("10.0.0.3", "s1")], json!({})).await;
    ask(&stage, "answer", json!({"where": "service.attributes.site == 'north'"})).await;
    stage.start("op-1");
    stage.until("one is in", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    stage.until("it is told", SOON, |s| excluded(s, "answer") == ["south WhereFailed"]).await;
    let set = |text: &str| {
        let patch = json!({"spec": {"where": text}});
        stage.server.patch("ServiceQuery", NAMESPACE, "answer", &patch).unwrap();
    };
    set("attributes.site == 'north'");
    stage.until("it is told", SOON, |s| condition(s, "answer", "Ready") == "False InvalidExpression").await;
    let status = status(&stage, "answer");
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(matches(&stage, "answer"), ["north 10.0.0.1:8080 100"]);
    stage.rest().await;
    assert_eq!(behind(&stage, "answer"), ["10.0.0.1"]);
    set("service.name == 'south'");
    stage.until("another", SOON, |s| behind(s, "answer") == ["10.0.0.3"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_concern_a_query_costs_it_no_write() {
    let stage = Stage::new();
    triage(&stage, "north", &[("10.0.0.1", "n1")], json!({})).await;
    stage.service("archive", &["10.0.0.8", "10.0.0.9"]).await;
    ask(&stage, "answer", json!({})).await;
    stage.start("op-1");
    stage.until("one is in", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    stage.rest().await;
    let before = writes(&stage);
    for well in [false, true, false] {
        stage.world.set_well("10.0.0.9", well);
        stage.rest().await;
    }
    assert_eq!(behind(&stage, "archive"), ["10.0.0.8"]);
    assert_eq!(writes(&stage), before, "the health of a service that it does not ask for");
    // ten services that come together are told of together
    for n in 0..10 {
        stage.service(&format!("other-{n}"), &[&format!("10.0.1.{n}")]).await;
    }
    stage.rest().await;
    assert_eq!(excluded(&stage, "answer").len(), 11);
    assert!(writes(&stage) - before <= 2, "{} writes", writes(&stage) - before);
    sleep(Duration::from_secs(3600)).await;
    assert!(writes(&stage) - before <= 2, "and then it is quiet");
}
