//! Do kube's own watcher, reflector and controller run on the simulated server, whatever happens to their watches?

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use futures::{Stream, StreamExt};
use harness::simulated::{ApiServer, Fault};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{PartialObjectMeta, Patch, PatchParams},
    runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        reflector::{self, Store},
        watcher::{self, watcher},
    },
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

fn maps(client: Client) -> Api<ConfigMap> {
    Api::all(client)
}

async fn put(server: &ApiServer, name: &str, value: &str) {
    let api: Api<ConfigMap> = Api::namespaced(server.client_as("writer"), "default");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}});
    api.patch(name, &PatchParams::apply("writer").force(), &Patch::Apply(body)).await.unwrap();
}

fn reflected(
    client: Client,
    config: watcher::Config,
) -> (Store<ConfigMap>, impl Stream<Item = watcher::Result<watcher::Event<ConfigMap>>>) {
    let (reader, writer) = reflector::store();
    (reader, watcher(maps(client), config).default_backoff().reflect(writer))
}

fn content(store: &Store<ConfigMap>) -> Vec<String> {
    let mut all: Vec<_> = store
        .state()
        .iter()
        .map(|m| format!("{}={}", m.name_any(), m.data.as_ref().and_then(|d| d.get("v").cloned()).unwrap_or_default()))
        .collect();
    all.sort();
    all
}

/// Lets the watching task run until the store shows what is wanted; virtual time is bounded.
async fn shows(store: &Store<ConfigMap>, wanted: &[&str]) {
    let until = tokio::time::Instant::now() + Duration::from_secs(120);
    while content(store) != wanted {
        assert!(tokio::time::Instant::now() < until, "the cache shows {:?}, wanted {wanted:?}", content(store));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_survives_cuts_resets_refusals_and_lost_history() {
    for config in [watcher::Config::default().page_size(2), watcher::Config::default().streaming_lists()] {
        let server = ApiServer::builder().build();
        for name in ["a", "b", "c"] {
            put(&server, name, "1").await;
        }
        let (store, stream) = reflected(server.client_as("cache"), config);
        let task = tokio::spawn(stream.for_each(|_| async {}));
        shows(&store, &["a=1", "b=1", "c=1"]).await;
        put(&server, "a", "2").await;
        shows(&store, &["a=2", "b=1", "c=1"]).await;

        server.cut_watches("ConfigMap");
        put(&server, "b", "2").await;
        shows(&store, &["a=2", "b=2", "c=1"]).await;

        server.reset_watches("configmaps");
        server.delete("ConfigMap", "default", "c", 0).unwrap();
        shows(&store, &["a=2", "b=2"]).await;

        let mut left = 3;
        server.set_faults(move |call| {
            if call.user == "cache" && left > 0 {
                left -= 1;
                return Fault::Respond { code: 503, reason: "ServiceUnavailable".into(), retry_after: None };
            }
            Fault::None
        });
        server.cut_watches("ConfigMap");
        put(&server, "d", "1").await;
        shows(&store, &["a=2", "b=2", "d=1"]).await;
        server.clear_faults();

        // The watch is away while the history of what it missed is forgotten: it must list again.
        server.set_faults(|call| if call.user == "cache" { Fault::DropBefore } else { Fault::None });
        server.cut_watches("ConfigMap");
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.delete("ConfigMap", "default", "a", 0).unwrap();
        put(&server, "e", "1").await;
        server.compact();
        server.clear_faults();
        shows(&store, &["b=2", "d=1", "e=1"]).await;
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_lives_on_bookmarks_and_renewals() {
    let server = ApiServer::builder().build();
    put(&server, "a", "1").await;
    let (store, stream) = reflected(server.client_as("cache"), watcher::Config::default());
    let task = tokio::spawn(stream.for_each(|event| async move {
        event.unwrap();
    }));
    shows(&store, &["a=1"]).await;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    // Only the bookmarks kept the watch's position ahead of this.
    server.compact();
    tokio::time::sleep(Duration::from_secs(600)).await;
    put(&server, "a", "2").await;
    shows(&store, &["a=2"]).await;
    task.abort();
    let calls = server.calls();
    let lists = calls.iter().filter(|r| r.call.user == "cache" && r.call.verb == "list").count();
    let watches = calls.iter().filter(|r| r.call.user == "cache" && r.call.verb == "watch").count();
    assert_eq!(lists, 1, "a quiet watch listed again");
    assert!((290..320).contains(&watches), "{watches} watches in a day");
}

#[tokio::test(start_paused = true)]
async fn metadata_alone_can_be_watched() {
    let server = ApiServer::builder().build();
    put(&server, "a", "1").await;
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::all(server.client());
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
    assert_eq!(stream.next().await.unwrap().unwrap().name_any(), "a");
    put(&server, "b", "1").await;
    assert_eq!(stream.next().await.unwrap().unwrap().name_any(), "b");
}

async fn count_up(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced((*client).clone(), "default");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map.name_any(), "annotations": {"seen": map.data.as_ref().map(|d| d["v"].clone())}}});
    api.patch(&map.name_any(), &PatchParams::apply("controller").force(), &Patch::Apply(body)).await?;
    Ok(Action::requeue(Duration::from_secs(3600)))
}

/// A controller over some objects with changes and faults; returns the whole story.
async fn story() -> Vec<String> {
    let server = ApiServer::builder().build();
    let mut n = 0;
    server.set_faults(move |call| {
        // Not the watches: kube's backoff of a broken watch is random.
        n += u32::from(call.is_write());
        if call.user == "operator" && call.is_write() && n % 3 == 0 { Fault::LoseReplyAfterCommit } else { Fault::None }
    });
    let client = server.client_as("operator");
    let controller = Controller::new(maps(client.clone()), watcher::Config::default());
    let task = tokio::spawn(
        controller
            .run(count_up, |_, _: &kube::Error, _| Action::requeue(Duration::from_secs(5)), Arc::new(client))
            .for_each(|_| async {}),
    );
    for i in 0..20 {
        let name = format!("m{}", i % 5);
        // Through the store, so that the plan's numbering belongs to the operator.
        let patched = server.patch("ConfigMap", "default", &name, &json!({"data": {"v": i.to_string()}}));
        if patched.is_err() {
            put(&server, &name, &i.to_string()).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    tokio::time::sleep(Duration::from_secs(7200)).await;
    task.abort();
    for map in server.objects("ConfigMap") {
        assert_eq!(map["metadata"]["annotations"]["seen"], map["data"]["v"], "not caught up: {map}");
    }
    let mut story: Vec<String> =
        server.calls().iter().map(|r| format!("{:?}", (&r.call, r.at, r.code, r.changed))).collect();
    story.extend(server.objects("ConfigMap").iter().map(ToString::to_string));
    story
}

#[test]
fn a_controller_converges_and_the_same_story_is_told_each_time() {
    let run = || {
        let seed = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        seed.block_on(story())
    };
    let first = run();
    assert!(first.len() > 40, "{} lines", first.len());
    for (again, line) in run().into_iter().zip(first) {
        assert_eq!(again, line);
    }
}
