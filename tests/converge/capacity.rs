//! Does capacity go to the most urgent, never to more than there is room for, and is nothing of it lost?

use std::{collections::BTreeMap, time::Duration};

use harness::simulated::{Call, WatchFault};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams, PostParams},
};
use medley::api::{CapacityPool, ServicePolicy, Workflow, workflow_run::RunPhase};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{Step, call, container},
    world::{answer, hangs, works},
};

/// Something of the cluster.
async fn create_in_cluster<K>(stage: &Stage, name: &str, labels: Value, spec: Value)
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name, "labels": labels}, "spec": spec});
    let object: K = serde_json::from_value(object).unwrap();
    let api: Api<K> = Api::all(stage.server.client_as("admin"));
    api.create(&PostParams::default(), &object).await.unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// A cluster with one pool that all of the namespace's workflows use.
async fn pooled(pool: Value, scheduling: Value) -> Stage {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    give_capacity(&stage, pool, scheduling).await;
    stage
}

/// Makes the pool `main`, and the policy of all workflows.
pub(crate) async fn give_capacity(stage: &Stage, pool: Value, scheduling: Value) {
    create_in_cluster::<Namespace>(stage, NAMESPACE, json!({"team": "imaging"}), json!({})).await;
    create_in_cluster::<CapacityPool>(stage, "main", json!({}), pool).await;
    stage.create::<ServicePolicy>("all", json!({ "scheduling": scheduling })).await;
}

/// A pool of so many slots.
pub(crate) async fn slots(count: u32) -> Stage {
    let pool = json!({"resources": {"slots": count.to_string()}, "shares": [{"name": "imaging"}]});
    pooled(pool, json!({"pool": "main"})).await
}

/// A wait that holds a slot.
pub(crate) fn held(name: &str, seconds: u32) -> Step {
    Step::of(json!({"name": name, "holds": {"slots": "1"}, "wait": {"for": format!("{seconds}s")}}))
}

pub(crate) async fn run(stage: &Stage, name: &str, workflow: &str, urgency: &str) {
    stage.run_with(name, json!({"workflow": workflow, "urgency": urgency})).await;
}

/// When a run's step had capacity first, in milliseconds.
pub(crate) fn admitted(stage: &Stage, run: &str) -> i64 {
    let all = stage.history_of(run);
    let mut since = all.iter().flat_map(|s| s.steps.values()).filter_map(|s| Some(s.capacity.as_ref()?.since));
    since.next().unwrap_or_else(|| panic!("{run} had no capacity")).as_millisecond()
}

/// The most that runs ever had of a resource at the same time, in whole units.
fn peak(stage: &Stage, resource: &str) -> u64 {
    let mut has: BTreeMap<String, u64> = BTreeMap::new();
    let mut peak = 0;
    stage.each_version(|run| {
        let status = run.status.as_ref();
        let steps = status.iter().flat_map(|s| s.steps.values());
        let of_step = |s: &medley::api::workflow_run::StepStatus| {
            let capacity = s.capacity.as_ref()?;
            let unit: u64 = capacity.resources.get(resource)?.parse().ok()?;
            Some(unit * u64::from(capacity.parts.unwrap_or(1)))
        };
        has.insert(run.metadata.name.clone().unwrap(), steps.filter_map(of_step).sum());
        peak = peak.max(has.values().sum());
    });
    peak
}

#[tokio::test(start_paused = true)]
async fn the_most_urgent_comes_first_and_a_wait_costs_no_write() {
    let stage = slots(1).await;
    stage.workflow("ct", [held("read", 2).step()]).await;
    run(&stage, "first", "ct", "routine").await;
    stage.start("op-1");
    stage
        .until("the slot is taken", Duration::from_secs(60), |s| s.step("first", "read")["capacity"] != Value::Null)
        .await;
    for (name, urgency) in [("old", "batch"), ("usual", "routine"), ("soon", "urgent"), ("now", "stat")] {
        run(&stage, name, "ct", urgency).await;
        sleep(Duration::from_millis(50)).await;
    }
    for name in ["first", "old", "usual", "soon", "now"] {
        assert_eq!(stage.ended(name).await, RunPhase::Succeeded, "{name}");
    }
    let mut order = ["old", "usual", "soon", "now"];
    order.sort_by_key(|name| admitted(&stage, name));
    assert_eq!(order, ["now", "soon", "usual", "old"]);
    assert_eq!(peak(&stage, "slots"), 1);
    for name in ["now", "soon", "usual"] {
        assert_eq!(stage.history_of(name).len(), 2, "{name}: one write begins it, one ends it");
    }
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_long_is_told_where_it_stands() {
    let stage = slots(1).await;
    stage.workflow("ct", [held("read", 90).step()]).await;
    stage.start("op-1");
    run(&stage, "a", "ct", "stat").await;
    sleep(Duration::from_secs(1)).await;
    run(&stage, "b", "ct", "urgent").await;
    run(&stage, "c", "ct", "routine").await;
    stage.until("c is told", Duration::from_secs(30), |s| s.step("c", "read")["admission"] != Value::Null).await;
    assert_eq!((stage.phase("c"), stage.reason("c").as_str()), (Some(RunPhase::Pending), "WaitingForCapacity"));
    assert_eq!(stage.message("c"), "its first steps wait for capacity: all is in use");
    let (step, created) = (stage.step("c", "read"), stage.stored("c").metadata.creation_timestamp.unwrap().0);
    assert_eq!(
        (&step["phase"], &step["admission"]["reason"], &step["admission"]["position"]),
        (&json!("Waiting"), &json!("InUse"), &json!(2))
    );
    assert_eq!(step["admission"]["since"], json!(created));
    assert_eq!(json!(stage.stored("c").status.unwrap().admission), step["admission"], "the run says so, too");
    stage
        .until("the pool tells who waits", Duration::from_secs(10), |s| {
            s.server.object("CapacityPool", "", "main").unwrap()["status"]["waitingTotal"] == json!(2)
        })
        .await;
    let status = stage.server.object("CapacityPool", "", "main").unwrap()["status"].clone();
    assert_eq!((&status["supply"], &status["granted"]), (&json!({"slots": "1"}), &json!({"slots": "1"})));
    assert_eq!(
        status["shares"],
        json!([{"name": "imaging", "granted": {"slots": "1"}, "borrowed": {"slots": "1"}, "waiting": {"routine": 1, "urgent": 1}}])
    );
    for name in ["a", "b", "c"] {
        assert_eq!(stage.ended(name).await, RunPhase::Succeeded, "{name}");
    }
    assert_eq!(stage.step("c", "read")["admission"], Value::Null);
    stage
        .until("all is free", Duration::from_secs(10), |s| {
            s.server.object("CapacityPool", "", "main").unwrap()["status"]["granted"] == Value::Null
        })
        .await;
    stage.assert_monotone();
}

/// Two batch pods on two slots, then a stat run.
async fn displaced(stage: &Stage) {
    let tool = |name: &str| container(name).with("holds", json!({"slots": "1"}));
    stage.workflow("old", [tool("measure").with("interruptible", json!(true)).retries(1).step()]).await;
    stage.workflow("stroke", [tool("read").step()]).await;
    stage.world.fates("measure", [hangs(), hangs(), works(Duration::from_secs(2), &json!({}))]);
    stage.world.fates("read", [works(Duration::from_secs(5), &json!({}))]);
    run(stage, "batch-1", "old", "batch").await;
    sleep(Duration::from_secs(5)).await;
    run(stage, "batch-2", "old", "batch").await;
}

#[tokio::test(start_paused = true)]
async fn a_stat_run_displaces_the_newest_batch_step_which_costs_that_no_retry() {
    let stage = slots(2).await;
    stage.start("op-1");
    displaced(&stage).await;
    stage.until("both run", Duration::from_secs(60), |s| s.step("batch-2", "measure")["phase"] == "Running").await;
    run(&stage, "now", "stroke", "stat").await;
    assert_eq!(stage.ended("now").await, RunPhase::Succeeded);
    let step = stage.step("batch-2", "measure");
    assert_eq!((&step["disruptions"], &step["reason"]), (&json!(1), &json!("PodLost")), "{step}");
    assert!(step["message"].as_str().unwrap().starts_with("its capacity went to a more urgent step"), "{step}");
    assert_eq!(stage.step("batch-1", "measure")["attempt"], json!(1), "the older one was spared");
    assert_eq!(peak(&stage, "slots"), 2, "no slot was given twice, not even while a pod was going");
    stage
        .until("it is made again", Duration::from_secs(60), |s| s.step("batch-2", "measure")["attempt"] == json!(2))
        .await;
    assert_eq!(stage.pods_created(), ["batch-1-measure-1", "batch-2-measure-1", "now-read-1", "batch-2-measure-2"]);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn under_a_policy_that_forbids_it_nobody_is_displaced() {
    let pool = json!({"resources": {"slots": "2"}, "shares": [{"name": "imaging"}]});
    let stage = pooled(pool, json!({"pool": "main", "preemption": "Never"})).await;
    stage.start("op-1");
    displaced(&stage).await;
    stage.until("both run", Duration::from_secs(60), |s| s.step("batch-2", "measure")["phase"] == "Running").await;
    run(&stage, "now", "stroke", "stat").await;
    stage.rest().await;
    assert_eq!(stage.step("now", "read")["admission"]["reason"], "InUse");
    assert_eq!(stage.pods_created(), ["batch-1-measure-1", "batch-2-measure-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_begins_with_as_many_pods_as_there_is_capacity_for() {
    let pool = json!({"resources": {"pods": "3"}, "shares": [{"name": "imaging"}]});
    let stage = pooled(pool, json!({"pool": "main"})).await;
    stage.workflow("many", [container("part").each(json!({"count": 8, "maxParallel": 6})).step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "many", "routine").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let jobs = stage.server.objects("Job");
    assert_eq!(jobs[0]["spec"]["parallelism"], json!(3));
    assert_eq!(peak(&stage, "pods"), 3);
    assert_eq!(stage.step("r1", "part")["capacity"], Value::Null, "it is given back");
}

#[tokio::test(start_paused = true)]
async fn calls_hold_what_they_take_and_ask_once_somebody_can_answer() {
    let stage = slots(1).await;
    stage.world.replies("/a", [answer(200, json!({})).after(Duration::from_secs(20))]);
    let asks = |name: &str| call(name).timeout("1h").with("holds", json!({"slots": "1"})).step();
    stage.workflow("flow", [asks("a"), asks("b")]).await;
    stage.world.set_well("10.0.0.1", false);
    stage.start("op-1");
    run(&stage, "r1", "flow", "routine").await;
    stage.rest().await;
    assert_eq!(stage.step("r1", "a")["capacity"], Value::Null, "nobody could answer");
    stage.world.set_well("10.0.0.1", true);
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(peak(&stage, "slots"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_urgency_that_a_policy_does_not_allow_is_lowered_or_refused() {
    let stage = slots(1).await;
    stage.workflow("ct", [held("read", 5).step()]).await;
    stage.create::<ServicePolicy>("cap", json!({"scheduling": {"maxUrgency": "urgent"}})).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "stat").await;
    run(&stage, "r2", "ct", "batch").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let status = json!(stage.stored("r1").status.unwrap());
    assert_eq!(
        (&status["urgency"], &status["decidedBy"]),
        (&json!("urgent"), &json!({"maxUrgency": "cap", "pool": "all"}))
    );
    assert!(stage.events().await.iter().any(|e| e.starts_with("UrgencyLowered ServicePolicy `cap` allows `urgent`")));
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
    let status = json!(stage.stored("r2").status.unwrap());
    assert_eq!((&status["urgency"], &status["decidedBy"]), (&json!("batch"), &json!({"pool": "all"})));

    let refuse = json!({"scheduling": {"maxUrgency": "asap", "aboveMaxUrgency": "Refuse"}});
    stage.create::<ServicePolicy>("strict", refuse).await;
    sleep(Duration::from_secs(1)).await;
    run(&stage, "r3", "ct", "stat").await;
    assert_eq!(stage.ended("r3").await, RunPhase::Failed);
    assert_eq!(stage.reason("r3"), "UrgencyRefused");
    assert!(stage.message("r3").contains("ServicePolicy `cap` allows `urgent` at most"), "{}", stage.message("r3"));
}

#[tokio::test(start_paused = true)]
async fn policies_that_contradict_each_other_start_nothing_until_one_goes() {
    let stage = slots(1).await;
    stage.workflow("ct", [held("read", 5).step()]).await;
    stage.create::<ServicePolicy>("other", json!({"scheduling": {"pool": "second"}})).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "stat").await;
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Pending), "PolicyConflict"));
    let policies: Api<ServicePolicy> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    policies.delete("other", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_selector_chooses_workflows_and_a_share_namespaces() {
    let share = json!({"name": "lab", "namespaceSelector": {"matchLabels": {"team": "lab"}}});
    let pool = json!({"resources": {"slots": "1"}, "shares": [share]});
    let stage = pooled(pool, json!({"pool": "main"})).await;
    let patch = Patch::Merge(json!({"spec": {"selector": {"matchLabels": {"heavy": "yes"}}}}));
    let policies: Api<ServicePolicy> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    policies.patch("all", &PatchParams::default(), &patch).await.unwrap();
    stage.workflow("light", [held("read", 5).step()]).await;
    stage.workflow("heavy", [held("read", 5).step()]).await;
    let workflows: Api<Workflow> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    let label = Patch::Merge(json!({"metadata": {"labels": {"heavy": "yes"}}}));
    workflows.patch("heavy", &PatchParams::default(), &label).await.unwrap();
    stage.start("op-1");
    run(&stage, "r1", "light", "routine").await;
    run(&stage, "r2", "heavy", "routine").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "no policy speaks of it");
    stage.rest().await;
    assert_eq!(stage.step("r2", "read")["admission"]["reason"], "NoPool", "no share is for its namespace");
    let namespaces: Api<Namespace> = Api::all(stage.server.client_as("admin"));
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "lab"}}}));
    namespaces.patch(NAMESPACE, &PatchParams::default(), &label).await.unwrap();
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_gives_back_what_it_has_and_what_it_asks_for() {
    let stage = slots(1).await;
    stage.workflow("ct", [held("read", 3600).step()]).await;
    stage.start("op-1");
    run(&stage, "a", "ct", "routine").await;
    sleep(Duration::from_secs(1)).await;
    run(&stage, "b", "ct", "stat").await;
    run(&stage, "c", "ct", "routine").await;
    sleep(Duration::from_secs(1)).await;
    stage.cancel("b").await;
    stage.cancel("a").await;
    stage.until("c has its turn", Duration::from_secs(5), |s| s.step("c", "read")["capacity"] != Value::Null).await;
    stage.server.delete("WorkflowRun", NAMESPACE, "c", 0).unwrap();
    run(&stage, "d", "ct", "batch").await;
    stage.until("d has its turn", Duration::from_secs(5), |s| s.step("d", "read")["capacity"] != Value::Null).await;
    assert_eq!(stage.ended("b").await, RunPhase::Canceled);
}

/// A write that moves a run.
fn counts(call: &Call) -> bool {
    call.user.starts_with("op-") && call.is_write() && matches!(call.resource.as_str(), "workflowruns" | "pods")
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_no_slot_is_lost_or_given_twice() {
    let scene = async |stage: &Stage| {
        let tool = |name: &str| container(name).with("holds", json!({"slots": "1"}));
        stage.workflow("old", [tool("measure").with("interruptible", json!(true)).step()]).await;
        stage.workflow("stroke", [tool("read").step()]).await;
        stage.world.fates("measure", [works(Duration::from_secs(40), &json!({}))]);
        run(stage, "batch-1", "old", "batch").await;
        run(stage, "batch-2", "old", "batch").await;
        stage.start("op-1");
    };
    let arrives = async |stage: &Stage| {
        sleep(Duration::from_secs(10)).await;
        run(stage, "now", "stroke", "stat").await;
    };
    let stage = slots(1).await;
    scene(&stage).await;
    arrives(&stage).await;
    for run in ["now", "batch-1", "batch-2"] {
        assert_eq!(stage.ended(run).await, RunPhase::Succeeded);
    }
    let writes = stage.server.calls().iter().filter(|r| counts(&r.call)).count();
    assert!(writes >= 10, "three runs, one of which begins anew: {writes}");
    for k in 1..=writes {
        // a long scene: each write is tried in one of the two ways
        let after = k % 2 == 0;
        let what = format!("killed {} write {k} of {writes}", if after { "after" } else { "before" });
        let stage = slots(1).await;
        stage.world.dies_at("op-1", k, after, counts);
        // what the next leader hears of runs comes late
        stage.server.set_watch_faults(|event| {
            let late = event.user == "op-2" && event.kind == "WorkflowRun";
            if late { WatchFault::Delay(Duration::from_secs(40)) } else { WatchFault::Deliver }
        });
        scene(&stage).await;
        stage.start("op-2");
        arrives(&stage).await;
        for run in ["now", "batch-1", "batch-2"] {
            assert_eq!(stage.ended(run).await, RunPhase::Succeeded, "{what}: {run}");
        }
        assert_eq!(peak(&stage, "slots"), 1, "{what}");
        stage.assert_monotone();
    }
}
