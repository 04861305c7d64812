//! A fake kubelet for one node: exactly two patches of a pod's status, running and ended. (kwok repeats patches under load, so
//! that it would be measured instead of what it serves.)

use std::{collections::HashSet, time::Duration};

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::support::stage::Stage;

const NODE: &str = "bench-node";
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The kubelet; its node goes away with [`Kubelet::stop`].
pub(crate) struct Kubelet {
    tasks: [AbortHandle; 2],
    client: Client,
}

impl Kubelet {
    /// Takes kwok's nodes away and puts one node of its own in their place. Pods there run this long and end well.
    pub(crate) async fn start(stage: &Stage, runs: Duration) -> Self {
        stage.cluster.stop("kwok").unwrap();
        let client = stage.client.clone();
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.delete_collection(&DeleteParams::default(), &Default::default()).await.unwrap();
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": NODE, "labels": { "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux" } }
        }))
        .unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        beat(&client).await.unwrap();
        stage.kubectl(&["wait", "--for=condition=Ready", &format!("node/{NODE}"), "--timeout=30s"]);
        let beating = tokio::spawn({
            let client = client.clone();
            async move {
                loop {
                    tokio::time::sleep(HEARTBEAT).await;
                    // the next one comes before the node counts as lost
                    let _ = beat(&client).await;
                }
            }
        });
        let working = tokio::spawn(work(client.clone(), runs));
        Self { tasks: [beating.abort_handle(), working.abort_handle()], client }
    }

    /// Takes the node away and starts kwok again.
    pub(crate) async fn stop(self, stage: &Stage) {
        self.tasks.iter().for_each(AbortHandle::abort);
        Api::<Node>::all(self.client.clone()).delete(NODE, &DeleteParams::default()).await.unwrap();
        stage.cluster.start("kwok").unwrap();
    }
}

/// Tells that the node is there: its status and its lease, without which it would be taken for lost after 40 s.
async fn beat(client: &Client) -> kube::Result<()> {
    let now = Timestamp::now().to_string();
    let room = json!({ "cpu": "100k", "memory": "100Ti", "pods": "1000000" });
    let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": [
        { "type": "Ready", "status": "True", "reason": "Fake", "message": "", "lastHeartbeatTime": now, "lastTransitionTime": now }
    ] } });
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Strategic(status)).await?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": NODE }, "spec": {
        "holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string() } });
    leases.patch(NODE, &PatchParams::apply("bench").force(), &Patch::Apply(lease)).await?;
    Ok(())
}

/// Runs every pod that is placed on the node, once.
async fn work(client: Client, runs: Duration) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let mut pods = std::pin::pin!(watcher(Api::<Pod>::all(client.clone()), config).default_backoff().applied_objects());
    let mut known = HashSet::new();
    while let Some(pod) = pods.try_next().await.unwrap() {
        if known.insert(pod.uid().unwrap()) {
            tokio::spawn(run(client.clone(), pod, runs));
        }
    }
}

async fn run(client: Client, pod: Pod, runs: Duration) {
    let (space, name) = (pod.namespace().unwrap(), pod.name_any());
    let image = pod.spec.as_ref().map(|s| s.containers[0].image.clone());
    let api: Api<Pod> = Api::namespaced(client, &space);
    let started = Timestamp::now().to_string();
    let container = |state: Value, ready: bool| json!([{ "name": "step", "image": image, "imageID": image, "ready": ready, "started": ready, "restartCount": 0, "state": state }]);
    let ready = |status: &str| {
        json!([{ "type": "Ready", "status": status, "lastTransitionTime": started },
               { "type": "ContainersReady", "status": status, "lastTransitionTime": started }])
    };
    let running = json!({ "status": { "phase": "Running", "startTime": started, "podIP": "10.0.0.1",
        "conditions": ready("True"), "containerStatuses": container(json!({ "running": { "startedAt": started } }), true) } });
    patch(&api, &name, running).await;
    tokio::time::sleep(runs).await;
    let ended = Timestamp::now().to_string();
    let terminated =
        json!({ "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": ended } });
    let over = json!({ "status": { "phase": "Succeeded", "conditions": ready("False"),
        "containerStatuses": container(terminated, false) } });
    patch(&api, &name, over).await;
}

async fn patch(api: &Api<Pod>, name: &str, status: Value) {
    match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await {
        Ok(_) => {}
        // it was removed meanwhile
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{name}: {error}"),
    }
}
