//! How many writes a run costs.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};

use crate::support::{
    operator::Operator,
    requests::{Asked, asked},
    stage::Stage,
};

const RUNS: usize = 100;
/// Runs under way together: where everything waits for a processor, the end of a pod is heard of late, and that it runs is
/// told meanwhile.
const TOGETHER: usize = 10;

/// Each of 100 runs: one pod made, two writes of its status, a third only when its pod ran for a second or longer.
pub(crate) async fn of_a_run_with_one_pod(stage: &Stage, operator: &Operator) {
    let space = stage.namespace("writes");
    stage.one_pod_workflow(&space, "one-pod");
    let mut runs = Vec::new();
    for first in (0..RUNS).step_by(TOGETHER) {
        for number in first..first + TOGETHER {
            stage.start_run(&space, "one-pod", &format!("run-{number}")).await;
        }
        runs = stage.all_succeed(&space, first + TOGETHER, Duration::from_secs(60)).await;
    }
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &space);
    let pods = pods.list(&ListParams::default()).await.unwrap().items;
    let requests = asked(stage).await;
    let times = ran(&requests, &space);
    let mut long = BTreeMap::new();
    for pod in &pods {
        let run = pod.labels()["medley.health/run"].clone();
        let ran = times[&pod.name_any()];
        assert!(long.insert(run, ran > SignedDuration::from_secs(1)).is_none(), "a second pod: {}", pod.name_any());
    }
    assert_eq!(long.len(), RUNS);

    let mut writes: BTreeMap<(String, String), BTreeMap<String, usize>> = BTreeMap::new();
    for write in requests.iter().filter(|a| a.user == operator.user && a.namespace == space && a.is_write()) {
        // refused ones count too: they cost the API server as much
        *writes
            .entry((write.resource.clone(), write.verb.clone()))
            .or_default()
            .entry(write.name.clone())
            .or_default() += 1;
    }
    let status = &writes[&("workflowruns/status".to_owned(), "update".to_owned())];
    for run in &runs {
        let name = run.name_any();
        let allowed = if long[&name] { 2..=3 } else { 2..=2 };
        assert!(
            allowed.contains(&status[&name]),
            "{name}: {} status writes, allowed are {allowed:?}; all requests for the run and its pod: {:#?}",
            status[&name],
            requests
                .iter()
                .filter(|a| a.namespace == space && a.name.starts_with(&name) && a.is_write())
                .collect::<Vec<_>>()
        );
    }
    let made = &writes[&("pods".to_owned(), "create".to_owned())];
    assert!(made.len() == RUNS && made.values().all(|n| *n == 1), "pods made: {made:?}");
    let other: Vec<_> = writes
        .iter()
        .filter(|((resource, verb), _)| {
            !["events", "workflows/status", "controllerrevisions"].contains(&resource.as_str())
                && !matches!((resource.as_str(), verb.as_str()), ("workflowruns/status", "update") | ("pods", "create"))
        })
        .collect();
    assert!(other.is_empty(), "unexpected writes: {other:?}");
    let total = |n: usize| status.values().filter(|s| **s == n).count();
    println!(
        "          {RUNS} runs: {} pods made; two status writes: {} runs, three: {} runs",
        made.len(),
        total(2),
        total(3)
    );
    for ((resource, verb), names) in &writes {
        println!("          {verb} {resource}: {}", names.values().sum::<usize>());
    }
    stage.remove_namespace(&space);
}

/// How long the node said that each pod of these ran, from the requests that told it: a pod's own times are whole seconds.
fn ran(requests: &[Asked], space: &str) -> BTreeMap<String, SignedDuration> {
    let mut told: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    let of_nodes = requests.iter().filter(|a| a.namespace == space && a.resource == "pods/status" && a.is_done());
    for request in of_nodes {
        let times = told.entry(request.name.clone()).or_insert((request.at, request.answered));
        times.1 = request.answered;
    }
    told.into_iter().map(|(pod, (running, ended))| (pod, ended.duration_since(running))).collect()
}
