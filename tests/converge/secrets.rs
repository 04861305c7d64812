//! Does a sensitive value stay where it is: in its Secret, for the kubelet alone to read?

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use medley::{
    api::{WorkflowSpec, workflow_run::RunPhase},
    core::coordination::Definition,
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{child, container},
    undisturbed::prepared_with,
    world::waits,
};

const CANARY: &str = "CANARY-5f3a";

/// A container whose variable TOKEN is the sensitive parameter.
fn reader(name: &str) -> Value {
    let mut step = container(name).step();
    step["container"]["env"] =
        json!([{"name": "USER", "value": "tool"}, {"name": "TOKEN", "value": "$( params.token )"}]);
    step["container"]["args"] = json!(["--header=Bearer $(TOKEN)"]);
    step
}

fn token() -> Value {
    json!([{"name": "token", "type": "String", "sensitive": true, "required": true}])
}

fn reference() -> Value {
    json!({"token": {"secret": "archive-access", "key": "token"}})
}

/// Everything that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Writes down all that this thread logs.
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What medley wrote into the cluster: statuses, events and pods.
async fn told(stage: &Stage) -> String {
    let mut all: Vec<Value> = stage.server.objects("WorkflowRun").iter().map(|r| r["status"].clone()).collect();
    all.extend(stage.server.objects("Workflow").iter().map(|w| w["status"].clone()));
    all.push(json!(stage.events().await));
    for kind in ["Pod", "ControllerRevision"] {
        all.extend(stage.server.objects(kind));
    }
    json!(all).to_string()
}

async fn stage_with(spec: Value) -> Stage {
    let stage = prepared_with(spec).await;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "archive-access", "namespace": NAMESPACE}, "stringData": {"token": CANARY},
    }))
    .unwrap();
    let api = Api::<Secret>::namespaced(stage.server.client_as("somebody"), NAMESPACE);
    api.create(&PostParams::default(), &secret).await.unwrap();
    stage
}

#[tokio::test(start_paused = true)]
async fn the_pod_names_the_secret_and_the_operator_never_reads_it() {
    let (log, _guard) = Log::begin();
    let stage = stage_with(json!({
        "parameters": token(),
        "steps": [
            reader("read"),
            child("deeper", "inner", json!([{"name": "access", "value": "params.token"}])).step(),
        ],
    }))
    .await;
    let mut inner = reader("inside");
    inner["container"]["env"][1]["value"] = json!("$(params[\"access\"])");
    let access = json!([{"name": "access", "type": "String", "sensitive": true}]);
    stage.workflow_with("inner", json!({"parameters": access, "steps": [inner]})).await;
    stage.run_with("r1", json!({"workflow": "ct", "parameters": reference()})).await;
    let operator = stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    let pods = stage.server.objects("Pod");
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let container = &pod["spec"]["containers"][0];
        let from = json!({"secretKeyRef": {"name": "archive-access", "key": "token", "optional": false}});
        assert_eq!(container["env"], json!([{"name": "USER", "value": "tool"}, {"name": "TOKEN", "valueFrom": from}]));
        assert_eq!(container["args"], json!(["--header=Bearer $(TOKEN)"]), "the kubelet's to fill in");
    }
    assert!(stage.calls_of("op-1").iter().all(|r| r.call.resource != "secrets"));
    assert!(log.text().contains("this process leads"), "the log is recorded");
    for place in [told(&stage).await, log.text(), operator.metrics.render()] {
        assert!(!place.contains(CANARY));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_in_the_place_of_a_reference_is_refused_and_not_repeated() {
    let (log, _guard) = Log::begin();
    let stage = stage_with(json!({"parameters": token(), "steps": [reader("read")]})).await;
    for (run, value) in
        [("r1", json!(CANARY)), ("r2", json!({"secret": CANARY, "key": CANARY})), ("r3", json!({CANARY: 1}))]
    {
        stage.run_with(run, json!({"workflow": "ct", "parameters": {"token": value}})).await;
    }
    stage.run("r4", "ct").await;
    let operator = stage.start("op-1");
    for run in ["r1", "r2", "r3", "r4"] {
        assert_eq!((stage.ended(run).await, stage.reason(run).as_str()), (RunPhase::Failed, "InvalidParameters"));
        let message = stage.message(run);
        assert!(message.starts_with("spec.parameters.token: is "), "{message}");
    }
    stage.rest().await;
    assert!(stage.events().await.iter().any(|e| e.contains("spec.parameters.token")) && !log.text().is_empty());
    for place in [told(&stage).await, log.text(), operator.metrics.render()] {
        assert!(!place.contains(CANARY), "{place}");
    }
    assert_eq!(stage.pods_created(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_given_is_left_out() {
    let mut optional = token();
    optional[0]["required"] = json!(false);
    let stage = stage_with(json!({"parameters": optional, "steps": [reader("read")]})).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let pod = &stage.server.objects("Pod")[0];
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([{"name": "USER", "value": "tool"}]));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_there_is_named() {
    let stage = prepared_with(json!({"parameters": token(), "steps": [reader("read")]})).await;
    stage.world.fates("read", [waits("CreateContainerConfigError")]);
    stage.run_with("r1", json!({"workflow": "ct", "parameters": reference()})).await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let step = stage.step("r1", "read");
    assert_eq!(step["reason"], "PodNotStarted");
    assert_eq!(
        step["message"],
        "the kubelet cannot start the container: CreateContainerConfigError; it needs key `token` of Secret `archive-access`: are they there?"
    );
    stage.until("its pod is gone", Duration::from_secs(60), |s| s.server.objects("Pod").is_empty()).await;
}

/// Where a sensitive parameter may not be, and with which field that is told.
#[test]
fn every_other_use_is_refused() {
    let call = |http: Value| json!({"name": "a", "call": {"service": "archive", "http": http}});
    let container = |field: &str, value: Value| json!({"name": "a", "container": {"image": "i", field: value}});
    let wait = || json!({"name": "a", "wait": {"for": "1s"}});
    let with = |mut step: Value, field: &str, value: Value| {
        step[field] = value;
        step
    };
    let env = |value: &str| container("env", json!([{"name": "T", "value": value}]));
    let inner =
        |value: &str| json!({"name": "a", "workflow": {"name": "w", "parameters": [{"name": "t", "value": value}]}});
    let uses = [
        ("steps[0].call.http.path", call(json!({"path": "/$( params.token )"}))),
        (
            "steps[0].call.http.headers[0].value",
            call(json!({"path": "/", "headers": [{"name": "A", "value": "$( params.token )"}]})),
        ),
        ("steps[0].call.http.body", call(json!({"path": "/", "body": "$( params.token )"}))),
        ("steps[0].transform.expression", json!({"name": "a", "transform": {"expression": "params.token"}})),
        ("steps[0].when", with(wait(), "when", json!("has(params.token)"))),
        ("steps[0].when", with(wait(), "when", json!("[1].all(i, params.token == 'x')"))),
        (
            "steps[0].outputs[0].value",
            with(
                call(json!({"path": "/"})),
                "outputs",
                json!([{"name": "o", "type": "String", "value": "params.token"}]),
            ),
        ),
        ("steps[0].container.args[0]", container("args", json!(["$( params.token )"]))),
        ("steps[0].container.command[0]", container("command", json!(["$( params.token )"]))),
        ("steps[0].container.env[0].value", env("Bearer $( params.token )")),
        ("steps[0].container.env[0].value", env("$( params.token + 'x' )")),
        ("steps[0].container.env[0].value", env("$( has(params.token) )")),
        ("steps[0].container.env[0].value", env("$( params.token )$( params.token )")),
        ("steps[0].workflow.parameters[0].value", inner("params.token + 'x'")),
        ("steps[0].workflow.parameters[0].value", inner("{'t': params.token}")),
        (
            "steps[0].compensate.call.http.path",
            with(wait(), "compensate", json!({"call": {"service": "a", "http": {"path": "/$( params.token )"}}})),
        ),
    ];
    let faults = |spec: Value| -> Vec<String> {
        let spec: WorkflowSpec = serde_json::from_value(spec).unwrap();
        Definition::parse(&spec).map(|_| ()).unwrap_err().iter().map(ToString::to_string).collect()
    };
    let refused = "is sensitive: it may only be the whole value of a variable in a container's env";
    for (field, step) in uses {
        let said = faults(json!({"parameters": token(), "steps": [step]}));
        assert!(
            said.iter().any(|f| f.starts_with(&format!("spec.{field}: ")) && f.contains(refused)),
            "{field}: {said:?}"
        );
    }
    for (field, more) in [
        ("outputs[0].value", json!({"outputs": [{"name": "o", "value": "params.token"}]})),
        ("concurrency.key", json!({"concurrency": {"limit": 1, "key": "params.token"}})),
        ("finally[0].when", json!({"finally": [{"name": "f", "when": "params.token == ''", "wait": {"for": "1s"}}]})),
    ] {
        let mut spec = json!({"parameters": token(), "steps": [wait()]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let said = faults(spec);
        assert!(
            said.iter().any(|f| f.starts_with(&format!("spec.{field}: ")) && f.contains(refused)),
            "{field}: {said:?}"
        );
    }
    // a way around the name is no way
    let said = faults(
        json!({"parameters": token(), "steps": [{"name": "a", "transform": {"expression": "[params].map(p, p.token)"}}]}),
    );
    assert!(said[0].contains("with the name written out"), "{said:?}");
    for declared in
        [json!({"type": "Object"}), json!({"type": "String", "default": "x"}), json!({"type": "String", "enum": ["x"]})]
    {
        let mut parameter = json!({"name": "token", "sensitive": true});
        parameter.as_object_mut().unwrap().extend(declared.as_object().unwrap().clone());
        let said = faults(json!({"parameters": [parameter], "steps": [wait()]}));
        assert_eq!(said, ["spec.parameters[0]: a sensitive parameter is a String without default and enum"]);
    }
}
