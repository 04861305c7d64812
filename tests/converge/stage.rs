//! The stage of one test: a simulated API server with medley's kinds, a world around it, and operators to start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use harness::simulated::{ApiServer, Builder, Definition, Record, Tape};
use jiff::SignedDuration;
use k8s_openapi::{
    NamespaceResourceScope, api::events::v1::Event as NewsEvent,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use medley::{
    api::{MedicalService, Workflow, WorkflowRun, WorkflowRunStatus, schema::crds, workflow_run::RunPhase},
    cluster::{clock::Clock, leader},
    operator::{self, Operator, Settings},
    telemetry::Metrics,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    follows::{goes_back, mask},
    world::{Network, World},
};

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "radiology";

/// One test's cluster.
pub(crate) struct Stage {
    pub(crate) server: ApiServer,
    pub(crate) world: Arc<World>,
    history: Mutex<History>,
}

/// Every version of every run.
struct History {
    tape: Tape,
    versions: Vec<WorkflowRun>,
}

/// An operator at work.
pub(crate) struct Started {
    pub(crate) metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Started {
    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Whether its task is over, be it that it was killed or that it panicked.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

/// The kinds as the server of the simulation can hold them. Its engine has neither `dyn`, which only the type checker of a
/// real server needs, nor the macro of the one rule about the order of steps; the schema's own test holds both on that.
fn kinds() -> Vec<Definition> {
    static KINDS: OnceLock<Vec<Definition>> = OnceLock::new();
    let simplify = |crd: &CustomResourceDefinition| {
        let mut value = serde_json::to_value(crd).unwrap();
        simplified(&mut value);
        Definition::new(&serde_json::from_value(value).unwrap()).unwrap()
    };
    KINDS.get_or_init(|| crds().iter().map(simplify).collect()).clone()
}

fn simplified(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(rules)) = map.get_mut("x-kubernetes-validations") {
                rules.retain(|r| !r["rule"].as_str().unwrap().contains("transformMapEntry"));
            }
            map.values_mut().for_each(simplified);
        }
        Value::Array(items) => items.iter_mut().for_each(simplified),
        _ => {}
    }
}

impl Stage {
    /// An empty cluster.
    pub(crate) fn new() -> Self {
        Self::on(ApiServer::builder())
    }

    /// An empty cluster whose server keeps no owners of what is written without server-side apply: for thousands of clusters.
    pub(crate) fn one_of_thousands() -> Self {
        Self::on(ApiServer::builder().owners_of_updates(false))
    }

    fn on(server: Builder) -> Self {
        let server = server.definitions(kinds()).build();
        let world = Arc::new(World::default());
        server.set_faults({
            let world = Arc::clone(&world);
            move |call| world.fate_of(call)
        });
        tokio::spawn(super::kubelet::run(Arc::clone(&world), server.clone()));
        tokio::spawn(super::jobs::controller(Arc::clone(&world), server.clone()));
        let history = Mutex::new(History { tape: server.tape("WorkflowRun"), versions: Vec::new() });
        Self { server, world, history }
    }

    /// Starts an operator: its name is its user and its identity.
    pub(crate) fn start(&self, name: &str) -> Started {
        self.start_with(name, SignedDuration::ZERO, Duration::from_secs(15))
    }

    /// Starts an operator whose clock is wrong by `skew` and which tells others that it keeps the lease for `lease`; it believes
    /// to keep it for 10 s whatever it tells.
    pub(crate) fn start_with(&self, name: &str, skew: SignedDuration, lease: Duration) -> Started {
        let network = Network { world: Arc::clone(&self.world), operator: name.to_owned() };
        let settings = Settings {
            namespaces: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            workers: 4,
            pools: true,
            guard: Arc::default(),
            mirrors: Default::default(),
            lease: leader::Settings {
                namespace: "medley".to_owned(),
                name: "medley".to_owned(),
                identity: name.to_owned(),
                duration: lease,
                renew_deadline: Duration::from_secs(10),
                retry_period: Duration::from_secs(2),
            },
        };
        let world = operator::World {
            client: self.server.client_as(name),
            calls: network.clone(),
            signals: self.world.readings.source(&self.world),
            probes: network.clone(),
            lookups: network,
            clock: Clock::simulated(self.server.now() + skew),
        };
        let metrics = Metrics::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(Operator::new(settings, world, metrics.clone()).run(stop.clone()));
        self.world.started(name, task.abort_handle());
        Started { metrics, stop, task }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.server.client_as("somebody"), NAMESPACE)
    }

    pub(crate) async fn create<K>(&self, name: &str, spec: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Serialize
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
        }))
        .unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// A service outside the cluster, one HTTP interface, probed every 5 s: out after 3 failures, in after 1 success.
    pub(crate) async fn service(&self, name: &str, hosts: &[&str]) {
        self.bounded_service(name, hosts, Value::Null).await;
    }

    /// The same, with so much capacity.
    pub(crate) async fn bounded_service(&self, name: &str, hosts: &[&str], capacity: Value) {
        let endpoints: Vec<Value> = hosts.iter().map(|h| json!({"host": h})).collect();
        let probe = json!({"level": "Transport", "interval": "5s", "timeout": "2s", "failureThreshold": 3, "successThreshold": 1});
        let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP", "probe": probe});
        let mut spec = json!({"external": {"endpoints": endpoints}, "interfaces": [interface]});
        if !capacity.is_null() {
            spec["capacity"] = capacity;
        }
        self.create::<MedicalService>(name, spec).await;
    }

    /// A service of two pods that medley runs.
    pub(crate) async fn workload(&self, name: &str) {
        let interface = json!({"name": "http", "port": 8080, "protocol": "HTTP"});
        let spec = json!({"workload": {"image": "localhost/viewer:1", "replicas": 2}, "interfaces": [interface]});
        self.create::<MedicalService>(name, spec).await;
    }

    /// A workflow of these steps.
    pub(crate) async fn workflow(&self, name: &str, steps: impl IntoIterator<Item = Value>) {
        let steps: Vec<Value> = steps.into_iter().collect();
        self.create::<Workflow>(name, json!({ "steps": steps })).await;
    }

    /// A workflow of these steps that makes a run of itself.
    pub(crate) async fn workflow_on_apply(&self, name: &str, steps: impl IntoIterator<Item = Value>) {
        let steps: Vec<Value> = steps.into_iter().collect();
        self.create::<Workflow>(name, json!({ "steps": steps, "start": "OnApply" })).await;
    }

    /// A run of a workflow.
    pub(crate) async fn run(&self, name: &str, workflow: &str) {
        self.create::<WorkflowRun>(name, json!({ "workflow": workflow })).await;
    }

    /// A workflow with this spec.
    pub(crate) async fn workflow_with(&self, name: &str, spec: Value) {
        self.create::<Workflow>(name, spec).await;
    }

    /// A run with this spec.
    pub(crate) async fn run_with(&self, name: &str, spec: Value) {
        self.create::<WorkflowRun>(name, spec).await;
    }

    /// Sets `spec.cancel`.
    pub(crate) async fn cancel(&self, run: &str) {
        self.set(run, json!({"cancel": true})).await;
    }

    /// Changes a run's spec.
    pub(crate) async fn set(&self, run: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api::<WorkflowRun>().patch(run, &PatchParams::default(), &patch).await.unwrap();
    }

    /// As [`Self::set`]; what the server says.
    pub(crate) async fn try_set(&self, run: &str, spec: Value) -> kube::Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api::<WorkflowRun>().patch(run, &PatchParams::default(), &patch).await.map(drop)
    }

    /// Writes a run's status as somebody else; what the server says.
    pub(crate) async fn write_status(&self, run: &WorkflowRun) -> kube::Result<WorkflowRun> {
        let name = run.metadata.name.clone().unwrap();
        self.api::<WorkflowRun>().replace_status(&name, &PostParams::default(), run).await
    }

    fn history<T>(&self, look: impl FnOnce(&[WorkflowRun]) -> T) -> T {
        let History { tape, versions } = &mut *self.history.lock().unwrap();
        while let Some(version) = tape.try_next() {
            if !version.deleted {
                versions.push(serde_json::from_value(version.object().clone()).unwrap());
            }
        }
        look(versions)
    }

    /// All versions of a run's status.
    pub(crate) fn history_of(&self, run: &str) -> Vec<medley::api::WorkflowRunStatus> {
        self.history(|all| {
            let of_run = all.iter().filter(|r| r.metadata.name.as_deref() == Some(run));
            of_run.filter_map(|r| r.status.clone()).collect()
        })
    }

    /// Shows every version of every run, in order.
    pub(crate) fn each_version(&self, mut look: impl FnMut(&WorkflowRun)) {
        self.history(|all| all.iter().for_each(&mut look));
    }

    /// A run as stored.
    pub(crate) fn stored(&self, run: &str) -> WorkflowRun {
        let value =
            self.server.object("WorkflowRun", NAMESPACE, run).unwrap_or_else(|| panic!("there is no run {run}"));
        serde_json::from_value(value).unwrap()
    }

    /// The phase of a run.
    pub(crate) fn phase(&self, run: &str) -> Option<RunPhase> {
        self.stored(run).status.and_then(|s| s.phase)
    }

    /// A step of a run, as JSON; null while it has no status.
    pub(crate) fn step(&self, run: &str, step: &str) -> Value {
        self.server.object("WorkflowRun", NAMESPACE, run).unwrap()["status"]["steps"][step].clone()
    }

    /// The reason of a run's condition `Succeeded`.
    pub(crate) fn reason(&self, run: &str) -> String {
        let conditions = self.stored(run).status.unwrap_or_default().conditions;
        conditions.iter().find(|c| c.type_ == "Succeeded").map(|c| c.reason.clone()).unwrap_or_default()
    }

    /// Message of a run's condition `Succeeded`.
    pub(crate) fn message(&self, run: &str) -> String {
        let conditions = self.stored(run).status.unwrap_or_default().conditions;
        conditions.iter().find(|c| c.type_ == "Succeeded").map(|c| c.message.clone()).unwrap_or_default()
    }

    /// Status and reason of a run's condition; empty when it is absent.
    pub(crate) fn condition(&self, run: &str, type_: &str) -> String {
        let conditions = self.stored(run).status.unwrap_or_default().conditions;
        let found = conditions.iter().find(|c| c.type_ == type_);
        found.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
    }

    /// Waits for a condition, at most this long in virtual time.
    pub(crate) async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + within;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < end, "not within {within:?}: {what}; runs: {:#?}", self.runs());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a run is in a final phase, at most ten minutes.
    pub(crate) async fn ended(&self, run: &str) -> RunPhase {
        self.ended_within(run, 600).await
    }

    /// Waits until a run is in a final phase, at most so many seconds.
    pub(crate) async fn ended_within(&self, run: &str, seconds: u64) -> RunPhase {
        let over = |s: &Self| s.phase(run).is_some_and(RunPhase::is_final);
        self.until(&format!("run {run} ends"), Duration::from_secs(seconds), over).await;
        self.phase(run).unwrap()
    }

    /// Lets a minute pass: what was delayed arrives, what could go wrong afterwards does.
    pub(crate) async fn rest(&self) {
        sleep(Duration::from_secs(60)).await;
    }

    fn runs(&self) -> Vec<Value> {
        self.server.objects("WorkflowRun").iter().map(|r| r["status"].clone()).collect()
    }

    /// What was told about objects, as `<reason> <note>`.
    pub(crate) async fn events(&self) -> Vec<String> {
        let all = self.api::<NewsEvent>().list(&ListParams::default()).await.unwrap().items;
        all.into_iter().map(|e| format!("{} {}", e.reason.unwrap_or_default(), e.note.unwrap_or_default())).collect()
    }

    /// Calls that an operator made, in order.
    pub(crate) fn calls_of(&self, operator: &str) -> Vec<Record> {
        self.server.calls().into_iter().filter(|r| r.call.user == operator).collect()
    }

    /// Status writes of runs that took effect.
    pub(crate) fn status_writes(&self) -> usize {
        let is_one = |r: &Record| r.call.resource == "workflowruns" && r.call.subresource == "status" && r.changed;
        self.server.calls().iter().filter(|r| is_one(r)).count()
    }

    /// Names of pods that were created, in order.
    pub(crate) fn pods_created(&self) -> Vec<String> {
        let is_one = |r: &Record| r.call.resource == "pods" && r.call.verb == "create" && r.changed;
        self.server.calls().iter().filter(|r| is_one(r)).map(|r| r.call.name.clone()).collect()
    }

    /// What is left in the cluster, without what depends on the way there: moments, versions,
    /// generations, UIDs and epochs.
    pub(crate) fn end_state(&self) -> Value {
        let kinds = [
            "WorkflowRun",
            "Workflow",
            "MedicalService",
            "Pod",
            "PersistentVolumeClaim",
            "Service",
            "EndpointSlice",
            "ControllerRevision",
        ];
        let mut state = json!(
            kinds.iter().map(|k| ((*k).to_owned(), json!(self.server.objects(k)))).collect::<serde_json::Map<_, _>>()
        );
        mask(&mut state);
        state
    }

    /// Fails unless every status that there ever was follows from the one before: phases move forward only, final ones stay,
    /// attempts and epochs never decrease.
    pub(crate) fn assert_monotone(&self) {
        self.history(|all| {
            assert!(!all.is_empty(), "no run was seen");
            let mut last: HashMap<Option<&str>, &WorkflowRunStatus> = HashMap::new();
            for run in all {
                let Some(after) = &run.status else { continue };
                if let Some(before) = last.insert(run.metadata.uid.as_deref(), after)
                    && let Some(problem) = goes_back(before, after)
                {
                    panic!("{problem}: {before:#?} then {after:#?}");
                }
            }
        });
    }
}
