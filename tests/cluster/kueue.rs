//! Containers that are handed over to Kueue, on a real API server with Kueue's own kinds. Kueue's controller itself is played: it is
//! a large program of its own, and what medley promises is what stands in its Jobs and pods.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{stage::Stage, until};

/// The release whose kinds these are, and the checksum of its source (as in a `go.sum`).
const MODULE: &str = "sigs.k8s.io/kueue@v0.17.0";
const SUM: &str = "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I=";
const SPACE: &str = "kueue-imaging";
const LIMIT: Duration = Duration::from_secs(60);

/// The example is accepted as it stands; its Job waits until it is resumed, its pod until its gate is opened.
pub(crate) async fn holds_what_is_handed_over(stage: &Stage) {
    let kinds = source().join("config/components/crd/bases");
    for kind in ["clusterqueues", "localqueues", "resourceflavors"] {
        let file = kinds.join(format!("kueue.x-k8s.io_{kind}.yaml"));
        stage.kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()]);
        until(&format!("{kind} are established"), LIMIT, async || {
            let name = format!("crd/{kind}.kueue.x-k8s.io");
            stage.cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=5s", &name]).ok()
        })
        .await;
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kueue");
    stage.kubectl(&["apply", "-f", example]);
    stage.ready(SPACE, "mwf/nodules");
    // the same steps with containers that the played kubelet knows
    let steps = json!([
        { "name": "detect", "forEach": { "count": 3 }, "container": { "image": "fake", "args": ["$( index )"] } },
        { "name": "report", "after": ["detect"], "container": { "image": "fake" } },
    ]);
    let workflow = json!({ "apiVersion": "medley.health/v1alpha1", "kind": "Workflow", "metadata": { "name": "played" },
        "spec": { "steps": steps } });
    stage.apply(SPACE, &workflow.to_string());
    stage.ready(SPACE, "mwf/played");
    stage.start_run(SPACE, "played", "r1").await;
    let job: Value = made(stage, "job/r1-detect").await;
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpus");
    assert_eq!((&job["spec"]["suspend"], &job["status"]["active"]), (&true.into(), &Value::Null));
    let pods = stage.kubectl(&["get", "pods", "-n", SPACE, "-o", "name"]);
    assert_eq!(pods, "", "a suspended Job makes no pods");
    stage.kubectl(&["patch", "-n", SPACE, "job/r1-detect", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]);
    let pod = made(stage, "pod/r1-report-1").await;
    assert_eq!(pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpus");
    let why = &pod["status"]["conditions"][0];
    assert_eq!((&why["type"], &why["reason"]), (&"PodScheduled".into(), &"SchedulingGated".into()), "{pod}");
    stage.kubectl(&[
        "patch",
        "-n",
        SPACE,
        "pod/r1-report-1",
        "--type=merge",
        "-p",
        r#"{"spec":{"schedulingGates":null}}"#,
    ]);
    stage.kubectl(&["wait", "-n", SPACE, "--for=condition=Succeeded", "mrun/r1", "--timeout=60s"]);
    // first what the operator looks after: in a namespace that goes it could not make what belongs to it
    stage.remove_namespace(SPACE);
    stage.kubectl(&["delete", "-f", &format!("{example}/queues.yaml"), "--wait=false"]);
}

async fn made(stage: &Stage, name: &str) -> Value {
    stage.kubectl(&["wait", "-n", SPACE, "--for=create", name, "--timeout=60s"]);
    serde_json::from_str(&stage.kubectl(&["get", "-n", SPACE, name, "-o", "json"])).unwrap()
}

/// Kueue's source, as the Go module proxy gives it.
fn source() -> PathBuf {
    let out = Command::new("go").args(["mod", "download", "-json", MODULE]).output().unwrap();
    assert!(out.status.success(), "{MODULE}: {}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(told["Sum"], SUM, "{MODULE} is not what it was");
    told["Dir"].as_str().unwrap().into()
}
