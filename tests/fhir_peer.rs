//! Do real FHIR servers understand what steps send, and do steps and probes understand their answers? There are two, of different make:
//! fhirstarter in Python (`tests/peers/fhir/server.py`), and HAPI's server library in Java (`tests/peers/hapi`), which is what HAPI's
//! servers with a database answer with, but has none. The decision about a run and the client of calls are the shipped ones; between
//! them stands no API server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "peers/python.rs"]
mod python;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use medley::{
    api::{
        WorkflowRun, WorkflowRunSpec,
        medical_service::EndpointReason,
        vocabulary::{ErrorClass, Protocol},
        workflow_run::{RunPhase, StepPhase},
    },
    core::{
        coordination::{
            Definition, decide,
            outcome::CallOutcome,
            view::{DefinitionView, InterfaceView, ServiceView, View},
        },
        discovery::{
            capability::Facts,
            guard::AddressGuard,
            target::{Endpoint, ProbeKind, ProbeTarget, Probed},
        },
        monitoring::health::{ProbeOutcome, Thresholds},
        registry::{Problem, Record, fhir},
    },
    medical::{
        calls::{CallIo, Network},
        probe::probe,
        tls::Trust,
    },
};
use python::Peer;
use serde_json::{Value, json};

/// A FHIR server, and what is its own.
struct Ehr {
    peer: Peer,
    /// Before every path.
    base: &'static str,
    /// As a service declares it.
    release: &'static str,
    /// As the server states it.
    version: &'static str,
    /// What is told when `ifMatch` names another version: servers differ in the status.
    conflict: &'static str,
}

impl Ehr {
    fn fhirstarter() -> Self {
        let conflict = "another version of the resource than ifMatch says";
        let peer = Peer::start("MEDLEY_FHIR_PYTHON", "fhir/server.py");
        Self { peer, base: "", release: "R4B", version: "4.3.0", conflict }
    }

    fn hapi() -> Self {
        let folder = std::env::var("MEDLEY_HAPI").expect("MEDLEY_HAPI: run `make test-peers`");
        let path = format!("{folder}/classes:{folder}/dependency/*");
        let options = ["-Xmx256m", "-Dslf4j.internal.verbosity=ERROR", "-cp", &path, "Server"];
        let peer = Peer::run(std::process::Command::new("java").args(options));
        let conflict = "another change of the resource is in the way";
        Self { peer, base: "/fhir", release: "R4", version: "4.0.1", conflict }
    }

    fn both() -> [Self; 2] {
        [Self::fhirstarter(), Self::hapi()]
    }

    /// What a probe finds of a service that declares this.
    async fn probed(&self, declared: Value) -> Probed {
        let kind = ProbeKind::Fhir {
            path: format!("{}/metadata", self.base),
            host: "ehr".to_owned(),
            declared: serde_json::from_value(declared).unwrap(),
        };
        let address = self.peer.address;
        let endpoint =
            Endpoint { address: address.ip(), port: address.port(), interface: "fhir".to_owned(), pod: None };
        let thresholds = Thresholds { failures: 3, successes: 1 };
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(10));
        probe(&ProbeTarget { endpoint, kind, tls: None, interval, timeout, thresholds }, &Trust::default()).await
    }

    /// Runs these steps in order, to the end.
    async fn run(&self, steps: &[(&str, Value, Value)]) -> WorkflowRun {
        let loopback = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new(), Vec::new());
        let network = Network::new(Arc::new(loopback), Arc::default()).unwrap();
        let mut before: Vec<&str> = Vec::new();
        let mut list = Vec::new();
        for (name, interaction, outputs) in steps {
            list.push(json!({"name": name, "after": before, "outputs": outputs, "call": {"service": "ehr", "fhir": interaction}}));
            before = vec![name];
        }
        let definition = Definition::parse(&serde_json::from_value(json!({ "steps": list })).unwrap()).unwrap();
        let definition = DefinitionView::Found { revision: "r".to_owned(), definition: Arc::new(definition) };
        let interface = InterfaceView {
            name: "fhir".to_owned(),
            port: 80,
            protocol: Protocol::Fhir,
            base_path: self.base.to_owned(),
            dicom: None,
            tls: None,
            endpoints: vec![self.peer.address],
            limits: Default::default(),
            loads: BTreeMap::new(),
            refused: None,
        };
        let ehr = ServiceView { dns_name: "ehr.radiology.svc".to_owned(), interfaces: vec![interface] };
        let spec = WorkflowRunSpec { workflow: "w".to_owned(), ..WorkflowRunSpec::default() };
        let mut run = WorkflowRun::new("r1", spec);
        run.metadata.namespace = Some("radiology".to_owned());
        run.metadata.uid = Some("u1".to_owned());
        let mut outcomes = BTreeMap::new();
        for _ in 0..50 {
            let view = View {
                run: &run,
                definition: definition.clone(),
                pods: BTreeMap::new(),
                stopping: BTreeSet::new(),
                lost: BTreeSet::new(),
                doubtful: BTreeSet::new(),
                jobs: BTreeMap::new(),
                services: BTreeMap::from([("ehr".to_owned(), ehr.clone())]),
                outcomes: std::mem::take(&mut outcomes),
                in_flight: Vec::new(),
                children: BTreeMap::new(),
                depth: 0,
                unwanted: false,
                rivals: Vec::new(),
                origin: None,
                epoch: 1,
                draining: false,
                scheduling: Default::default(),
                answers: BTreeMap::new(),
                turns: BTreeMap::new(),
                handed_over: BTreeMap::new(),
                refused: None,
                model: None,
                outlook: None,
            };
            let decision = decide(&view, Timestamp::now());
            for call in &decision.start_calls {
                let what = network.call(call).await;
                outcomes.insert(call.attempt.clone(), CallOutcome { at: Timestamp::now(), what, moved: None });
            }
            run.status = decision.status.or(run.status);
            if run.status.as_ref().and_then(|s| s.phase).is_some_and(RunPhase::is_final) {
                return run;
            }
        }
        panic!("the run does not end: {:#?}", run.status);
    }
}

fn output(run: &WorkflowRun, step: &str, name: &str) -> Value {
    run.status.as_ref().unwrap().steps[step].outputs[name].clone()
}

/// A task whose text a careless client would have torn its JSON with.
const TASK: &str = r#"{"resourceType": "Task", "status": "ready", "intent": "order",
    "identifier": [{"system": "urn:medley:test", "value": "a"}], "description": "$( "say \"hi\" \\ {" + run.name + "}" )"}"#;

#[tokio::test]
#[ignore = "needs FHIR servers from PyPI and Maven: make test-peers"]
async fn a_task_is_created_once_found_read_and_replaced() {
    for ehr in Ehr::both() {
        created_once_found_read_and_replaced(&ehr).await;
    }
}

async fn created_once_found_read_and_replaced(ehr: &Ehr) {
    let create =
        json!({"create": {"resource": TASK, "ifNoneExist": [{"name": "identifier", "value": "urn:medley:test|a"}]}});
    let id = json!([{"name": "id", "type": "String", "value": "result.resource.id"}]);
    let version = json!([{"name": "version", "type": "String", "value": "result.resource.meta.versionId"}]);
    let run = ehr
        .run(&[
            ("create", create.clone(), id.clone()),
            ("again", create, id),
            (
                "search",
                json!({"search": {"type": "Task", "parameters": [{"name": "identifier", "value": "urn:medley:test|a"}]}}),
                json!([{"name": "total", "type": "Integer", "value": "result.resource.total"}]),
            ),
            (
                "read",
                json!({"read": {"type": "Task", "id": "$( steps.create.outputs.id )"}}),
                json!([{"name": "version", "type": "String", "value": "result.resource.meta.versionId"},
                    {"name": "text", "type": "String", "value": "result.resource.description"}]),
            ),
            (
                "update",
                json!({"update": {"type": "Task", "id": "$( steps.create.outputs.id )", "resource": TASK,
                    "ifMatch": "$( steps.read.outputs.version )"}}),
                version,
            ),
        ])
        .await;
    assert_eq!(run.status.as_ref().unwrap().phase, Some(RunPhase::Succeeded), "{:#?}", run.status);
    assert_eq!(
        output(&run, "create", "id"),
        output(&run, "again", "id"),
        "the second create found the first one's task"
    );
    assert_eq!(output(&run, "search", "total"), json!(1));
    assert_eq!(output(&run, "read", "text"), json!("say \"hi\" \\ {r1}"));
    assert_eq!((output(&run, "read", "version"), output(&run, "update", "version")), (json!("1"), json!("2")));
}

#[tokio::test]
#[ignore = "needs FHIR servers from PyPI and Maven: make test-peers"]
async fn a_probe_finds_what_the_server_can_do() {
    for ehr in Ehr::both() {
        let interactions = ["read", "create", "update", "search-type"];
        let fits = json!({"version": ehr.release, "resources": [{"type": "Task", "interactions": interactions}]});
        let fits = ehr.probed(fits).await;
        assert_eq!(fits.outcome, ProbeOutcome::Answered, "{}", ehr.release);
        let Some(Facts::Fhir(statement)) = fits.facts else { panic!("{fits:?}") };
        assert_eq!(statement.version, ehr.version);
        for lacking in [
            json!({"version": "R5"}),
            json!({"resources": [{"type": "Task", "interactions": ["delete"]}]}),
            json!({"resources": [{"type": "Patient"}]}),
            json!({"operations": ["$everything"]}),
        ] {
            let found = ehr.probed(lacking.clone()).await;
            assert_eq!(found.outcome, ProbeOutcome::Failed(EndpointReason::CapabilityMismatch), "{lacking}");
        }
    }
}

#[tokio::test]
#[ignore = "needs FHIR servers from PyPI and Maven: make test-peers"]
async fn what_the_server_refuses_is_told_by_its_codes() {
    for ehr in Ehr::both() {
        refusals_are_told_by_their_codes(&ehr).await;
    }
}

async fn refusals_are_told_by_their_codes(ehr: &Ehr) {
    let task = |extra: &str| format!("{{\"resourceType\": \"Task\", \"intent\": \"order\"{extra}}}");
    let update =
        json!({"update": {"type": "Task", "id": "t9", "resource": task(", \"status\": \"ready\""), "ifMatch": "7"}});
    // HAPI tells no finer code of what it does not find
    let none = if ehr.release == "R4" { "HTTP 404 (error " } else { "HTTP 404 (error not-found)" };
    for (interaction, words) in [
        (json!({"read": {"type": "Task", "id": "none"}}), none),
        (json!({"create": {"resource": task(", \"status\": [7]")}}), "HTTP 400 (error "),
        (update, ehr.conflict),
    ] {
        let run = ehr.run(&[("a", interaction.clone(), json!([]))]).await;
        let step = &run.status.as_ref().unwrap().steps["a"];
        assert_eq!(
            (step.phase, step.reason),
            (StepPhase::Failed, Some(ErrorClass::Rejected)),
            "{interaction}: {step:?}"
        );
        let message = step.message.as_deref().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

/// What a library that knows FHIR says of these resources.
fn validated(resources: &[Value]) -> Vec<String> {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let python = std::env::var("MEDLEY_FHIR_PYTHON").expect("run `make test-peers`");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/fhir/validate.py");
    let mut child = Command::new(python)
        .args(["-W", "ignore", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = resources.iter().map(|r| format!("{r}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a FHIR library from PyPI: make test-peers"]
fn what_the_registry_tells_is_fhir() {
    let service = json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "ehr", "namespace": "radiology"},
        "spec": {"select": {"matchLabels": {"app": "ehr"}}, "interfaces": [
            {"name": "fhir", "port": 80, "protocol": "FHIR", "fhir": {"basePath": "/fhir"}},
            {"name": "dicom", "port": 104, "protocol": "DICOM"}, {"name": "web", "port": 81, "protocol": "DICOMweb"},
            {"name": "adt", "port": 2575, "protocol": "HL7v2"}, {"name": "grpc", "port": 82, "protocol": "GRPC"}]},
        "status": {"ready": 1, "total": 1, "endpoints": [{"address": "10.0.0.1", "ready": true, "reason": "Healthy", "since": "2026-01-01T00:00:00Z"}]}
    });
    let record = Record::of(&serde_json::from_value(service).unwrap(), &[]);
    let search = fhir::Search::parse([("_count", "1")]).unwrap();
    let mut other = record.clone();
    other.name = "other".to_owned();
    let page = search.bundle([record.clone(), other], "https://registry:8443/registry/fhir", "_count=1");
    assert_eq!((page["entry"].as_array().unwrap().len(), page["link"].as_array().unwrap().len()), (5, 2));
    let resources = [
        page,
        fhir::Search::default().bundle([], "https://registry:8443/registry/fhir", ""),
        fhir::by_id([record], "radiology-ehr-fhir").unwrap().1,
        fhir::capabilities("https://registry:8443/registry/fhir", "0.1.0"),
        Problem::parameter("_count", "must be a number").outcome(),
        Problem::unauthenticated().outcome(),
        Problem::unavailable("nobody answers").outcome(),
    ];
    assert_eq!(validated(&resources), ["ok"; 7]);
    let found = validated(&[json!({"resourceType": "Endpoint", "status": "active"})]);
    assert!(found[0].contains("connectionType"), "what is wrong is found, or this test shows nothing: {found:?}");
}
