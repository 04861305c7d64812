//! The time from the end of a pod to the making of the next, on a control plane that has nothing else to do.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    bare::create,
    common::{
        figures::{Figures, quantile},
        observer::Observer,
    },
    support::{
        operator::Operator,
        requests::{Asked, asked},
        stage::Stage,
    },
};

const RUNS: usize = 40;
const STEPS: usize = 5;

/// Chains of five pods, one run after the other.
pub(crate) async fn of_pods(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("bench-latency");
    let steps: Vec<Value> = (0..STEPS)
        .map(|n| {
            let after: Vec<String> = n.checked_sub(1).map(|b| format!("s{b}")).into_iter().collect();
            json!({ "name": format!("s{n}"), "after": after, "container": { "image": "fake" } })
        })
        .collect();
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "chain" }, "spec": { "steps": steps } });
    stage.apply(&space, &workflow.to_string());
    stage.ready(&space, "mwf/chain");
    let mut observer = Observer::of(stage, &space, false);
    for number in 0..RUNS {
        create(stage, &space, "chain", &format!("run-{number}")).await;
        observer.ended(number + 1, Duration::from_secs(60)).await;
    }
    let requests: Vec<Asked> = asked(stage).await.into_iter().filter(|a| a.namespace == space && a.is_done()).collect();
    // a pod is made, and its last patch has told its end
    let (mut made, mut ended): (HashMap<&str, Timestamp>, HashMap<&str, Timestamp>) = Default::default();
    // a run is made, and the last write of its status is answered
    let (mut begun, mut over): (HashMap<&str, Timestamp>, HashMap<&str, Timestamp>) = Default::default();
    for request in &requests {
        let name = request.name.as_str();
        match (request.resource.as_str(), request.verb.as_str()) {
            ("pods", "create") => drop(made.insert(name, request.at)),
            ("pods/status", "patch") => drop(ended.insert(name, request.answered)),
            ("workflowruns", "create") => drop(begun.insert(name, request.at)),
            ("workflowruns/status", "update") => drop(over.insert(name, request.answered)),
            _ => {}
        }
    }
    let ms = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1000.0;
    let (mut gaps, mut beyond) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let run = format!("run-{number}");
        let pods: Vec<String> = (0..STEPS).map(|n| format!("{run}-s{n}-1")).collect();
        let times: Vec<(Timestamp, Timestamp)> = pods.iter().map(|p| (made[p.as_str()], ended[p.as_str()])).collect();
        gaps.extend(times.windows(2).map(|pair| ms(pair[0].1, pair[1].0)));
        let own: f64 = times.iter().map(|(made, ended)| ms(*made, *ended)).sum();
        beyond.push(ms(begun[run.as_str()], over[run.as_str()]) - own);
    }
    let name = format!("chain of {STEPS} pods, idle plane");
    figures.at_most(&format!("{name}: end of a pod to the next, p50"), quantile(&mut gaps, 0.5), "ms", 10.0);
    figures.at_most(&format!("{name}: end of a pod to the next, p99"), quantile(&mut gaps, 0.99), "ms", 50.0);
    figures.at_most(&format!("{name}: run beyond its pods' time, p50"), quantile(&mut beyond, 0.5), "ms", 60.0);
    stage.remove_namespace(&space);
    operator.stop().await;
}
