//! Objects that cannot be read, stored while the definition of their kind was laxer.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    operator::Operator,
    stage::{CRDS, Stage, crd_file},
    until,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Kind, plural, and a spec that the kind's type cannot hold.
const BROKEN: [(&str, &str, &str); 3] = [
    (
        "MedicalService",
        "medicalservices",
        r#"{"interfaces": [{"name": "http", "port": "eighty", "protocol": "HTTP"}]}"#,
    ),
    ("Workflow", "workflows", r#"{"steps": "none"}"#),
    ("WorkflowRun", "workflowruns", r#"{"workflow": 7}"#),
];

/// One of each kind: named in the log and in a metric by an operator that runs and by one that starts; others go on.
pub(crate) async fn is_named_and_left_alone(stage: &Stage, operator: &Operator) {
    let space = stage.namespace("malformed");
    stage.one_pod_workflow(&space, "sound");
    store(stage, &space).await;
    named(operator, &space).await;
    others_go_on(stage, &space, 1).await;
    // a replica that starts finds them in its first lists
    let second = Operator::start(stage, "two").await;
    named(&second, &space).await;
    drop(second);
    others_go_on(stage, &space, 2).await;
    for (kind, plural, _) in BROKEN {
        stage.kubectl(&["delete", "-n", &space, plural, "broken"]);
        let series = format!("medley_malformed_objects{{kind=\"{kind}\"}}");
        until(&format!("{series} is 0 again"), LIMIT, async || (operator.metric(&series).await == 0.0).then_some(()))
            .await;
    }
    stage.remove_namespace(&space);
}

async fn store(stage: &Stage, space: &str) {
    for (kind, plural, spec) in BROKEN {
        let crd = format!("{plural}.medley.health");
        // runs are selected by their phase, so it has to be there
        let status = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": { "phase": { "type": "string" } } });
        let lax = json!([{ "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "status": status } } }]);
        stage.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &lax.to_string()]);
        let object = format!(
            r#"{{"apiVersion": "medley.health/v1alpha1", "kind": "{kind}", "metadata": {{"name": "broken"}}, "spec": {spec}}}"#
        );
        // the server takes a moment to use the new schema
        until(&format!("a malformed {kind} is stored"), LIMIT, async || {
            stage.cluster.kubectl_with_input(&["create", "-n", space, "--validate=false", "-f", "-"], &object).ok()
        })
        .await;
    }
    for plural in CRDS {
        stage.kubectl(&["replace", "-f", &crd_file(plural)]);
    }
    // and as long to use the old one again
    for (kind, plural, spec) in BROKEN {
        let object = format!(
            r#"{{"apiVersion": "medley.health/v1alpha1", "kind": "{kind}", "metadata": {{"name": "late"}}, "spec": {spec}}}"#
        );
        until(&format!("a malformed {kind} is refused again"), LIMIT, async || {
            let refusal = ["create", "-n", space, "--validate=false", "--dry-run=server", "-f", "-"];
            stage.cluster.kubectl_with_input(&refusal, &object).is_err().then_some(())
        })
        .await;
        stage.kubectl(&["get", "-n", space, plural, "broken"]);
    }
}

async fn named(operator: &Operator, space: &str) {
    for (kind, _, _) in BROKEN {
        let series = format!("medley_malformed_objects{{kind=\"{kind}\"}}");
        until(&format!("{series} is 1"), LIMIT, async || (operator.metric(&series).await == 1.0).then_some(())).await;
        let lines = operator.said("this object cannot be read and is left alone; correct or delete it");
        let named =
            lines.iter().filter(|l| l["fields"]["kind"] == kind && l["fields"]["object"] == format!("{space}/broken"));
        assert_eq!(named.count(), 1, "one log line names the {kind}: {lines:?}");
    }
}

async fn others_go_on(stage: &Stage, space: &str, number: usize) {
    stage.start_run(space, "sound", &format!("sound-{number}")).await;
    stage.kubectl(&[
        "wait",
        "-n",
        space,
        "--for=condition=Succeeded",
        &format!("mrun/sound-{number}"),
        "--timeout=30s",
    ]);
    stage.apply(
        space,
        &format!(
            "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: sound-{number}}}, spec: {{workload: {{image: fake}}, interfaces: [{{name: http, port: 80, protocol: HTTP}}]}}}}"
        ),
    );
    stage.ready(space, &format!("msvc/sound-{number}"));
}
