//! Do the fault plan, the watch plan and the ledger do what they say?

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use harness::simulated::{ApiServer, Fault, Ledger, WatchFault};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::json;
use std::{collections::BTreeMap, sync::mpsc, time::Duration};
use tokio::time::Instant;

fn maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

fn map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

async fn create(api: &Api<ConfigMap>, name: &str) -> kube::Result<ConfigMap> {
    api.create(&PostParams::default(), &map(name)).await
}

#[tokio::test(start_paused = true)]
async fn calls_are_numbered_and_writes_among_them() {
    let server = ApiServer::builder().build();
    let api = maps(server.client_as("one"));
    create(&api, "a").await.unwrap();
    api.get("a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    maps(server.client_as("two"))
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "v"}})))
        .await
        .unwrap();
    assert!(api.get("missing").await.is_err());
    let calls = server.calls();
    let seen: Vec<_> = calls
        .iter()
        .map(|r| (r.call.n, r.call.write_n, r.call.user.as_str(), r.call.verb, r.call.name.as_str(), r.code, r.changed))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Some(1), "one", "create", "a", Some(201), true),
            (2, None, "one", "get", "a", Some(200), false),
            (3, Some(2), "two", "patch", "a", Some(200), true),
            (4, None, "one", "get", "missing", Some(404), false),
        ]
    );
    assert_eq!(calls[2].at, Duration::from_secs(7));
    assert!(calls.iter().all(|r| r.replied && r.call.kind == "ConfigMap" && r.call.namespace == "default"));
    assert_eq!((server.writes(), calls.writes_of("two"), calls.count("get", "configmaps", "")), (2, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn events_are_not_counted_among_the_writes() {
    let server = ApiServer::builder().build();
    let recorder = kube::runtime::events::Recorder::new(server.client(), "medley".into());
    let about = k8s_openapi::api::core::v1::ObjectReference {
        name: Some("a".into()),
        namespace: Some("default".into()),
        uid: Some("u".into()),
        ..Default::default()
    };
    let event = kube::runtime::events::Event {
        type_: kube::runtime::events::EventType::Normal,
        reason: "R".into(),
        note: None,
        action: "A".into(),
        secondary: None,
    };
    recorder.publish(&event, &about).await.unwrap();
    recorder.publish(&event, &about).await.unwrap();
    assert_eq!(server.calls().len(), 2);
    assert_eq!(server.writes(), 0);
    let events = server.objects("events.events.k8s.io");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["series"]["count"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_before_the_effect() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    server.set_faults(|call| match call.write_n {
        Some(1) => Fault::Respond {
            code: 429,
            reason: "TooManyRequests".into(),
            retry_after: Some(Duration::from_millis(1500)),
        },
        _ => Fault::None,
    });
    let Err(kube::Error::Api(status)) = create(&api, "a").await else { panic!("accepted") };
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(status.details.unwrap().retry_after_seconds, 2);
    assert!(server.objects("ConfigMap").is_empty());
    create(&api, "a").await.unwrap();
    assert_eq!(server.calls()[0].code, Some(429));
    assert!(!server.calls()[0].changed);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_has_no_effect_and_a_lost_reply_has() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    server.set_faults(|call| match call.write_n {
        Some(1) => Fault::DropBefore,
        Some(2) => Fault::LoseReplyAfterCommit,
        _ => Fault::None,
    });
    assert!(matches!(create(&api, "a").await, Err(kube::Error::Service(_))));
    assert!(server.object("ConfigMap", "default", "a").is_none());
    assert!(matches!(create(&api, "a").await, Err(kube::Error::Service(_))));
    assert!(server.object("ConfigMap", "default", "a").is_some());
    let Err(kube::Error::Api(status)) = create(&api, "a").await else { panic!("created twice") };
    assert!(status.is_already_exists());
    let calls = server.calls();
    assert_eq!((calls[0].code, calls[0].changed, calls[0].replied), (None, false, false));
    assert_eq!((calls[1].code, calls[1].changed, calls[1].replied), (Some(201), true, false));
    assert_eq!(calls.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn delays_hold_the_effect_or_the_reply() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    server.set_faults(|call| match call.name.as_str() {
        "late" => Fault::Delay(Duration::from_secs(5)),
        _ => Fault::DelayReply(Duration::from_secs(5)),
    });
    for (name, there_meanwhile) in [("late", false), ("slow", true)] {
        let begun = Instant::now();
        let api = api.clone();
        let task = tokio::spawn(async move { create(&api, name).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(server.object("ConfigMap", "default", name).is_some(), there_meanwhile, "{name}");
        task.await.unwrap().unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_call_takes_effect_although_its_caller_has_gone() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    server.set_faults(|_| Fault::Late(Duration::from_secs(10)));
    assert!(tokio::time::timeout(Duration::from_secs(4), create(&api, "a")).await.is_err());
    assert!(server.object("ConfigMap", "default", "a").is_none());
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(server.object("ConfigMap", "default", "a").is_some());
    assert_eq!((server.calls()[0].code, server.calls()[0].replied), (Some(201), false));
}

#[tokio::test(start_paused = true)]
async fn an_old_list_holds_what_there_was() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    create(&api, "a").await.unwrap();
    create(&api, "b").await.unwrap();
    server.set_faults(|call| if call.verb == "list" { Fault::ListOld(1) } else { Fault::None });
    let names = |list: kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        list.items.into_iter().filter_map(|m| m.metadata.name).collect()
    };
    let old = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(old.metadata.resource_version.as_deref(), Some((server.resource_version() - 1).to_string().as_str()));
    assert_eq!(names(old), ["a"]);
    server.compact();
    let remembered = names(api.list(&ListParams::default()).await.unwrap());
    assert_eq!(remembered, ["a", "b"], "what is forgotten cannot be told");
}

#[tokio::test(start_paused = true)]
async fn a_tape_holds_every_version_whatever_the_faults() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    create(&api, "a").await.unwrap();
    let mut tape = server.tape("ConfigMap");
    server.set_watch_faults(|_| WatchFault::Drop);
    create(&api, "b").await.unwrap();
    server.compact();
    server.delete("ConfigMap", "default", "a", 0).unwrap();
    let all = std::iter::from_fn(|| tape.try_next());
    let all: Vec<(String, bool)> =
        all.map(|v| (v.object()["metadata"]["name"].as_str().unwrap().to_owned(), v.deleted)).collect();
    assert_eq!(all, [("a".to_owned(), false), ("b".to_owned(), false), ("a".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_a_write_leaves_nothing_and_after_it_the_write() {
    for (after, there) in [(false, false), (true, true)] {
        let server = ApiServer::builder().build();
        let (send, receive) = mpsc::channel();
        let api = maps(server.client());
        let operator = tokio::spawn(async move {
            create(&api, "first").await.unwrap();
            create(&api, "second").await.unwrap();
            create(&api, "third").await.unwrap();
        });
        let handle = operator.abort_handle();
        let mut hook = Some(Box::new(move || {
            handle.abort();
            send.send(()).unwrap();
        }));
        server.set_faults(move |call| match call.write_n {
            Some(2) if after => Fault::CrashAfter(hook.take().unwrap()),
            Some(2) => Fault::CrashBefore(hook.take().unwrap()),
            _ => Fault::None,
        });
        assert!(operator.await.unwrap_err().is_cancelled());
        receive.try_recv().unwrap();
        assert!(server.object("ConfigMap", "default", "first").is_some());
        assert_eq!(server.object("ConfigMap", "default", "second").is_some(), there);
        assert!(server.object("ConfigMap", "default", "third").is_none());
        assert_eq!(server.calls()[1].changed, there);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_before_a_call_can_make_it_conflict() {
    let server = ApiServer::builder().build();
    let api = maps(server.client());
    let made = create(&api, "a").await.unwrap();
    let rival = server.clone();
    let mut hook = Some(Box::new(move || {
        rival.patch("ConfigMap", "default", "a", &json!({"data": {"rival": "yes"}})).unwrap();
    }) as Box<dyn FnOnce() + Send>);
    server.set_faults(move |call| match call.verb {
        "update" => hook.take().map_or(Fault::None, Fault::Before),
        _ => Fault::None,
    });
    let mut mine = made.clone();
    mine.data = Some(BTreeMap::from([("mine".to_owned(), "yes".to_owned())]));
    let Err(kube::Error::Api(status)) = api.replace("a", &PostParams::default(), &mine).await else {
        panic!("no conflict")
    };
    assert!(status.is_conflict());
    mine.metadata.resource_version = api.get("a").await.unwrap().metadata.resource_version;
    api.replace("a", &PostParams::default(), &mine).await.unwrap();
    server.clear_faults();
    assert_eq!(server.object("ConfigMap", "default", "a").unwrap()["data"], json!({"mine": "yes"}));
}

#[tokio::test(start_paused = true)]
async fn watch_events_can_be_late_in_order_or_lost_for_one_user() {
    use futures::{StreamExt, TryStreamExt};
    use kube::api::{WatchEvent, WatchParams};
    let server = ApiServer::builder().build();
    server.set_watch_faults(|event| match (event.user.as_str(), event.name.as_str()) {
        ("slow", "a") => WatchFault::Delay(Duration::from_secs(20)),
        ("blind", "a") => WatchFault::Drop,
        _ => WatchFault::Deliver,
    });
    let writer = maps(server.client());
    for (user, wanted) in [
        ("slow", vec![("a", 20), ("b", 20), ("c", 60)]),
        ("blind", vec![("b", 0), ("c", 60)]),
        ("plain", vec![("a", 0), ("b", 0), ("c", 60)]),
    ] {
        let begun = Instant::now();
        let from = writer.list(&kube::api::ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let stream = maps(server.client_as(user)).watch(&WatchParams::default(), &from).await.unwrap();
        let writes = async {
            create(&writer, "a").await.unwrap();
            create(&writer, "b").await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            create(&writer, "c").await.unwrap();
        };
        let seen = stream
            .try_filter_map(|event| async move {
                Ok(match event {
                    WatchEvent::Added(map) => Some((map.metadata.name.unwrap(), begun.elapsed().as_secs())),
                    _ => None,
                })
            })
            .take(wanted.len())
            .try_collect::<Vec<_>>();
        let ((), seen) = tokio::join!(writes, seen);
        let wanted: Vec<_> = wanted.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
        assert_eq!(seen.unwrap(), wanted, "{user}");
        for name in ["a", "b", "c"] {
            server.delete("ConfigMap", "default", name, 0).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_gets_its_grace_and_ends_when_its_kubelet_says_so() {
    let server = ApiServer::builder().build();
    let api: Api<Pod> = Api::namespaced(server.client(), "default");
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "i"}], "nodeName": "n"}}),
    )
    .unwrap();
    api.create(&PostParams::default(), &pod).await.unwrap();
    server.patch_status("Pod", "default", "a", &json!({"phase": "Running"})).unwrap();
    let going = api.delete("a", &kube::api::DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    assert_eq!(going.metadata.deletion_timestamp.unwrap().0.to_string(), "2026-01-01T00:00:30Z");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sooner = kube::api::DeleteParams { grace_period_seconds: Some(5), ..Default::default() };
    let going = api.delete("a", &sooner).await.unwrap().left().unwrap();
    assert_eq!(going.metadata.deletion_timestamp.unwrap().0.to_string(), "2026-01-01T00:00:05Z");
    api.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
    assert!(server.object("Pod", "default", "a").is_some());
    server.delete("Pod", "default", "a", 0).unwrap();
    assert!(server.object("Pod", "default", "a").is_none());
}
