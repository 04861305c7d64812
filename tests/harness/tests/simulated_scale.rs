//! Is the server quick enough for thousands of objects, and does its cost grow with the work alone?

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use futures::StreamExt;
use harness::simulated::{ApiServer, Ledger};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde_json::json;
use std::time::{Duration, Instant};

fn pods(client: Client) -> Api<DynamicObject> {
    Api::namespaced_with(client, "default", &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")))
}

/// Creates `n` pods with owners, moves each through two states, watches them, deletes their owners. Returns the time taken.
async fn life_of(n: usize) -> Duration {
    let begun = Instant::now();
    let server = ApiServer::builder().history(100_000).build();
    let api = pods(server.client());
    let writer = reflector::store::Writer::new(ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")));
    let store = writer.as_reader();
    let config = watcher::Config::default().page_size(500);
    let watching = tokio::spawn(
        watcher(pods(server.client_as("cache")), config).default_backoff().reflect(writer).for_each(|_| async {}),
    );
    for i in 0..n {
        let owner = server_owner(&server, i / 100).await;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{i}"), "labels": {"run": format!("r{}", i / 100)}, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "main", "image": "example.test/app:1", "env": [{"name": "A", "value": "1"}]}]},
        });
        api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        for phase in ["Running", "Succeeded"] {
            server.patch_status("Pod", "default", &format!("pod-{i}"), &json!({"phase": phase})).unwrap();
        }
    }
    let list = api.list(&ListParams::default().labels("run in (r0,r1)")).await.unwrap();
    assert_eq!(list.items.len(), n.min(200));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.len(), n);
    assert!(store.state().iter().all(|pod| pod.data["status"]["phase"] == "Succeeded"));
    for i in 0..n.div_ceil(100) {
        server.delete("ConfigMap", "default", &format!("owner-{i}"), 0).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(server.objects("Pod").is_empty() && store.is_empty());
    assert_eq!(server.calls().count("create", "pods", ""), n);
    watching.abort();
    begun.elapsed()
}

async fn server_owner(server: &ApiServer, i: usize) -> serde_json::Value {
    let name = format!("owner-{i}");
    if server.object("ConfigMap", "default", &name).is_none() {
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(server.client(), "default");
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        api.patch(&name, &PatchParams::apply("owner"), &Patch::Apply(body)).await.unwrap();
    }
    let uid = server.object("ConfigMap", "default", &name).unwrap()["metadata"]["uid"].clone();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

#[tokio::test(start_paused = true)]
async fn eight_times_the_objects_cost_about_eight_times_as_much() {
    life_of(200).await;
    let small = life_of(500).await;
    let large = life_of(4000).await;
    println!("500 pods: {small:?}, 4000 pods: {large:?}");
    assert!(large < small * 32, "500 pods took {small:?}, 4000 pods {large:?}");
}
