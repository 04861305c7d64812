//! What the operator costs when there is much to look after and nothing to do.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::{Api, api::PostParams};
use medley::api::{MedicalService, WorkflowRun, WorkflowRunSpec};
use serde_json::json;

use crate::{
    common::{
        figures::Figures,
        link::{ADDRESS, Link},
        processor,
    },
    support::{operator::Operator, stage::Stage, until},
};

const RUNS: usize = 2000;
const SERVICES: usize = 200;
const WATCHED: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(300);

/// 2,000 runs that wait for a day and 200 services outside the cluster that are probed every 10 s.
pub(crate) async fn cost(stage: &Stage, link: &Result<Link, String>, figures: &mut Figures) {
    let name = format!("{RUNS} waiting runs, {SERVICES} services");
    if let Err(reason) = link {
        return figures.skipped(&name, reason);
    }
    let listener = tokio::net::TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            // a probe only connects
            drop(listener.accept().await.unwrap());
        }
    });
    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("bench-idle");
    stage.apply(
        &space,
        "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: day}, spec: {steps: [{name: wait, wait: {for: 24h}}]}}",
    );
    stage.ready(&space, "mwf/day");
    let services: Api<MedicalService> = Api::namespaced(stage.client.clone(), &space);
    let runs = stage.runs(&space);
    let made = stream::iter(0..SERVICES).map(|number| {
        let service: MedicalService = serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": format!("peer-{number}") },
            "spec": { "external": { "endpoints": [{ "host": ADDRESS }] },
                      "interfaces": [{ "name": "dicom", "port": port, "protocol": "DICOM",
                                       "probe": { "level": "Transport", "interval": "10s", "timeout": "1s" } }] }
        }))
        .unwrap();
        let services = &services;
        async move { services.create(&PostParams::default(), &service).await.unwrap() }
    });
    made.buffer_unordered(8).collect::<Vec<_>>().await;
    let made = stream::iter(0..RUNS).map(|number| {
        let run = WorkflowRun::new(
            &format!("run-{number}"),
            WorkflowRunSpec { workflow: "day".to_owned(), ..Default::default() },
        );
        let runs = &runs;
        async move { runs.create(&PostParams::default(), &run).await.unwrap() }
    });
    made.buffer_unordered(8).collect::<Vec<_>>().await;
    until("all runs wait", LIMIT, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = runs.list(&Default::default()).await.unwrap().items;
        waiting
            .iter()
            .all(|r| r.status.as_ref().is_some_and(|s| s.steps.values().any(|s| s.wake_at.is_some())))
            .then_some(())
    })
    .await;
    let mut last = -1.0;
    // idle: no look at anything for as long as a probe and the workflow's summary take
    until("the operator is idle", LIMIT, async || {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let now = looks(&operator).await;
        (now - std::mem::replace(&mut last, now) < 20.0).then_some(())
    })
    .await;
    let (before, begun) = (looks(&operator).await, processor::seconds(operator.pid()));
    tokio::time::sleep(WATCHED).await;
    let (after, ended) = (looks(&operator).await, processor::seconds(operator.pid()));
    figures.add(&format!("{name}: resident memory"), processor::resident_mib(operator.pid()), "MiB");
    figures.at_most(
        &format!("{name}: processor, idle"),
        (ended - begun) / WATCHED.as_secs_f64() * 100.0,
        "% core",
        1.0,
    );
    let minutes = WATCHED.as_secs_f64() / 60.0;
    figures.at_most(
        &format!("{name}: looks, idle"),
        (after - before) / minutes,
        "a minute",
        (RUNS + SERVICES + 1) as f64,
    );
    stage.remove_namespace(&space);
    operator.stop().await;
    serving.abort();
}

/// Looks at objects so far.
async fn looks(operator: &Operator) -> f64 {
    operator
        .metrics()
        .await
        .iter()
        .filter(|(name, _)| name.starts_with("medley_reconciles_total"))
        .map(|(_, value)| value)
        .sum()
}
