//! The load of Kueue's own performance test (test/performance/scheduler, configuration "baseline"): five pools of six queues each,
//! 20 units a queue that may borrow 100 more, and for each queue 350 small, 100 medium and 50 large demands that come in time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use medley::api::{WorkflowRun, workflow_run::RunPhase};
use serde_json::json;

use super::{
    bare::{TOGETHER, Template, create},
    common::{figures::Figures, processor},
    policy, pool, share,
    support::{operator::Operator, requests::asked, stage::Stage},
};

const POOLS: usize = 5;
const QUEUES: usize = 6;
/// Runs of the bare loop: its rate is wanted, not its end.
const BARE: usize = 5000;
/// Requests of the loader that may be under way together.
const LOADERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(900);

/// Name, demands of a queue, units and milliseconds of each, milliseconds between two, urgency, and the most seconds that they
/// should take in the mean.
const CLASSES: [(&str, usize, u32, u32, u64, &str, f64); 3] = [
    ("small", 350, 1, 200, 100, "batch", 80.0),
    ("medium", 100, 5, 500, 500, "routine", 30.0),
    ("large", 50, 20, 1000, 1200, "urgent", 10.0),
];

type Times = Arc<Mutex<HashMap<(String, String), Instant>>>;

/// The load, beside a bare loop that writes the same without logic.
pub(crate) async fn of_thirty_queues(stage: &Stage, figures: &mut Figures) {
    let bare = bare_rate(stage, figures).await;
    let operator = Operator::leading(stage, "one").await;
    let mut spaces = Vec::new();
    for p in 0..POOLS {
        let queues: Vec<String> = (0..QUEUES).map(|q| stage.namespace(&format!("q{p}{q}"))).collect();
        let shares: Vec<_> = queues
            .iter()
            .map(|space| {
                let mut share = share(space, 20);
                share["borrowLimit"] = json!({ "units": "100" });
                share
            })
            .collect();
        let name = format!("load-{p}-{}", std::process::id());
        pool(stage, &name, 20 * u32::try_from(QUEUES).unwrap(), &shares);
        for space in &queues {
            policy(stage, space, &name);
            for (class, _, units, millis, _, urgency, _) in CLASSES {
                workflow(stage, space, class, units, millis, urgency);
            }
        }
        spaces.extend(queues);
    }
    for space in &spaces {
        for (class, ..) in CLASSES {
            stage.ready(space, &format!("mwf/{class}"));
        }
    }
    let mut due: Vec<(u64, usize, usize, usize)> = Vec::new();
    for queue in 0..spaces.len() {
        for (class, (_, count, _, _, every, ..)) in CLASSES.iter().enumerate() {
            due.extend((0..*count).map(|n| (n as u64 * every, queue, class, n)));
        }
    }
    due.sort_unstable();
    let all = due.len();
    let (made, ended) = (Times::default(), Times::default());
    let watching = tokio::spawn(observe(Api::all(stage.client.clone()), Arc::clone(&ended), all));
    let (begun, used) = (Instant::now(), Used::now(stage));
    stream::iter(due)
        .for_each_concurrent(LOADERS, |(at, queue, class, n)| {
            let (space, made) = (&spaces[queue], &made);
            async move {
                tokio::time::sleep_until((begun + Duration::from_millis(at)).into()).await;
                let class = CLASSES[class].0;
                let name = format!("{class}-{n}");
                made.lock().unwrap().insert((space.clone(), name.clone()), Instant::now());
                let spec = serde_json::from_value(json!({ "workflow": class })).unwrap();
                stage.runs(space).create(&PostParams::default(), &WorkflowRun::new(&name, spec)).await.unwrap();
            }
        })
        .await;
    let loaded = begun.elapsed();
    tokio::time::timeout(LIMIT, watching).await.unwrap().unwrap();
    let took = begun.elapsed();
    used.tell(stage, figures, "load, medley", all);
    let rss = processor::peak_mib(operator.pid());
    let own = processor::seconds(operator.pid());
    let rate = all as f64 / took.as_secs_f64();
    figures.add("load: bare loop", bare, "runs/s");
    figures.add("load: medley", rate, "runs/s");
    figures.at_least("load: part of the bare loop's rate", rate / bare * 100.0, "%", 80.0);
    figures.add("load: until all were made", loaded.as_secs_f64(), "s");
    figures.at_most("load: until all were done", took.as_secs_f64(), "s", 120.0);
    let (made, ended) = (made.lock().unwrap().clone(), ended.lock().unwrap().clone());
    for (class, count, .., most) in CLASSES {
        let times = made.iter().filter(|((_, name), _)| name.starts_with(class));
        let sum: f64 = times.map(|(key, at)| ended[key].duration_since(*at).as_secs_f64()).sum();
        let mean = sum / (count * spaces.len()) as f64;
        figures.at_most(&format!("load: {class}, from made to done, mean"), mean, "s", most);
    }
    let requests = asked(stage).await;
    let writes = || requests.iter().filter(|a| a.user == operator.user && a.is_write() && a.resource != "leases");
    let of = |resource: &str| writes().filter(|a| a.resource == resource).count() as f64 / all as f64;
    figures.at_most("load: writes of runs", of("workflowruns/status"), "a run", 2.0);
    figures.add("load: writes of workflows and pools", of("workflows/status") + of("capacitypools/status"), "a run");
    figures.add("load: events told", of("events"), "a run");
    figures.at_most("load: operator's resident memory, highest", rss, "MiB", 150.0);
    figures.add("load: operator's processor", own * 1000.0 / all as f64, "ms/run");
    operator.stop().await;
    spaces.iter().for_each(|space| stage.remove_namespace(space));
}

fn workflow(stage: &Stage, space: &str, class: &str, units: u32, millis: u32, urgency: &str) {
    let step =
        json!({ "name": "work", "holds": { "units": units.to_string() }, "wait": { "for": format!("{millis}ms") } });
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": class },
        "spec": { "urgency": urgency, "retention": { "succeeded": 100_000 }, "steps": [step] } });
    stage.apply(space, &workflow.to_string());
}

/// Takes down when runs have ended, until so many have.
async fn observe(runs: Api<WorkflowRun>, ended: Times, count: usize) {
    let mut stream = std::pin::pin!(watcher(runs, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(run) = stream.try_next().await.unwrap() {
        let phase = run.status.as_ref().and_then(|s| s.phase);
        if phase.is_some_and(RunPhase::is_final) && run.name_any() != "learned" {
            assert_eq!(phase, Some(RunPhase::Succeeded), "{}: {:#?}", run.name_any(), run.status);
            let mut ended = ended.lock().unwrap();
            ended.entry((run.namespace().unwrap(), run.name_any())).or_insert_with(Instant::now);
            if ended.len() == count {
                return;
            }
        }
    }
}

/// Runs a second of a loop that makes runs and writes for each what the operator would, as fast as the API server takes it.
async fn bare_rate(stage: &Stage, figures: &mut Figures) -> f64 {
    let space = stage.namespace("bare-load");
    let name = format!("bare-{}", std::process::id());
    pool(stage, &name, 20, &[share(&space, 20)]);
    policy(stage, &space, &name);
    workflow(stage, &space, "small", 1, 200, "batch");
    let template = Template::learn(stage, &space, "small").await;
    let ended = Times::default();
    let watching = tokio::spawn(observe(Api::all(stage.client.clone()), Arc::clone(&ended), BARE));
    let (begun, used) = (Instant::now(), Used::now(stage));
    stream::iter(0..BARE)
        .for_each_concurrent(TOGETHER, |number| {
            let (template, space, runs) = (&template, &space, stage.runs(&space));
            async move {
                let run = create(stage, space, "small", &format!("run-{number}")).await;
                let written = template.write(&runs, run, &template.started).await;
                template.write(&runs, written, &template.ended).await;
            }
        })
        .await;
    tokio::time::timeout(LIMIT, watching).await.unwrap().unwrap();
    used.tell(stage, figures, "load, bare loop", BARE);
    let rate = BARE as f64 / begun.elapsed().as_secs_f64();
    stage.remove_namespace(&space);
    while stage.cluster.kubectl(&["get", "namespace", &space]).is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rate
}

/// Processor time so far: of the API server, of the rest of the control plane, and of this bench with its loader and its observer.
struct Used([f64; 3]);

impl Used {
    fn now(stage: &Stage) -> Self {
        let of = |name: &str| processor::seconds(u32::try_from(stage.cluster.pid(name).unwrap()).unwrap());
        let rest = of("etcd") + of("controller-manager") + of("scheduler");
        Self([of("apiserver"), rest, processor::seconds(std::process::id())])
    }

    fn tell(&self, stage: &Stage, figures: &mut Figures, load: &str, runs: usize) {
        let names = ["API server", "etcd and controllers", "loader and observer"];
        for ((name, now), before) in names.into_iter().zip(Self::now(stage).0).zip(self.0) {
            figures.add(&format!("{load}: processor of {name}"), (now - before) * 1000.0 / runs as f64, "ms/run");
        }
    }
}
