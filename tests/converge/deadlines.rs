//! Are deadlines foretold from what earlier runs have shown, and kept?

use std::{sync::Arc, time::Duration};

use harness::simulated::{Fault, Record};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use medley::api::{Workflow, WorkflowRun, workflow_run::RunPhase};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, container},
    world::{answer, hangs, works},
};

/// A cluster with the service `archive` and a workflow of these steps and this deadline.
async fn with_deadline(deadline: &str, steps: Vec<Value>) -> Stage {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    let workflow: Workflow = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "Workflow",
        "metadata": {"name": "ct", "namespace": NAMESPACE}, "spec": {"deadline": deadline, "steps": steps},
    }))
    .unwrap();
    Api::namespaced(stage.server.client_as("somebody"), NAMESPACE)
        .create(&PostParams::default(), &workflow)
        .await
        .unwrap();
    stage
}

fn measure_and_tell() -> Vec<Value> {
    vec![container("measure").timeout("1h").step(), call("tell").after(&["measure"]).step()]
}

/// Runs one after the other whose pod works about six seconds.
async fn history(stage: &Stage, runs: usize) {
    for n in 0..runs {
        let millis = 5000 + 700 * n as u64 % 2300;
        stage.world.fates("measure", [works(Duration::from_millis(millis), &json!({}))]);
        let name = format!("earlier-{n}");
        stage.run(&name, "ct").await;
        assert_eq!(stage.ended(&name).await, RunPhase::Succeeded);
    }
}

fn flow(stage: &Stage) -> Value {
    stage.server.object("Workflow", NAMESPACE, "ct").unwrap()["status"]["flow"].clone()
}

fn deadline(stage: &Stage, run: &str) -> Value {
    stage.server.object("WorkflowRun", NAMESPACE, run).unwrap()["status"]["deadline"].clone()
}

async fn events(stage: &Stage, reason: &str) -> usize {
    let api: Api<Event> = Api::namespaced(stage.server.client_as("somebody"), NAMESPACE);
    let all = api.list(&ListParams::default()).await.unwrap();
    all.iter().filter(|e| e.reason.as_deref() == Some(reason)).count()
}

#[tokio::test(start_paused = true)]
async fn a_slow_run_is_announced_before_its_deadline_and_stopped_at_it() {
    let stage = with_deadline("20s", measure_and_tell()).await;
    let operator = stage.start("op-1");
    history(&stage, 30).await;
    sleep(Duration::from_secs(15)).await;
    let learned = flow(&stage);
    assert!(learned["runs"].as_f64().unwrap() > 15.0, "{learned}");
    assert_eq!(learned["steps"]["measure"]["record"].as_str().unwrap().len(), 2 * 30, "each run once");

    stage.world.fates("measure", [hangs()]);
    let made = Instant::now();
    stage.run("slow", "ct").await;
    stage.until("it is foretold", Duration::from_secs(5), |s| !deadline(s, "slow")["predicted"].is_null()).await;
    assert_eq!(deadline(&stage, "slow")["atRisk"], false);
    let path = stage.stored("slow").status.unwrap().critical_path;
    assert_eq!(path, ["measure", "tell"]);

    let at_risk = |s: &Stage| deadline(s, "slow")["atRisk"] == true;
    stage.until("it is at risk", Duration::from_secs(25), at_risk).await;
    let told = made.elapsed();
    assert!(told < Duration::from_secs(18), "before the miss: {told:?}");
    assert_eq!(stage.ended("slow").await, RunPhase::Failed);
    let took = made.elapsed().as_secs_f64();
    assert!((18.9..21.0).contains(&took), "{took}");
    assert_eq!(stage.reason("slow"), "DeadlineExceeded");
    assert_eq!(stage.step("slow", "measure")["phase"], "Canceled");
    stage.until("its pod is gone", Duration::from_secs(5), |s| s.server.objects("Pod").len() == 30).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(events(&stage, "DeadlineAtRisk").await, 1);
    assert_eq!((operator.metrics.deadline_risks.get(), operator.metrics.deadline_misses.get()), (1, 1));
    assert!(deadline(&stage, "slow")["predicted"].is_null(), "a run that has ended is not foretold");
    assert_eq!(stage.world.asked("/tell"), 30, "nothing begins after the deadline");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_prediction_costs_no_write_of_its_own() {
    let steps = || (0..4).map(|i| format!("s{i}")).collect::<Vec<_>>();
    let names = steps();
    let chain = (0..4).map(|i| if i == 0 { call(&names[0]) } else { call(&names[i]).after(&[&names[i - 1]]) });
    let stage = with_deadline("1h", chain.map(super::steps::Step::step).collect()).await;
    stage.start("op-1");
    sleep(Duration::from_secs(30)).await;
    for n in 0..12 {
        for name in &names {
            stage.world.replies(&format!("/{name}"), [answer(200, json!({})).after(Duration::from_secs(3 + n % 4))]);
        }
        let name = format!("run-{n}");
        let before = stage.status_writes();
        stage.run(&name, "ct").await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(deadline(&stage, &name)["predicted"].is_null(), n < 7, "{n}: {}", flow(&stage));
        assert_eq!(stage.ended(&name).await, RunPhase::Succeeded);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(stage.status_writes() - before, 5, "run {n} of four calls");
    }
}

#[tokio::test(start_paused = true)]
async fn many_runs_cost_a_workflow_one_write_in_ten_seconds() {
    let stage = with_deadline("1h", vec![call("ask").step()]).await;
    stage.start("op-1");
    sleep(Duration::from_secs(30)).await;
    for n in 0..40 {
        stage.run(&format!("run-{n}"), "ct").await;
        sleep(Duration::from_millis(500)).await;
    }
    sleep(Duration::from_secs(15)).await;
    let is_one = |r: &&Record| r.call.resource == "workflows" && r.call.subresource == "status" && r.changed;
    let writes = stage.server.calls().iter().filter(is_one).count();
    assert!(writes <= 6, "{writes}");
    let record = flow(&stage)["steps"]["ask"]["record"].as_str().unwrap().len();
    assert_eq!(record, 2 * 40, "each run once");
}

#[tokio::test(start_paused = true)]
async fn a_run_may_have_a_deadline_of_its_own_and_a_step_a_share_of_it() {
    let mut step = call("ask").step();
    step["deadlineShare"] = json!(50);
    let stage = with_deadline("1h", vec![step]).await;
    stage.start("op-1");
    stage.world.replies("/ask", [answer(200, json!({})).after(Duration::from_secs(900))]);
    let run: WorkflowRun = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
        "metadata": {"name": "own", "namespace": NAMESPACE}, "spec": {"workflow": "ct", "deadline": "40s"},
    }))
    .unwrap();
    let api: Api<WorkflowRun> = Api::namespaced(stage.server.client_as("somebody"), NAMESPACE);
    sleep(Duration::from_secs(30)).await;
    api.create(&PostParams::default(), &run).await.unwrap();
    let made = Instant::now();
    assert_eq!(stage.ended("own").await, RunPhase::Failed);
    assert!((19.0..22.0).contains(&made.elapsed().as_secs_f64()), "half of 40 s: {:?}", made.elapsed());
    assert_eq!(
        (stage.reason("own").as_str(), stage.step("own", "ask")["reason"].as_str()),
        ("StepFailed", Some("Timeout"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_workflow_never_comes_ends_at_its_own_deadline() {
    let stage = Stage::new();
    stage.start("op-1");
    let run: WorkflowRun = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
        "metadata": {"name": "lost", "namespace": NAMESPACE}, "spec": {"workflow": "nowhere", "deadline": "1m"},
    }))
    .unwrap();
    let api: Api<WorkflowRun> = Api::namespaced(stage.server.client_as("somebody"), NAMESPACE);
    api.create(&PostParams::default(), &run).await.unwrap();
    assert_eq!(stage.ended("lost").await, RunPhase::Failed);
    assert_eq!(stage.reason("lost"), "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_there_counts_although_the_deadline_has_passed() {
    let stage = with_deadline("2m", vec![container("measure").timeout("1h").step()]).await;
    stage.world.fates("measure", [works(Duration::from_secs(90), &json!({}))]);
    let first = stage.start("op-1");
    sleep(Duration::from_secs(20)).await;
    stage.run("r1", "ct").await;
    stage.until("its pod runs", Duration::from_secs(30), |s| s.step("r1", "measure")["phase"] == "Running").await;
    first.stop().await;
    sleep(Duration::from_secs(300)).await;
    stage.start("op-2");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "its pod had ended in time");
}

#[tokio::test(start_paused = true)]
async fn a_crash_counts_no_run_twice() {
    // replies of the workflow's status writes are lost, and at one of them the operator dies
    for after in [false, true] {
        let stage = with_deadline("1h", vec![call("ask").step()]).await;
        let mut seen = 0;
        let world = Arc::clone(&stage.world);
        stage.world.faults(move |call| {
            if call.resource != "workflows" || call.subresource != "status" || call.user == "op-2" {
                return Fault::None;
            }
            seen += 1;
            if seen != 4 {
                return if seen % 2 == 0 { Fault::LoseReplyAfterCommit } else { Fault::None };
            }
            let world = Arc::clone(&world);
            let die: Box<dyn FnOnce() + Send> = Box::new(move || world.kill("op-1"));
            if after { Fault::CrashAfter(die) } else { Fault::CrashBefore(die) }
        });
        stage.start("op-1");
        stage.start("op-2");
        for n in 0..6 {
            stage.run(&format!("run-{n}"), "ct").await;
            assert_eq!(stage.ended(&format!("run-{n}")).await, RunPhase::Succeeded);
            sleep(Duration::from_secs(30)).await;
        }
        let counted = flow(&stage)["steps"]["ask"]["record"].as_str().map_or(0, str::len) / 2;
        assert!((5..=6).contains(&counted), "after: {after}: {counted} of 6");
    }
}
