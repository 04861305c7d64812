//! Writes a run, and the time until another replica works.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::{
    common::figures::Figures,
    support::{
        operator::{LEASE, Operator},
        requests::asked,
        stage::Stage,
        until,
    },
};

const RUNS: usize = 100;
/// Runs that are under way together.
const TOGETHER: usize = 10;
const KILLS: usize = 5;

/// 100 runs of one pod.
pub(crate) async fn writes(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("bench-writes");
    stage.one_pod_workflow(&space, "one-pod");
    for first in (0..RUNS).step_by(TOGETHER) {
        for number in first..first + TOGETHER {
            stage.start_run(&space, "one-pod", &format!("run-{number}")).await;
        }
        stage.all_succeed(&space, first + TOGETHER, Duration::from_secs(60)).await;
    }
    let requests = asked(stage).await;
    let count = |resource: &str| {
        let counts = |a: &&crate::support::requests::Asked| {
            a.user == operator.user && a.namespace == space && a.is_write() && a.resource == resource
        };
        requests.iter().filter(counts).count() as f64 / RUNS as f64
    };
    figures.at_most("one-pod run: pods made", count("pods"), "a run", 1.0);
    figures.at_most("one-pod run: status writes", count("workflowruns/status"), "a run", 2.0);
    stage.remove_namespace(&space);
    operator.stop().await;
}

/// The leader is killed several times.
pub(crate) async fn takeover(stage: &Stage, figures: &mut Figures) {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), stage.home());
    let mut times = Vec::new();
    let (mut leader, mut names) = (Operator::leading(stage, "one").await, ("one", "two"));
    for _ in 0..KILLS {
        let other = Operator::start(stage, names.1).await;
        // a replica waits from when it has first seen the lease
        tokio::time::sleep(LEASE / 2).await;
        leader.kill();
        let begun = Instant::now();
        until("the other replica holds the lease", LEASE * 4, async || {
            let holder = leases.get(stage.lease()).await.unwrap().spec.unwrap().holder_identity?;
            other.holds(&holder).then_some(())
        })
        .await;
        times.push(begun.elapsed().as_secs_f64());
        (leader, names) = (other, (names.1, names.0));
    }
    leader.stop().await;
    let limit = LEASE.as_secs_f64() + 2.0;
    let worst = times.iter().copied().fold(0.0, f64::max);
    figures.at_most(
        &format!("takeover after SIGKILL, lease {} s: longest of {KILLS}", LEASE.as_secs()),
        worst,
        "s",
        limit,
    );
}
