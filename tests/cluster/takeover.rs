//! Two replicas: one works, the other takes over.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt};
use medley::api::{WorkflowRun, workflow_run::RunPhase};
use tokio::task::JoinHandle;

use crate::support::{
    operator::{LEASE, Operator},
    requests::asked,
    stage::Stage,
    until,
};

/// Longest time until another replica leads.
const TAKEOVER: Duration = Duration::from_secs(LEASE.as_secs() + 2);
const LIMIT: Duration = Duration::from_secs(60);

/// SIGKILL: the other leads in time, goes on with the runs, and starts no step a second time.
pub(crate) async fn from_a_killed_leader(stage: &Stage) {
    let space = stage.namespace("killed");
    stage.one_pod_workflow_before_an_operator(&space).await;
    let leader = Operator::leading(stage, "one").await;
    let other = Operator::start(stage, "two").await;
    let feed = Feed::start(stage, &space);
    finished(stage, &space, 20).await;
    let (begun, at) = (Instant::now(), Timestamp::now());
    leader.kill();
    let epoch = taken_over(stage, &other).await;
    let took = begun.elapsed();
    assert!(took <= TAKEOVER, "another replica led {took:?} after the leader was killed; allowed are {TAKEOVER:?}");
    until("a run that began after the kill has ended", LIMIT, async || ended_after(stage, &space, at, epoch).await)
        .await;
    let worked = begun.elapsed();
    let count = feed.stop().await;
    let runs = stage.all_succeed(&space, count, LIMIT).await;
    each_step_once(stage, &space, &runs).await;
    println!(
        "          killed: the other led after {:.2} s, a new run had ended after {:.2} s; {count} runs, each step once",
        took.as_secs_f64(),
        worked.as_secs_f64()
    );
    assert!(other.stop().await.success());
    stage.remove_namespace(&space);
}

/// SIGSTOP past the lease, then SIGCONT: nothing that the old leader writes has an effect once another leads.
pub(crate) async fn from_a_stopped_leader(stage: &Stage) {
    let space = stage.namespace("stopped");
    stage.one_pod_workflow_before_an_operator(&space).await;
    let leader = Operator::leading(stage, "one").await;
    let other = Operator::start(stage, "two").await;
    let feed = Feed::start(stage, &space);
    finished(stage, &space, 20).await;
    let stopped = Timestamp::now();
    leader.signal("STOP");
    let begun = Instant::now();
    let epoch = taken_over(stage, &other).await;
    let took = begun.elapsed();
    assert!(took <= TAKEOVER, "another replica led {took:?} after the leader was stopped; allowed are {TAKEOVER:?}");
    // the new leader is busy when the old one wakes up in the middle of its work
    let before = ended(stage, &space, epoch).await;
    until("the new leader has ended runs", LIMIT, async || {
        (ended(stage, &space, epoch).await >= before + 20).then_some(())
    })
    .await;
    let awake = Timestamp::now();
    leader.signal("CONT");
    until("the old leader knows that it does not lead", LIMIT, async || {
        (leader.metric("medley_leader").await == 0.0).then_some(())
    })
    .await;
    // it has seen the lease several times since, with runs going on all the while
    until("the old leader looks at the lease", LIMIT, async || {
        // reading the log costs more than what it tells
        tokio::time::sleep(LEASE / 6).await;
        let looks = asked(stage).await;
        let looks =
            looks.iter().filter(|a| a.user == leader.user && a.resource == "leases" && a.verb == "get" && a.at > awake);
        (looks.count() >= 4).then_some(())
    })
    .await;
    let count = feed.stop().await;
    let runs = stage.all_succeed(&space, count, LIMIT).await;
    each_step_once(stage, &space, &runs).await;

    let requests = asked(stage).await;
    let first = requests
        .iter()
        .filter(|a| a.user == other.user && a.resource == "leases" && a.verb == "update" && a.is_done())
        .map(|a| a.answered)
        // a replica of the scenario before has given the lease back in the second in which this one began
        .filter(|at| *at < awake && *at > stopped)
        .min()
        .unwrap_or_else(|| panic!("the other replica did not take the lease"));
    let late = requests.iter().filter(|a| a.user == leader.user && a.is_write() && !a.is_note() && a.at > first);
    let (done, refused): (Vec<_>, Vec<_>) = late.partition(|a| a.is_done());
    assert!(done.is_empty(), "the old leader wrote after {first}: {done:#?}");
    println!(
        "          stopped: the other led after {:.2} s; the old leader's later writes: 0 done, {} refused; {count} runs, each step once",
        took.as_secs_f64(),
        refused.len()
    );
    assert!(leader.stop().await.success());
    assert!(other.stop().await.success());
    stage.remove_namespace(&space);
}

impl Stage {
    async fn one_pod_workflow_before_an_operator(&self, space: &str) {
        // a workflow is Ready only with an operator, and there is none yet
        self.apply(
            space,
            "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: one-pod}, spec: {steps: [{name: work, container: {image: fake}}]}}",
        );
    }
}

/// Makes runs, one after another, until it is stopped.
struct Feed {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Feed {
    fn start(stage: &Stage, space: &str) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let api = stage.runs(space);
        let task = tokio::spawn({
            let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
            async move {
                let mut pace = tokio::time::interval(Duration::from_millis(100));
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let name = format!("run-{}", made.load(Ordering::Relaxed));
                    let spec = medley::api::WorkflowRunSpec { workflow: "one-pod".to_owned(), ..Default::default() };
                    api.create(&Default::default(), &WorkflowRun::new(&name, spec)).await.unwrap();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, made, task }
    }

    /// Stops; how many runs were made.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.made.load(Ordering::Relaxed)
    }
}

/// Waits until this replica holds the lease; the epoch.
async fn taken_over(stage: &Stage, replica: &Operator) -> i64 {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), stage.home());
    until("the other replica holds the lease", TAKEOVER * 3, async || {
        let spec = leases.get(stage.lease()).await.unwrap().spec.unwrap();
        let holder = spec.holder_identity.filter(|h| !h.is_empty())?;
        replica.holds(&holder).then(|| i64::from(spec.lease_transitions.unwrap()))
    })
    .await
}

async fn finished(stage: &Stage, space: &str, count: usize) {
    until(&format!("{count} runs have ended"), LIMIT, async || (ended(stage, space, 0).await >= count).then_some(()))
        .await;
}

/// How many runs have succeeded with a last write of this epoch or a later one.
async fn ended(stage: &Stage, space: &str, epoch: i64) -> usize {
    let runs = stage.runs(space).list(&Default::default()).await.unwrap().items;
    let counts = |r: &&WorkflowRun| {
        r.status
            .as_ref()
            .is_some_and(|s| s.phase == Some(RunPhase::Succeeded) && s.leader_epoch.is_some_and(|e| e >= epoch))
    };
    runs.iter().filter(counts).count()
}

async fn ended_after(stage: &Stage, space: &str, at: Timestamp, epoch: i64) -> Option<()> {
    let runs = stage.runs(space).list(&Default::default()).await.unwrap().items;
    let counts = |r: &WorkflowRun| {
        let status = r.status.as_ref();
        r.creation_timestamp().is_some_and(|t| t.0 > at)
            && status.is_some_and(|s| s.phase == Some(RunPhase::Succeeded) && s.leader_epoch == Some(epoch))
    };
    runs.iter().any(counts).then_some(())
}

/// One attempt of the step, and one pod ever made for the run.
async fn each_step_once(stage: &Stage, space: &str, runs: &[WorkflowRun]) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for request in asked(stage).await {
        if request.namespace == space && request.resource == "pods" && request.verb == "create" && request.is_done() {
            *made.entry(request.name).or_default() += 1;
        }
    }
    assert_eq!(made.values().sum::<usize>(), runs.len(), "one pod for each run: {made:?}");
    for run in runs {
        let step = &run.status.as_ref().unwrap().steps["work"];
        assert_eq!(step.attempt.unwrap_or(1), 1, "{}: {step:?}", run.name_any());
        assert_eq!(made.get(step.pod.as_ref().unwrap()), Some(&1), "{}: {step:?}", run.name_any());
    }
}
