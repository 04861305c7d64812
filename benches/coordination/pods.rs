//! Runs of one pod, thousands at once, beside the bare loop.

use std::time::{Duration, Instant};

use super::{
    bare::{Template, load},
    common::{figures::Figures, observer::Observer, processor},
    support::{operator::Operator, stage::Stage},
};

const RUNS: usize = 5000;
const LIMIT: Duration = Duration::from_secs(900);

/// Runs a minute, and processor time a run, of both.
pub(crate) async fn against_the_bare_loop(stage: &Stage, figures: &mut Figures) {
    let runs = std::env::var("MEDLEY_BENCH_RUNS").ok().map_or(RUNS, |n| n.parse().unwrap());
    let space = stage.namespace("bench-bare-pods");
    workflow(stage, &space);
    let template = Template::learn(stage, &space, "one-pod").await;
    let bare = {
        let mut observer = Observer::of(stage, &space, false);
        let (begun, used) = (Instant::now(), processor::of_all(stage, None));
        template.drive_pods(stage, &space, "one-pod", runs).await;
        observer.ended(runs + 1, LIMIT).await;
        Cost { took: begun.elapsed(), used: processor::of_all(stage, None) - used }
    };
    stage.remove_namespace(&space);
    gone(stage, &space).await;

    let space = stage.namespace("bench-pods");
    let operator = Operator::leading(stage, "one").await;
    workflow(stage, &space);
    stage.ready(&space, "mwf/one-pod");
    let medley = {
        let mut observer = Observer::of(stage, &space, false);
        let (begun, used) = (Instant::now(), processor::of_all(stage, Some(operator.pid())));
        let own = processor::seconds(operator.pid());
        load(stage, &space, "one-pod", runs).await;
        observer.ended(runs, LIMIT).await;
        let cost = Cost { took: begun.elapsed(), used: processor::of_all(stage, Some(operator.pid())) - used };
        let own = (processor::seconds(operator.pid()) - own) * 1000.0 / runs as f64;
        figures.add(&format!("{runs} one-pod runs: operator's own processor"), own, "ms/run");
        cost
    };
    stage.remove_namespace(&space);
    gone(stage, &space).await;
    operator.stop().await;
    tell(figures, &format!("{runs} one-pod runs"), runs, &bare, &medley);
}

/// What a load cost.
pub(crate) struct Cost {
    pub(crate) took: Duration,
    pub(crate) used: f64,
}

/// Both beside each other.
pub(crate) fn tell(figures: &mut Figures, name: &str, runs: usize, bare: &Cost, medley: &Cost) {
    let a_minute = |c: &Cost| runs as f64 * 60.0 / c.took.as_secs_f64();
    let a_run = |c: &Cost| c.used * 1000.0 / runs as f64;
    figures.add(&format!("{name}, bare loop"), a_minute(bare), "runs/min");
    figures.add(&format!("{name}, medley"), a_minute(medley), "runs/min");
    figures.at_least(&format!("{name}: part of the bare loop's"), a_minute(medley) / a_minute(bare) * 100.0, "%", 80.0);
    figures.add(&format!("{name}, bare loop: processor of all"), a_run(bare), "ms/run");
    figures.add(&format!("{name}, medley: processor of all"), a_run(medley), "ms/run");
    figures.at_most(&format!("{name}: processor, times the bare loop's"), a_run(medley) / a_run(bare), "x", 1.25);
}

fn workflow(stage: &Stage, space: &str) {
    // no run is removed while others are measured
    stage.apply(
        space,
        "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: one-pod}, spec: {retention: {succeeded: 10000}, steps: [{name: work, container: {image: fake}}]}}",
    );
}

/// Waits until a namespace has gone: what is removed costs the control plane as much as what is made.
pub(crate) async fn gone(stage: &Stage, space: &str) {
    let begun = Instant::now();
    while stage.cluster.kubectl(&["get", "namespace", space]).is_ok() {
        assert!(begun.elapsed() < LIMIT, "{space} does not go away");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
