//! Do `medley plan` and `medley explain` say what a picture of the cluster comes to?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// One slot, which an old study has; another one waits for it.
const SNAPSHOT: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: radiology, labels: {team: imaging}}}
- apiVersion: medley.health/v1alpha1
  kind: CapacityPool
  metadata: {name: main}
  spec: {resources: {slots: "1"}, shares: [{name: imaging, namespaceSelector: {matchLabels: {team: imaging}}}]}
- apiVersion: medley.health/v1alpha1
  kind: ServicePolicy
  metadata: {name: all, namespace: radiology}
  spec: {scheduling: {pool: main, maxUrgency: asap}}
- apiVersion: medley.health/v1alpha1
  kind: Workflow
  metadata: {name: old, namespace: radiology}
  spec: {steps: [{name: measure, interruptible: true, holds: {slots: "1"}, container: {image: tool}, timeout: 99999h}]}
- apiVersion: apps/v1
  kind: ControllerRevision
  metadata: {name: old-1, namespace: radiology}
  revision: 1
  data: {spec: {steps: [{name: measure, interruptible: true, holds: {slots: "1"}, container: {image: tool}, timeout: 99999h}]}}
- apiVersion: medley.health/v1alpha1
  kind: WorkflowRun
  metadata: {name: first, namespace: radiology, uid: u1, creationTimestamp: "2026-01-01T00:00:00Z"}
  spec: {workflow: old, urgency: batch}
  status:
    phase: Running
    urgency: batch
    revision: old-1
    startedAt: "2026-01-01T00:00:00Z"
    decidedBy: {pool: all}
    steps:
      measure:
        phase: Running
        attempt: 1
        pod: first-measure-1
        startedAt: "2026-01-01T00:00:00Z"
        capacity: {pool: main, share: imaging, resources: {slots: "1", pods: "1"}, since: "2026-01-01T00:00:00Z", interruptible: true}
- apiVersion: medley.health/v1alpha1
  kind: ServiceQuery
  metadata: {name: archives, namespace: radiology}
  spec: {protocol: FHIR}
- apiVersion: medley.health/v1alpha1
  kind: WorkflowRun
  metadata: {name: second, namespace: radiology, uid: u2, creationTimestamp: "2026-01-01T00:00:01Z"}
  spec: {workflow: old, urgency: batch}
"#;

const STROKE: &str = r#"
apiVersion: medley.health/v1alpha1
kind: Workflow
metadata: {name: stroke}
spec: {steps: [{name: read, holds: {slots: "1"}, container: {image: tool}}]}
---
apiVersion: medley.health/v1alpha1
kind: WorkflowRun
metadata: {name: now}
spec: {workflow: stroke, urgency: stat}
"#;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("medley-plan-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("snapshot.yaml"), SNAPSHOT).unwrap();
        fs::write(folder.join("stroke.yaml"), STROKE).unwrap();
        Self(folder)
    }

    fn medley(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--namespace", "radiology", "--snapshot", "snapshot.yaml"]);
        Command::new(env!("CARGO_BIN_EXE_medley")).args(all).current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_plan_tells_who_gives_way_and_when_it_begins() {
    let folder = Folder::new("stat");
    let shown = text(&folder.medley(&["plan", "stroke.yaml"]));
    let expected = "\
RUN             STEP   URGENCY   ADMITTED   WAITS FOR                                DISPLACES
radiology/now   read   asap      in 10s     less urgent steps are giving way to it   radiology/first measure
";
    assert_eq!(shown, expected);
    let shown: Value =
        serde_json::from_str(&text(&folder.medley(&["plan", "stroke.yaml", "--format", "json"]))).unwrap();
    let step = &shown["steps"][0];
    assert_eq!(
        (&step["reason"], &step["position"], &step["needs"]["slots"]),
        (&"Preempting".into(), &1.into(), &"1".into())
    );
}

#[test]
fn a_run_is_explained() {
    let folder = Folder::new("explain");
    let shown = text(&folder.medley(&["explain", "first"]));
    assert_eq!(
        shown,
        "\
radiology/first is Running
urgency batch, asked for: batch
scheduling.pool is decided by ServicePolicy `all`

STEP      HAS              OF             SINCE
measure   pods=1 slots=1   main/imaging   2026-01-01T00:00:00Z
"
    );
    // the first may have its slot for longer than is looked ahead
    let shown = text(&folder.medley(&["explain", "second"]));
    assert_eq!(
        shown,
        "\
radiology/second is Pending

STEP      WAITS FOR        OF             POSITION   BECAUSE         ADMITTED
measure   pods=1 slots=1   main/imaging   1          all is in use   not to be seen
"
    );
}

#[test]
fn what_is_not_there_is_told() {
    let folder = Folder::new("missing");
    for (arguments, wanted) in [
        (["explain", "third"].as_slice(), "there is no WorkflowRun `third` in the namespace `radiology`"),
        (&["plan", "snapshot-of-nothing.yaml"], "cannot read snapshot-of-nothing.yaml"),
    ] {
        let output = folder.medley(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(wanted), "{told}");
    }
    let lost = STROKE.replace("workflow: stroke", "workflow: strokes");
    fs::write(folder.0.join("lost.yaml"), lost).unwrap();
    let told = String::from_utf8_lossy(&folder.medley(&["plan", "lost.yaml"]).stderr).into_owned();
    assert!(told.contains("radiology/now: there is no Workflow `strokes` in its namespace"), "{told}");
}

#[test]
fn all_that_a_file_brings_along_counts() {
    let folder = Folder::new("whole");
    fs::write(folder.0.join("snapshot.yaml"), "{apiVersion: v1, kind: List, items: []}").unwrap();
    let here = "{matchLabels: {kubernetes.io/metadata.name: radiology}}";
    let whole = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: radiology}}}}\n---\n\
         {{apiVersion: medley.health/v1alpha1, kind: CapacityPool, metadata: {{name: main}}, \
           spec: {{resources: {{slots: '1'}}, shares: [{{name: imaging, namespaceSelector: {here}}}]}}}}\n---\n\
         {{apiVersion: medley.health/v1alpha1, kind: ServicePolicy, metadata: {{name: all}}, spec: {{scheduling: {{pool: main}}}}}}\n---\n{STROKE}"
    );
    fs::write(folder.0.join("whole.yaml"), whole).unwrap();
    let shown: Value =
        serde_json::from_str(&text(&folder.medley(&["plan", "whole.yaml", "--format", "json"]))).unwrap();
    let step = &shown["steps"][0];
    assert_eq!((&step["pool"], &step["share"], &step["reason"]), (&"main".into(), &"imaging".into(), &Value::Null));
    assert_eq!(step["admitted"], shown["at"]);
}
