//! Does what a picture of the cluster foretells then happen?

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use medley::{api::workflow_run::RunPhase, core::prospect::Picture};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::sleep;

use super::{
    capacity::{admitted, held, run, slots},
    stage::Stage,
    steps::container,
    world::works,
};

/// What the server holds now.
fn picture(stage: &Stage) -> Picture {
    fn all<K: DeserializeOwned>(stage: &Stage, kind: &str) -> Vec<K> {
        stage.server.objects(kind).into_iter().map(|o| serde_json::from_value(o).unwrap()).collect()
    }
    Picture {
        nodes: Vec::new(),
        pools: all(stage, "CapacityPool"),
        policies: all(stage, "ServicePolicy"),
        namespaces: all(stage, "Namespace"),
        workflows: all(stage, "Workflow"),
        revisions: all(stage, "ControllerRevision"),
        runs: all(stage, "WorkflowRun"),
    }
}

#[tokio::test(start_paused = true)]
async fn steps_are_admitted_in_the_order_and_at_the_times_that_were_foretold() {
    let stage = slots(2).await;
    for (name, seconds) in [("short", 20), ("long", 50)] {
        stage.workflow(name, [held("read", seconds).step()]).await;
    }
    stage.start("op-1");
    sleep(Duration::from_secs(1)).await;
    let urgencies = ["batch", "routine", "urgent", "asap", "stat"];
    for n in 0..12 {
        run(&stage, &format!("r{n:02}"), ["short", "long", "short"][n % 3], urgencies[(n * 7) % 5]).await;
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(2)).await;
    let now: Timestamp = stage.server.now();
    let waits = picture(&stage).waits(now).unwrap();
    assert_eq!(waits.len(), 10, "two have a slot");
    let foretold: BTreeMap<String, i64> =
        waits.iter().map(|w| (w.run.name.clone(), w.admitted.unwrap().as_millisecond())).collect();
    let order: Vec<&String> = waits.iter().map(|w| &w.run.name).collect();
    for n in 0..12 {
        assert_eq!(stage.ended(&format!("r{n:02}")).await, RunPhase::Succeeded);
    }
    let mut then = order.clone();
    then.sort_by_key(|name| admitted(&stage, name));
    assert_eq!(then, order);
    for name in order {
        let error = admitted(&stage, name) - foretold[name];
        assert!(error.abs() < 1000, "{name}: {error} ms from what was foretold");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_way_was_foretold() {
    let stage = slots(2).await;
    let tool = |name: &str| container(name).with("holds", json!({"slots": "1"}));
    stage.workflow("old", [tool("measure").with("interruptible", json!(true)).step()]).await;
    stage.workflow("stroke", [tool("read").step()]).await;
    stage.world.fates("measure", [works(Duration::from_secs(600), &json!({}))]);
    stage.start("op-1");
    for name in ["batch-1", "batch-2"] {
        run(&stage, name, "old", "batch").await;
        sleep(Duration::from_secs(5)).await;
    }
    let planned = json!({"apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "now"},
        "spec": {"workflow": "stroke", "urgency": "stat"}});
    let mut before = picture(&stage);
    let planned = Picture { runs: vec![serde_json::from_value(planned).unwrap()], ..Picture::default() };
    before.apply(planned, super::stage::NAMESPACE, stage.server.now());
    let waits = before.waits(stage.server.now()).unwrap();
    let [wait] = waits.as_slice() else { panic!("{waits:#?}") };
    let victims: Vec<&str> = wait.displaces.iter().map(|(run, _)| run.name.as_str()).collect();
    assert_eq!(victims, ["batch-2"]);
    run(&stage, "now", "stroke", "stat").await;
    assert_eq!(stage.ended("now").await, RunPhase::Succeeded);
    assert_eq!(stage.step("batch-2", "measure")["disruptions"], json!(1));
    assert_eq!(stage.step("batch-1", "measure")["attempt"], json!(1));
}
