//! Is a run's workspace made, used and removed with the chart's permissions, and is somebody else's claim left alone?

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;

use crate::support::{stage::Stage, until};

/// Two pods share a volume; a claim of the needed name that is not the run's holds it up until it is removed.
pub(crate) async fn is_made_used_and_removed(stage: &Stage) {
    let space = stage.namespace("workspaces");
    stage.apply(
        &space,
        &format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {space}}}, spec: {{storageClassName: {space}, \
               capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], hostPath: {{path: /tmp}}}}}}\n---\n\
             {{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: run-workspace}}, spec: {{\
               storageClassName: another, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}\n---\n\
             {{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {{name: files}}, spec: {{\
               workspace: {{size: 1Gi, storageClassName: {space}}}, \
               steps: [{{name: write, container: {{image: fake}}}}, \
                       {{name: read, after: [write], container: {{image: fake}}}}]}}}}"
        ),
    );
    stage.ready(&space, "mwf/files");
    stage.start_run(&space, "files", "run").await;
    let reason = "jsonpath={.status.conditions[?(@.type=='Stalled')].reason}=NameTaken";
    stage.kubectl(&["wait", "-n", &space, "mrun/run", "--timeout=30s", &format!("--for={reason}")]);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), &space);
    let foreign = claims.get("run-workspace").await.unwrap();
    assert_eq!(foreign.metadata.deletion_timestamp, None);
    stage.kubectl(&["delete", "-n", &space, "pvc/run-workspace", "--timeout=30s"]);
    stage.all_succeed(&space, 1, Duration::from_secs(120)).await;
    until("the claim is gone", Duration::from_secs(30), async || {
        claims.list(&Default::default()).await.unwrap().items.is_empty().then_some(())
    })
    .await;
    let bound = stage.kubectl(&["get", &format!("pv/{space}"), "-o", "jsonpath={.spec.claimRef.name}"]);
    assert_eq!(bound, "run-workspace", "the pods' volume");
    stage.remove_namespace(&space);
    stage.kubectl(&["delete", &format!("pv/{space}"), "--wait=false"]);
}
