//! Does a run end as if nothing had happened when the operator dies on the way, or hands over?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::simulated::{Call, Fault, Record, WatchFault};
use jiff::SignedDuration;
use medley::api::{MedicalService, workflow_run::RunPhase};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    services::published,
    stage::{NAMESPACE, Stage},
    steps::{call, container, post, story},
    undisturbed::prepared,
    world::answer,
};

/// A write that counts: neither an event nor the lease.
fn counts(call: &Call) -> bool {
    call.is_write() && !call.is_event() && call.resource != "leases"
}

/// How often each request was made; keys without the run's UID.
pub(crate) fn effects(stage: &Stage, run: &str) -> BTreeMap<String, usize> {
    let uid = stage.stored(run).metadata.uid.unwrap();
    stage.world.requests().iter().fold(BTreeMap::new(), |mut all, r| {
        *all.entry(format!("{} {}", r.path, r.key.replace(&uid, "run"))).or_default() += 1;
        all
    })
}

/// What a run of the story leaves: state, effects, and how many writes it took.
pub(crate) type Outcome = (Value, BTreeMap<String, usize>, usize);

/// The story's outcome when nothing goes wrong.
pub(crate) async fn undisturbed() -> Outcome {
    let stage = prepared(story()).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    let writes = stage.calls_of("op-1").iter().filter(|r| counts(&r.call)).count();
    (stage.end_state(), effects(&stage, "r1"), writes)
}

/// Fails unless the story ended as the undisturbed one did, with each effect once: a request may have been repeated with
/// the same key, a pod may not.
pub(crate) fn assert_same(stage: &Stage, expected: &Outcome, repeats: usize, what: &str) {
    let state = stage.end_state();
    for kind in state.as_object().unwrap().keys() {
        assert_eq!(state[kind], expected.0[kind], "{what}: {kind}");
    }
    let effects = effects(stage, "r1");
    let keys = |e: &BTreeMap<String, usize>| e.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&effects), keys(&expected.1), "{what}: requests");
    assert!(effects.values().all(|&n| n <= 1 + repeats), "{what}: a request was made too often: {effects:?}");
    assert_eq!(stage.pods_created(), ["r1-measure-1"], "{what}");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_it_ends_the_same() {
    let expected = undisturbed().await;
    assert!(expected.2 >= 8, "a service, a workflow, a pod and five statuses: {}", expected.2);
    for k in 1..=expected.2 {
        for after in [false, true] {
            let what = format!("killed {} write {k} of {}", if after { "after" } else { "before" }, expected.2);
            let stage = prepared(story()).await;
            stage.run("r1", "ct").await;
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            stage.until(&what, Duration::from_secs(300), |s| s.world.is_dead("op-1")).await;
            stage.start("op-2");
            assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{what}");
            stage.rest().await;
            assert_same(&stage, &expected, 1, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_again_and_again_it_ends_the_same() {
    let expected = undisturbed().await;
    // not at each: a leader must get to its second write, or nothing can ever go on
    for rhythm in [2, 3, 4] {
        let stage = prepared(story()).await;
        stage.run("r1", "ct").await;
        let (world, seen) = (Arc::clone(&stage.world), Arc::new(AtomicUsize::new(0)));
        stage.world.faults(move |call| {
            let of_runs = call.is_write() && matches!(call.resource.as_str(), "workflowruns" | "pods");
            if !call.user.starts_with("op-") || !of_runs || (seen.fetch_add(1, Ordering::Relaxed) + 1) % rhythm != 0 {
                return Fault::None;
            }
            let (world, user) = (Arc::clone(&world), call.user.clone());
            Fault::CrashAfter(Box::new(move || world.kill(&user)))
        });
        let mut operators = 0;
        let end = Instant::now() + Duration::from_secs(600);
        while !stage.phase("r1").is_some_and(RunPhase::is_final) || stage.world.is_dead(&format!("op-{operators}")) {
            if operators == 0 || stage.world.is_dead(&format!("op-{operators}")) {
                operators += 1;
                stage.start(&format!("op-{operators}"));
            }
            assert!(Instant::now() < end, "killed at every write {rhythm}: no end after {operators} operators");
            sleep(Duration::from_millis(100)).await;
        }
        assert!(operators > 1, "no operator was killed");
        stage.world.no_faults();
        stage.rest().await;
        assert_same(&stage, &expected, operators, &format!("killed at every write {rhythm}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_happen_once_at_most_is_never_repeated() {
    let stage = prepared(vec![post("charge").retries(3).step(), call("record").after(&["charge"]).step()]).await;
    stage.world.replies("/charge", [answer(200, json!({})).after(Duration::from_secs(10))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/charge") == 1).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    let unknown = |s: &Stage| s.step("r1", "charge")["phase"] == "Unknown";
    stage.until("nobody knows what became of it", Duration::from_secs(60), unknown).await;
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Running), "OutcomeUnknown"));
    assert_eq!((stage.world.asked("/charge"), stage.world.asked("/record")), (1, 0));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_be_repeated_is_repeated_with_the_same_key() {
    let stage = prepared(vec![call("read").step()]).await;
    stage.world.replies("/read", [answer(200, json!({})).after(Duration::from_secs(10))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/read") == 1).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    let requests = stage.world.requests();
    assert_eq!(requests.iter().map(|r| r.by.as_str()).collect::<Vec<_>>(), ["op-1", "op-2"]);
    assert_eq!(requests[0].key, requests[1].key);
    assert_eq!(stage.step("r1", "read")["attempt"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_former_leader_has_sent_keeps_its_key_whatever_comes_of_its_repetition() {
    let forms = [call("read"), call("read").each(json!({"count": 1}))];
    for (step, unreachable) in forms.into_iter().flat_map(|step| [(step.clone(), false), (step, true)]) {
        let stage = prepared(vec![step.timeout("100s").retries(3).step()]).await;
        let slow = answer(200, json!({})).after(Duration::from_secs(90));
        let repeated = if unreachable { vec![] } else { vec![answer(503, json!({}))] };
        stage.world.replies("/read", [vec![slow], repeated, vec![answer(200, json!({}))]].concat());
        stage.run("r1", "ct").await;
        stage.start("op-1");
        stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/read") == 1).await;
        if unreachable {
            stage.world.set_well("10.0.0.1", false);
            stage.until("no endpoint is ready", Duration::from_secs(30), |s| published(s).is_empty()).await;
        }
        stage.world.kill("op-1");
        stage.start("op-2");
        let failed = |s: &Stage| s.step("r1", "read")["phase"] == "Retrying";
        stage.until("the attempt fails", Duration::from_secs(300), failed).await;
        stage.world.set_well("10.0.0.1", true);
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
        let keys: Vec<String> = stage.world.requests().into_iter().map(|r| r.key).collect();
        assert_eq!(keys.len(), if unreachable { 2 } else { 3 });
        assert!(keys.iter().all(|key| *key == keys[0]), "an effect may be there: {keys:?}");
        stage.assert_monotone();
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_in_good_order_it_ends_its_call_and_gives_the_lease_back() {
    let stage = prepared(vec![post("charge").step(), call("record").after(&["charge"]).step()]).await;
    stage.world.replies("/charge", [answer(200, json!({})).after(Duration::from_secs(3))]);
    stage.run("r1", "ct").await;
    let first = stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/charge") == 1).await;
    sleep(Duration::from_secs(1)).await;
    first.stop().await;
    assert_eq!(stage.step("r1", "charge")["phase"], "Succeeded", "the outcome is written before the end");
    assert_eq!(stage.world.asked("/record"), 0, "nothing new begins while it hands over");
    let lease = stage.server.object("Lease", "medley", "medley").unwrap();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "{lease:#}");
    let handed = Instant::now();
    stage.start("op-2");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!(handed.elapsed() < Duration::from_secs(5), "the next need not wait for the lease: {:?}", handed.elapsed());
    stage.rest().await;
    assert_eq!((stage.world.asked("/charge"), stage.world.asked("/record")), (1, 1));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_leads_and_is_refused_afterwards() {
    let stage = prepared(vec![call("first").step(), call("second").after(&["first"]).step()]).await;
    stage.world.replies("/first", [answer(200, json!({})).after(Duration::from_secs(25))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/first") == 1).await;
    let old = stage.stored("r1");
    stage.start("op-2");
    sleep(Duration::from_secs(5)).await;
    assert!(stage.calls_of("op-2").iter().all(|r| !r.call.is_write()), "one leads at a time");
    stage
        .world
        .faults(|call| if call.user == "op-1" && call.resource == "leases" { Fault::DropBefore } else { Fault::None });
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.world.no_faults();
    stage.rest().await;
    let writes =
        |user: &str| stage.calls_of(user).into_iter().filter(|r| counts(&r.call)).map(|r| r.at).collect::<Vec<_>>();
    let (last, first) = (writes("op-1").into_iter().max().unwrap(), writes("op-2").into_iter().min().unwrap());
    assert!(last < first, "the former leader wrote at {last:?}, the next from {first:?}");
    // what the former leader would have written, had it not stopped
    let mut late = stage.stored("r1");
    let epoch = |r: &medley::api::WorkflowRun| r.status.as_ref().and_then(|s| s.leader_epoch).unwrap();
    assert!(epoch(&late) > epoch(&old));
    late.status.as_mut().unwrap().leader_epoch = old.status.as_ref().unwrap().leader_epoch;
    let refused = stage.write_status(&late).await.unwrap_err().to_string();
    assert!(refused.contains("leaderEpoch"), "{refused}");
    assert_eq!(stage.server.object("WorkflowRun", NAMESPACE, "r1").unwrap()["status"]["phase"], "Succeeded");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_look_that_has_begun_before_the_renew_deadline_writes_nothing_after_it() {
    let stage = prepared(vec![container("first").step()]).await;
    stage.start("op-1");
    stage.rest().await;
    let renewals =
        |s: &Stage| s.calls_of("op-1").into_iter().filter(|r| r.call.resource == "leases").collect::<Vec<_>>();
    let before = renewals(&stage).len();
    stage.until("it renews", Duration::from_secs(10), |s| renewals(s).len() > before).await;
    let last = renewals(&stage).last().unwrap().at;
    // the status is written before the deadline, and the pod would be made after it
    stage.world.faults(|call| match call.resource.as_str() {
        "leases" => Fault::DelayReply(Duration::from_secs(60)),
        "workflowruns" if call.is_write() => Fault::DelayReply(Duration::from_secs(3)),
        _ => Fault::None,
    });
    sleep(Duration::from_secs(8)).await;
    stage.run("r1", "ct").await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(stage.step("r1", "first")["phase"], "Starting");
    let late = stage.calls_of("op-1").into_iter().filter(|r| counts(&r.call) && r.at > last + Duration::from_secs(10));
    assert_eq!(late.map(|r| r.call.name).collect::<Vec<_>>(), Vec::<String>::new());
    stage.world.no_faults();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "it leads again");
}

/// The epoch of a run's last write.
fn epoch(stage: &Stage, run: &str) -> i64 {
    stage.stored(run).status.unwrap().leader_epoch.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_takes_no_epoch_back() {
    let stage = prepared(vec![call("first").step(), call("second").after(&["first"]).step()]).await;
    stage.world.replies("/first", [answer(200, json!({})).after(Duration::from_secs(25))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/first") == 1).await;
    stage.world.kill("op-1");
    stage.start("op-2");
    stage.until("the second term", Duration::from_secs(30), |s| epoch(s, "r1") == 2).await;
    // the holder goes on above its own epoch
    stage.server.delete("Lease", "medley", "medley", 0).unwrap();
    stage.until("a term above it", Duration::from_secs(20), |s| epoch(s, "r1") == 3).await;
    // and so does whoever comes after it and finds no lease
    stage.world.kill("op-2");
    stage.server.delete("Lease", "medley", "medley", 0).unwrap();
    stage.start("op-3");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(epoch(&stage, "r1"), 4);
    stage.rest().await;
    let requests = stage.world.requests();
    let of_first: Vec<&str> = requests.iter().filter(|r| r.path == "/first").map(|r| r.key.as_str()).collect();
    assert!(of_first.iter().all(|key| *key == of_first[0]), "{of_first:?}");
    assert_eq!(stage.world.asked("/second"), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn runs_that_were_restored_from_another_cluster_go_on() {
    let stage = prepared(vec![call("first").step()]).await;
    stage.world.replies("/first", [answer(200, json!({})).after(Duration::from_secs(25))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/first") == 1).await;
    let mut restored = stage.stored("r1");
    restored.status.as_mut().unwrap().leader_epoch = Some(40);
    stage.write_status(&restored).await.unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!(epoch(&stage, "r1") > 40);
    stage.rest().await;
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn of_two_that_lead_at_once_the_former_writes_nothing_more_of_what_the_other_has_written() {
    let stage = Stage::new();
    let probe =
        json!({"level": "Transport", "interval": "1s", "timeout": "1s", "failureThreshold": 1, "successThreshold": 1});
    let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe});
    let service = json!({"external": {"endpoints": [{"host": "10.0.0.1"}]}, "interfaces": [interface]});
    stage.create::<MedicalService>("archive", service).await;
    stage.workflow("ct", [call("slow").timeout("2h").step()]).await;
    stage.world.replies("/slow", [answer(200, json!({})).after(Duration::from_secs(3600))]);
    stage.run("r1", "ct").await;
    // it believes to keep for ten seconds what it tells others to keep for three
    stage.start_with("op-1", SignedDuration::ZERO, Duration::from_secs(3));
    stage.rest().await;
    // they see different things: one cannot reach the service, the other does not hear of a run
    stage.world.put_out_of_reach("op-2", "10.0.0.1");
    stage.server.set_watch_faults(|event| {
        let hit = event.user == "op-1" && event.kind == "WorkflowRun";
        if hit { WatchFault::Drop } else { WatchFault::Deliver }
    });
    stage.run("r2", "ct").await;
    stage.world.faults(|call| {
        if call.user == "op-1" && call.resource == "leases" {
            Fault::DropBefore
        } else if call.is_write() {
            // what both write in turn would otherwise take no time at all, and never end
            Fault::DelayReply(Duration::from_millis(20))
        } else {
            Fault::None
        }
    });
    stage.start("op-2");
    sleep(Duration::from_secs(15)).await;
    for (resource, object) in [("medicalservices", "endpointslices"), ("workflows", "controllerrevisions")] {
        let writes = |user: &str, resource: &str| {
            let is_one = |r: &Record| r.call.resource == resource && r.call.is_write() && r.changed;
            stage.calls_of(user).into_iter().filter(is_one).map(|r| r.at).collect::<Vec<_>>()
        };
        let present = writes("op-2", resource);
        let first = present.first().unwrap_or_else(|| panic!("op-2 writes nothing of {resource}"));
        let former = [writes("op-1", resource), writes("op-1", object)].concat();
        assert!(former.iter().all(|at| at <= first), "{resource}: {former:?}, and op-2 {present:?}");
        assert!(present.len() <= 3, "{resource}: {present:?}");
    }
    assert!(published(&stage).is_empty());
    let stored = |kind: &str, name: &str| stage.server.object(kind, NAMESPACE, name).unwrap()["status"].clone();
    assert_eq!(stored("MedicalService", "archive")["endpointSummary"], "0/1", "as the present leader sees it");
    assert_eq!(stored("Workflow", "ct")["active"], json!(2));
    stage.assert_monotone();
}
