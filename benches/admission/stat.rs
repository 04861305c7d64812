//! A stat run that comes while every slot is taken by batch pods and ten thousand batch runs wait.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::api::PostParams;
use medley::api::WorkflowRun;
use serde_json::json;

use super::{
    common::{
        figures::{Figures, quantile},
        observer::Observer,
    },
    policy, pool, share,
    support::{operator::Operator, requests::asked, stage::Stage, until},
};

const WAITING: usize = 10_000;
const SLOTS: usize = 20;
const STATS: usize = 200;
/// Requests of the loader that may be under way together.
const LOADERS: usize = 16;
const LIMIT: Duration = Duration::from_secs(300);

/// One stat run after the other.
pub(crate) async fn while_thousands_wait(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("stat");
    let name = format!("stat-{}", std::process::id());
    pool(stage, &name, u32::try_from(SLOTS).unwrap(), &[share(&space, 0)]);
    policy(stage, &space, &name);
    for (workflow, image, interruptible) in [("old", "never-ends", true), ("stroke", "fake", false)] {
        let step = json!({ "name": "work", "interruptible": interruptible, "holds": { "units": "1" }, "container": { "image": image } });
        let spec = json!({ "retention": { "succeeded": 100_000 }, "steps": [step] });
        let object = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": workflow }, "spec": spec });
        stage.apply(&space, &object.to_string());
        stage.ready(&space, &format!("mwf/{workflow}"));
    }
    stream::iter(0..WAITING + SLOTS)
        .for_each_concurrent(LOADERS, |n| {
            let space = &space;
            async move { start(stage, space, &format!("old-{n}"), "old", "batch").await }
        })
        .await;
    until("all wait but those that have a slot", LIMIT, async || {
        let waiting = stage.kubectl(&["get", "mpool", &name, "-o", "jsonpath={.status.waitingTotal}"]);
        (waiting.parse::<usize>().ok() == Some(WAITING)).then_some(())
    })
    .await;
    // no process is started for each of them: that would take the processors in the very moment that is measured
    let mut observer = Observer::of(stage, &space, false);
    for n in 0..STATS {
        start(stage, &space, &format!("now-{n}"), "stroke", "stat").await;
        observer.ended(n + 1, LIMIT).await;
    }
    drop(observer);
    let requests = asked(stage).await;
    let mut made: HashMap<&str, Timestamp> = HashMap::new();
    let mut pods: HashMap<&str, Timestamp> = HashMap::new();
    let mut deleted = Vec::new();
    let mut gone = Vec::new();
    for a in requests.iter().filter(|a| a.namespace == space && a.is_done()) {
        match (a.resource.as_str(), a.verb.as_str()) {
            // the operator may hear of it before its maker does
            ("workflowruns", "create") => drop(made.insert(&a.name, a.at)),
            ("pods", "create") => drop(pods.insert(&a.name, a.at)),
            ("pods", "delete") if a.user == operator.user => deleted.push((a.at, a.answered)),
            // the played kubelet's last word
            ("pods", "delete") => gone.push(a.answered),
            _ => {}
        }
    }
    let ms = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1000.0;
    let (mut decided, mut told, mut started, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..STATS {
        let came = made[format!("now-{n}").as_str()];
        let pod = pods[format!("now-{n}-work-1").as_str()];
        whole.push(ms(came, pod));
        // the newest gives way: one that was about to make its pod has none to delete
        let Some((at, answered)) = deleted.iter().find(|(at, _)| *at > came && *at < pod) else { continue };
        decided.push(ms(came, *at));
        told.push(ms(came, *answered));
        started.extend(gone.iter().find(|at| **at > came && **at < pod).map(|at| ms(*at, pod)));
    }
    let of = format!("stat run, {WAITING} wait");
    figures.add(&format!("{of}: made to the victim's delete sent, p50"), quantile(&mut decided, 0.5), "ms");
    figures.add(&format!("{of}: the same, p90"), quantile(&mut decided, 0.9), "ms");
    figures.at_most(&format!("{of}: made to the victim's delete sent, p99"), quantile(&mut decided, 0.99), "ms", 50.0);
    figures.at_most(&format!("{of}: made to the victim deleted, p99"), quantile(&mut told, 0.99), "ms", 200.0);
    figures.at_most(&format!("{of}: slot free to its pod made, p99"), quantile(&mut started, 0.99), "ms", 100.0);
    figures.add(&format!("{of}: runs for which a pod was deleted"), told.len() as f64, "");
    figures.add(&format!("{of}: made to its pod made, p50"), quantile(&mut whole, 0.5), "ms");
    figures.add(&format!("{of}: made to its pod made, p99"), quantile(&mut whole, 0.99), "ms");
    operator.stop().await;
    stage.remove_namespace(&space);
}

async fn start(stage: &Stage, space: &str, name: &str, workflow: &str, urgency: &str) {
    let spec = serde_json::from_value(json!({ "workflow": workflow, "urgency": urgency })).unwrap();
    stage.runs(space).create(&PostParams::default(), &WorkflowRun::new(name, spec)).await.unwrap();
}
