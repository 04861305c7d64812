//! What a GitOps tool sees: the same objects applied again.

use std::{fs, time::Duration};

use kube::{Api, Resource};
use medley::api::{MedicalService, Workflow, WorkflowRun};

use crate::support::{stage::Stage, until};

const LIMIT: Duration = Duration::from_secs(30);
const SPACE: &str = "ct-quality";

/// After the operator has acted on the example, applying it again leaves every object unchanged, and there is no difference.
pub(crate) async fn applying_again_changes_nothing(stage: &Stage) {
    let example = format!("{}/examples/ct-quality", env!("CARGO_MANIFEST_DIR"));
    // an earlier run on the same control plane may have left it behind
    stage.kubectl(&["delete", "namespace", SPACE, "--ignore-not-found", "--timeout=60s"]);
    let mut files: Vec<String> =
        ["namespace.yaml", "services.yaml", "workflow.yaml"].map(|f| format!("{example}/{f}")).to_vec();
    files.push(format!("{example}/runs"));
    for file in &files {
        stage.kubectl(&["apply", "-f", file]);
        stage.kubectl(&["wait", "-n", SPACE, "--for=create", "serviceaccount/default", "--timeout=30s"]);
    }
    let before = specs(stage).await;
    assert_eq!(
        before.len(),
        3 + fs::read_to_string(format!("{example}/runs/1-routine.yaml")).unwrap().matches("kind:").count() + 2
    );
    for file in &files {
        let said = stage.kubectl(&["apply", "-f", file]);
        let changed: Vec<&str> = said.lines().filter(|l| !l.ends_with(" unchanged")).collect();
        assert!(changed.is_empty() && !said.is_empty(), "applying {file} again: {said}");
        // exits with 1 when there is a difference
        let difference = stage.kubectl(&["diff", "-f", file]);
        assert_eq!(difference, "", "{file}");
    }
    assert_eq!(specs(stage).await, before, "the operator wrote a spec");
    println!("          {} objects: unchanged, no difference", before.len());
    stage.remove_namespace(SPACE);
}

/// Each object's name with its generation, which counts changes of the spec; waits until the operator has acted on all.
async fn specs(stage: &Stage) -> Vec<(String, Option<i64>)> {
    let mut found = Vec::new();
    found.extend(acted_on::<MedicalService>(stage, |o| o.status.as_ref().and_then(|s| s.observed_generation)).await);
    found.extend(acted_on::<Workflow>(stage, |o| o.status.as_ref().and_then(|s| s.observed_generation)).await);
    found.extend(acted_on::<WorkflowRun>(stage, |o| o.status.as_ref().and_then(|s| s.observed_generation)).await);
    found
}

async fn acted_on<K>(stage: &Stage, observed: fn(&K) -> Option<i64>) -> Vec<(String, Option<i64>)>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(stage.client.clone(), SPACE);
    until(&format!("the operator has acted on each {}", K::kind(&())), LIMIT, async || {
        let objects = api.list(&Default::default()).await.unwrap().items;
        let all = !objects.is_empty() && objects.iter().all(|o| observed(o) == o.meta().generation);
        let name = |o: &K| format!("{} {}", K::kind(&()), o.meta().name.clone().unwrap());
        all.then(|| objects.iter().map(|o| (name(o), o.meta().generation)).collect())
    })
    .await
}
