//! Cases about lists and watches.

use super::{Lab, list_cases, ok, probe::probe, probe::probe_with, refused, same, version};
use anyhow::ensure;
use serde_json::{Value, json};

list_cases!(
    a_list_is_sorted_and_has_a_version,
    labels_select_by_equality_set_and_presence,
    fields_select_by_name_and_unknown_ones_are_refused,
    pages_show_one_moment,
    a_list_of_the_future_is_refused,
    metadata_can_be_asked_for_alone,
    a_watch_tells_every_change_in_order,
    a_write_without_change_makes_no_event,
    a_watch_without_version_starts_with_what_is_there,
    a_selector_turns_changes_into_additions_and_deletions,
    a_streamed_list_ends_with_a_bookmark,
    a_watch_from_too_long_ago_is_gone,
    a_watch_ends_when_its_time_is_up,
    the_last_event_of_an_object_has_the_version_of_its_deletion,
);

fn labelled(name: &str, labels: &Value) -> Value {
    probe_with(name, json!({"metadata": {"labels": labels}, "spec": {"size": 1}}))
}

fn names(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect()
}

fn told(events: &[(String, Value)]) -> Vec<String> {
    events
        .iter()
        .map(|(kind, object)| format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default()))
        .collect()
}

async fn a_list_is_sorted_and_has_a_version(lab: Lab) -> anyhow::Result<()> {
    for name in ["b", "a", "c"] {
        ok(lab.create("probes", &probe(name, &json!({"size": 1}))).await)?;
    }
    let list = ok(lab.list("probes", "").await)?;
    same("names", &names(&list), &vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])?;
    same("kind", &list["kind"], &json!("ProbeList"))?;
    let newest = list["items"].as_array().into_iter().flatten().filter_map(|o| version(o).parse::<u64>().ok()).max();
    ensure!(
        version(&list).parse::<u64>().ok() >= newest,
        "the list's version {} is older than its items'",
        version(&list)
    );
    Ok(())
}

async fn labels_select_by_equality_set_and_presence(lab: Lab) -> anyhow::Result<()> {
    for (name, labels) in [("a", json!({"x": "1"})), ("b", json!({"x": "2", "y": "1"})), ("c", json!({"y": "2"}))] {
        ok(lab.create("probes", &labelled(name, &labels)).await)?;
    }
    for (selector, wanted) in [
        ("x%3D1", "a"),
        ("x%3D%3D2", "b"),
        ("x!%3D1", "bc"),
        ("x", "ab"),
        ("!x", "c"),
        ("x%20in%20(1,2)", "ab"),
        ("x%20notin%20(1)", "bc"),
        ("x,y", "b"),
        ("y%20in%20(2),!x", "c"),
    ] {
        let list = ok(lab.list("probes", &format!("labelSelector={selector}")).await)?;
        same(selector, &names(&list).concat().as_str(), &wanted)?;
    }
    refused(lab.list("probes", "labelSelector=x%3D%3D%3D1").await, 400, "BadRequest")?;
    Ok(())
}

async fn fields_select_by_name_and_unknown_ones_are_refused(lab: Lab) -> anyhow::Result<()> {
    for name in ["a", "b"] {
        ok(lab.create("probes", &probe(name, &json!({"size": 1}))).await)?;
    }
    same("by name", &names(&ok(lab.list("probes", "fieldSelector=metadata.name%3Db").await)?).concat().as_str(), &"b")?;
    same(
        "by others",
        &names(&ok(lab.list("probes", "fieldSelector=metadata.name!%3Db").await)?).concat().as_str(),
        &"a",
    )?;
    let status = refused(lab.list("probes", "fieldSelector=spec.size%3D1").await, 400, "BadRequest")?;
    same("message", &status.message.as_str(), &"field label not supported: spec.size")
}

async fn pages_show_one_moment(lab: Lab) -> anyhow::Result<()> {
    for name in ["a", "b", "c", "d", "e"] {
        ok(lab.create("probes", &probe(name, &json!({"size": 1}))).await)?;
    }
    let first = ok(lab.list("probes", "limit=2").await)?;
    same("first page", &names(&first).concat().as_str(), &"ab")?;
    same("remaining", &first["metadata"]["remainingItemCount"], &json!(3))?;
    ok(lab.delete("probes", "c", &json!({})).await)?;
    ok(lab.create("probes", &probe("cc", &json!({"size": 1}))).await)?;
    ok(lab.merge("probes", "e", &json!({"spec": {"size": 2}})).await)?;
    let token = first["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let second = ok(lab.list("probes", &format!("limit=2&continue={token}")).await)?;
    same("second page", &names(&second).concat().as_str(), &"cd")?;
    let token = second["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let third = ok(lab.list("probes", &format!("limit=2&continue={token}")).await)?;
    same("third page", &names(&third).concat().as_str(), &"e")?;
    same("size of e then", &third["items"][0]["spec"]["size"], &json!(1))?;
    same("no further page", &third["metadata"]["continue"].as_str().unwrap_or_default(), &"")?;
    same("one version", &version(&third), &version(&first))
}

async fn a_list_of_the_future_is_refused(lab: Lab) -> anyhow::Result<()> {
    let now = ok(lab.list("probes", "").await)?;
    let future = version(&now).parse::<u64>()? + 1_000_000;
    refused(
        lab.list("probes", &format!("resourceVersion={future}&resourceVersionMatch=NotOlderThan")).await,
        504,
        "Timeout",
    )?;
    ok(lab.list("probes", &format!("resourceVersion={}&resourceVersionMatch=NotOlderThan", version(&now))).await)?;
    refused(lab.list("probes", "resourceVersion=abc").await, 400, "BadRequest")?;
    Ok(())
}

async fn metadata_can_be_asked_for_alone(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &labelled("a", &json!({"x": "1"}))).await)?;
    let request = http::Request::get(lab.url("probes"))
        .header("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        .body(Vec::new())?;
    let list: Value = lab.client.request(request).await?;
    same("kind", &list["kind"], &json!("PartialObjectMetadataList"))?;
    same("labels", &list["items"][0]["metadata"]["labels"], &json!({"x": "1"}))?;
    same("spec", &list["items"][0]["spec"], &Value::Null)
}

async fn a_watch_tells_every_change_in_order(lab: Lab) -> anyhow::Result<()> {
    let start = ok(lab.list("probes", "").await)?;
    let from = format!("resourceVersion={}", version(&start));
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.create("probes", &probe("b", &json!({"size": 1}))).await)?;
    let changing = async {
        ok(lab.merge("probes", "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
        ok(lab.delete("probes", "b", &json!({})).await)?;
        anyhow::Ok(())
    };
    let (events, changed) = tokio::join!(lab.watch("probes", &from, 4, false), changing);
    changed?;
    let events = events?;
    same(
        "events",
        &told(&events),
        &vec!["ADDED a".to_owned(), "ADDED b".to_owned(), "MODIFIED a".to_owned(), "DELETED b".to_owned()],
    )?;
    let versions: Vec<u64> = events.iter().filter_map(|(_, o)| version(o).parse().ok()).collect();
    ensure!(versions.len() == 4 && versions.is_sorted(), "versions out of order: {versions:?}");
    same(
        "again from the third",
        &told(&lab.watch("probes", &format!("resourceVersion={}", versions[1]), 2, false).await?),
        &vec!["MODIFIED a".to_owned(), "DELETED b".to_owned()],
    )
}

async fn a_write_without_change_makes_no_event(lab: Lab) -> anyhow::Result<()> {
    let body = probe("a", &json!({"size": 1}));
    let made = ok(lab.apply("m", "probes", "a", &body).await)?;
    ok(lab.apply("m", "probes", "a", &body).await)?;
    ok(lab.put("probes", "a", &made).await)?;
    ok(lab.merge("probes", "a", &json!({"spec": {"size": 1}})).await)?;
    ok(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await)?;
    let events = lab.watch("probes", &format!("resourceVersion={}", version(&made)), 1, false).await?;
    same("size", &events[0].1["spec"]["size"], &json!(2))
}

async fn a_watch_without_version_starts_with_what_is_there(lab: Lab) -> anyhow::Result<()> {
    for name in ["a", "b"] {
        ok(lab.create("probes", &probe(name, &json!({"size": 1}))).await)?;
    }
    for query in ["", "resourceVersion=0"] {
        let mut told = told(&lab.watch("probes", query, 2, false).await?);
        told.sort();
        same("events", &told, &vec!["ADDED a".to_owned(), "ADDED b".to_owned()])?;
    }
    Ok(())
}

async fn a_selector_turns_changes_into_additions_and_deletions(lab: Lab) -> anyhow::Result<()> {
    let start = ok(lab.list("probes", "").await)?;
    ok(lab.create("probes", &labelled("a", &json!({"x": "1"}))).await)?;
    for (label, size) in [("2", 1), ("2", 2), ("1", 3), ("1", 4)] {
        ok(lab.merge("probes", "a", &json!({"metadata": {"labels": {"x": label}}, "spec": {"size": size}})).await)?;
    }
    ok(lab.delete("probes", "a", &json!({})).await)?;
    let events =
        lab.watch("probes", &format!("labelSelector=x%3D1&resourceVersion={}", version(&start)), 5, false).await?;
    let wanted = ["ADDED a", "DELETED a", "ADDED a", "MODIFIED a", "DELETED a"].map(str::to_owned).to_vec();
    same("events", &told(&events), &wanted)?;
    same(
        "sizes",
        &events.iter().map(|(_, o)| o["spec"]["size"].clone()).collect::<Vec<_>>(),
        &vec![json!(1), json!(1), json!(3), json!(4), json!(4)],
    )
}

async fn a_streamed_list_ends_with_a_bookmark(lab: Lab) -> anyhow::Result<()> {
    for name in ["a", "b"] {
        ok(lab.create("probes", &probe(name, &json!({"size": 1}))).await)?;
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = lab.watch("probes", query, 3, true).await?;
    same(
        "kinds",
        &events.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        &vec!["ADDED", "ADDED", "BOOKMARK"],
    )?;
    same("annotation", &events[2].1["metadata"]["annotations"]["k8s.io/initial-events-end"], &json!("true"))?;
    ensure!(version(&events[2].1).parse::<u64>().is_ok(), "the bookmark has no version: {}", events[2].1);
    Ok(())
}

async fn a_watch_from_too_long_ago_is_gone(lab: Lab) -> anyhow::Result<()> {
    let events = lab.watch("probes", "resourceVersion=1", 1, false).await?;
    same("event", &events[0].0.as_str(), &"ERROR")?;
    same("code", &events[0].1["code"], &json!(410))?;
    same("reason", &events[0].1["reason"], &json!("Expired"))
}

async fn a_watch_ends_when_its_time_is_up(lab: Lab) -> anyhow::Result<()> {
    let start = ok(lab.list("probes", "").await)?;
    let begun = tokio::time::Instant::now();
    let events =
        lab.watch("probes", &format!("resourceVersion={}&timeoutSeconds=1", version(&start)), 1, false).await?;
    same("events", &told(&events), &vec![])?;
    let took = begun.elapsed().as_secs_f64();
    ensure!((0.9..5.0).contains(&took), "ended after {took} s");
    Ok(())
}

async fn the_last_event_of_an_object_has_the_version_of_its_deletion(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.delete("probes", "a", &json!({})).await)?;
    let events = lab.watch("probes", &format!("resourceVersion={}", version(&made)), 1, false).await?;
    same("event", &told(&events), &vec!["DELETED a".to_owned()])?;
    ensure!(
        version(&events[0].1).parse::<u64>()? > version(&made).parse::<u64>()?,
        "the deletion has no version of its own"
    );
    Ok(())
}
