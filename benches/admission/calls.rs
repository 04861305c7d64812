//! One service that takes four calls at a time, offered more than it can do: how long a stat call waits, and whether any of the
//! service's time is lost between two calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use kube::api::PostParams;
use medley::api::WorkflowRun;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    common::{
        figures::{Figures, quantile},
        link::{ADDRESS, Link},
        processor::resident_mib,
    },
    support::{operator::Operator, stage::Stage},
};

/// Calls that the service takes at a time.
const AT_A_TIME: u32 = 4;
/// How long each takes: 50 calls a second are then 120 % of what it can do.
const EACH: Duration = Duration::from_millis(96);
const OFFERED: f64 = 50.0;
/// How long calls are offered, and from when on they count: the queue is full of work by then.
const OFFER: Duration = Duration::from_secs(60);
const FROM: Duration = Duration::from_secs(10);

/// What the service has seen: when each call came and went.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Times>>);

type Times = HashMap<String, (Instant, Option<Instant>)>;

async fn work(State(seen): State<Seen>, Path(name): Path<String>) -> &'static str {
    seen.0.lock().unwrap().insert(name.clone(), (Instant::now(), None));
    sleep(EACH).await;
    seen.0.lock().unwrap().entry(name).and_modify(|(_, over)| *over = Some(Instant::now()));
    "{}"
}

/// Routine calls in excess, and one stat call a second.
pub(crate) async fn in_excess(stage: &Stage, figures: &mut Figures) {
    let link = match Link::make() {
        Ok(link) => link,
        Err(reason) => return figures.skipped("call queue", &reason),
    };
    let seen = Seen::default();
    let app = Router::new()
        .route("/health", get(|| async { "well" }))
        .route("/ask/{name}", get(work))
        .with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();

    let operator = Operator::leading(stage, "one").await;
    let space = stage.namespace("calls");
    let service = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": { "name": "peer" }, "spec": {
        "capacity": { "concurrency": AT_A_TIME },
        "external": { "endpoints": [{ "host": ADDRESS }] },
        "interfaces": [{ "name": "http", "port": port, "protocol": "HTTP", "http": { "healthPath": "/health" },
                         "probe": { "level": "Protocol", "interval": "10s" } }] } });
    let step = json!({ "name": "ask", "timeout": "5m", "call": { "service": "peer", "http": { "path": "/ask/$(run.name)" } } });
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "ask" }, "spec": {
        "retention": { "succeeded": 10000 }, "steps": [step] } });
    stage.apply(&space, &service.to_string());
    stage.apply(&space, &workflow.to_string());
    stage.ready(&space, "mwf/ask");
    stage.kubectl(&["wait", "-n", &space, "--for=condition=Reachable", "msvc/peer", "--timeout=30s"]);

    let begun = Instant::now();
    let made: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let offer = |urgency: &'static str, every: Duration| {
        let (runs, made) = (stage.runs(&space), Arc::clone(&made));
        async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0.. {
                ticks.tick().await;
                if begun.elapsed() >= OFFER {
                    break;
                }
                let name = format!("{urgency}-{n}");
                made.lock().unwrap().insert(name.clone(), Instant::now());
                let runs = runs.clone();
                tasks.spawn(async move {
                    let spec = serde_json::from_value(json!({ "workflow": "ask", "urgency": urgency })).unwrap();
                    runs.create(&PostParams::default(), &WorkflowRun::new(&name, spec)).await.unwrap();
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        }
    };
    let memory = async {
        sleep(OFFER / 3).await;
        let early = resident_mib(operator.pid());
        sleep(OFFER / 2).await;
        (early, resident_mib(operator.pid()))
    };
    let every = Duration::from_secs_f64(1.0 / OFFERED);
    let ((), (), (early, late)) = tokio::join!(offer("routine", every), offer("stat", Duration::from_secs(1)), memory);

    let (seen, made) = (seen.0.lock().unwrap().clone(), made.lock().unwrap().clone());
    let window = begun + FROM..begun + OFFER;
    let done = |urgency: &str| {
        let of = seen.iter().filter(|(name, _)| name.starts_with(urgency));
        of.filter(|(_, (_, over))| over.is_some_and(|at| window.contains(&at))).count() as f64
    };
    let mut waits: Vec<f64> = seen
        .iter()
        .filter(|(name, (came, _))| name.starts_with("stat") && window.contains(came))
        .map(|(name, (came, _))| came.duration_since(made[name]).as_secs_f64() * 1000.0)
        .collect();
    let seconds = (OFFER - FROM).as_secs_f64();
    let capacity = f64::from(AT_A_TIME) / EACH.as_secs_f64();
    let (routine, stat) = (done("routine"), done("stat"));
    let of = format!("call queue, {OFFERED} routine calls/s offered to a service of {capacity:.1}/s");
    figures.at_most(
        &format!("{of}: stat run made to its call, p99"),
        quantile(&mut waits, 0.99),
        "ms",
        EACH.as_secs_f64() * 1000.0,
    );
    figures.add(&format!("{of}: the same, p50"), quantile(&mut waits, 0.5), "ms");
    figures.add(&format!("{of}: stat calls"), waits.len() as f64, "");
    let share = routine / seconds / (capacity - stat / seconds);
    figures.at_least(&format!("{of}: routine calls done, of what stat leaves"), share * 100.0, "%", 95.0);
    let waiting = made.len() as f64 - seen.len() as f64;
    figures.add(&format!("{of}: runs that wait at the end"), waiting, "");
    figures.add(&format!("{of}: operator's memory after 20 s"), early, "MiB");
    figures.add(&format!("{of}: operator's memory after 50 s"), late, "MiB");
    operator.stop().await;
    server.abort();
    stage.remove_namespace(&space);
    drop(link);
}
