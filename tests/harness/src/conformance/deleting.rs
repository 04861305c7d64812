//! Cases about deletion, finalizers and the garbage collector.

use super::{Lab, causes, list_cases, named, ok, probe::probe, probe::probe_with, refused, same, version};
use anyhow::ensure;
use serde_json::{Value, json};

list_cases!(
    a_delete_answers_with_the_identity_of_what_went,
    a_delete_of_another_incarnation_conflicts,
    a_delete_of_another_version_conflicts,
    a_delete_with_the_right_preconditions_works,
    a_finalizer_holds_an_object_until_it_is_removed,
    a_second_delete_of_a_held_object_changes_nothing,
    no_finalizer_is_added_to_an_object_that_goes,
    dependents_follow_their_owner,
    a_dependent_stays_while_one_of_its_owners_lives,
    dependents_of_nobody_are_removed,
    orphans_are_let_go,
    a_foreground_delete_waits_for_its_dependents,
    a_pod_without_node_goes_at_once,
    a_collection_is_deleted_by_selector,
);

/// A built-in kind: the real collector knows a new kind only after its next look around, up to 30 s later.
fn owner(name: &str) -> Value {
    named("v1", "ConfigMap", name, json!({}))
}

fn child(name: &str, owners: &[&Value], block: bool) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|owner| json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}))
        .collect();
    named("v1", "ConfigMap", name, json!({"metadata": {"ownerReferences": references}}))
}

async fn a_delete_answers_with_the_identity_of_what_went(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let answer = ok(lab.delete("probes", "a", &json!({})).await)?;
    same("status", &answer["status"], &json!("Success"))?;
    same(
        "details",
        &answer["details"],
        &json!({"name": "a", "group": "conformance.medley.health", "kind": "probes", "uid": made["metadata"]["uid"]}),
    )?;
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    Ok(())
}

async fn a_delete_of_another_incarnation_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let status =
        refused(lab.delete("probes", "a", &json!({"preconditions": {"uid": "other"}})).await, 409, "Conflict")?;
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
    let wanted = format!(
        "Operation cannot be fulfilled on Probe.conformance.medley.health \"a\": the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    same("message", &status.message, &wanted)?;
    ok(lab.get("probes", "a").await)?;
    Ok(())
}

async fn a_delete_of_another_version_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await)?;
    refused(
        lab.delete("probes", "a", &json!({"preconditions": {"resourceVersion": version(&made)}})).await,
        409,
        "Conflict",
    )?;
    ok(lab.get("probes", "a").await)?;
    Ok(())
}

async fn a_delete_with_the_right_preconditions_works(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let options = json!({"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": version(&made)}});
    ok(lab.delete("probes", "a", &options).await)?;
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    Ok(())
}

fn held(name: &str) -> Value {
    probe_with(name, json!({"metadata": {"finalizers": ["medley.health/test"]}, "spec": {"size": 1}}))
}

async fn a_finalizer_holds_an_object_until_it_is_removed(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &held("a")).await)?;
    let going = ok(lab.delete("probes", "a", &json!({})).await)?;
    same("kind of the answer", &going["kind"], &json!("Probe"))?;
    ensure!(going["metadata"]["deletionTimestamp"].is_string(), "not marked: {going}");
    same("generation", &going["metadata"]["generation"], &json!(2))?;
    ok(lab.merge("probes", "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
    let last = ok(lab.merge("probes", "a", &json!({"metadata": {"finalizers": null}})).await)?;
    same("finalizers", &last["metadata"]["finalizers"], &Value::Null)?;
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    Ok(())
}

async fn a_second_delete_of_a_held_object_changes_nothing(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &held("a")).await)?;
    let first = ok(lab.delete("probes", "a", &json!({})).await)?;
    let second = ok(lab.delete("probes", "a", &json!({})).await)?;
    same("version", &version(&second), &version(&first))?;
    ok(lab.merge("probes", "a", &json!({"metadata": {"finalizers": null}})).await)?;
    Ok(())
}

async fn no_finalizer_is_added_to_an_object_that_goes(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &held("a")).await)?;
    ok(lab.delete("probes", "a", &json!({})).await)?;
    let more = json!({"metadata": {"finalizers": ["medley.health/test", "medley.health/more"]}});
    let status = refused(lab.merge("probes", "a", &more).await, 422, "Invalid")?;
    same("field", &causes(&status)[0].0.as_str(), &"metadata.finalizers")?;
    ok(lab.merge("probes", "a", &json!({"metadata": {"finalizers": null}})).await)?;
    Ok(())
}

async fn dependents_follow_their_owner(lab: Lab) -> anyhow::Result<()> {
    let owner = ok(lab.create("configmaps", &owner("a")).await)?;
    let middle = ok(lab.create("configmaps", &child("b", &[&owner], true)).await)?;
    ok(lab.create("configmaps", &child("c", &[&middle], true)).await)?;
    ok(lab.delete("configmaps", "a", &json!({"propagationPolicy": "Background"})).await)?;
    lab.until("configmaps", "b", "gone", Value::is_null).await?;
    lab.until("configmaps", "c", "gone", Value::is_null).await?;
    Ok(())
}

async fn a_dependent_stays_while_one_of_its_owners_lives(lab: Lab) -> anyhow::Result<()> {
    let first = ok(lab.create("configmaps", &owner("a")).await)?;
    let second = ok(lab.create("configmaps", &owner("b")).await)?;
    ok(lab.create("configmaps", &child("c", &[&first, &second], false)).await)?;
    ok(lab.delete("configmaps", "a", &json!({})).await)?;
    let one = |object: &Value| object["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1);
    let left = lab.until("configmaps", "c", "left to its second owner", one).await?;
    same("owner", &left["metadata"]["ownerReferences"][0]["name"], &json!("b"))?;
    ok(lab.delete("configmaps", "b", &json!({})).await)?;
    lab.until("configmaps", "c", "gone", Value::is_null).await?;
    Ok(())
}

async fn dependents_of_nobody_are_removed(lab: Lab) -> anyhow::Result<()> {
    let owner = ok(lab.create("configmaps", &owner("a")).await)?;
    ok(lab.delete("configmaps", "a", &json!({})).await)?;
    ok(lab.create("configmaps", &child("c", &[&owner], false)).await)?;
    lab.until("configmaps", "c", "gone", Value::is_null).await?;
    Ok(())
}

async fn orphans_are_let_go(lab: Lab) -> anyhow::Result<()> {
    let owner = ok(lab.create("configmaps", &owner("a")).await)?;
    ok(lab.create("configmaps", &child("c", &[&owner], true)).await)?;
    // The real collector must have seen the dependent, or it cannot let it go.
    let marker = child("d", &[&owner], true);
    ok(lab.create("configmaps", &marker).await)?;
    ok(lab.delete("configmaps", "a", &json!({"propagationPolicy": "Orphan"})).await)?;
    lab.until("configmaps", "a", "gone", Value::is_null).await?;
    let free = |object: &Value| object["metadata"]["ownerReferences"].is_null() && object.is_object();
    lab.until("configmaps", "c", "without owner", free).await?;
    Ok(())
}

async fn a_foreground_delete_waits_for_its_dependents(lab: Lab) -> anyhow::Result<()> {
    let owner = ok(lab.create("configmaps", &owner("a")).await)?;
    let mut held = child("c", &[&owner], true);
    held["metadata"]["finalizers"] = json!(["medley.health/test"]);
    ok(lab.create("configmaps", &held).await)?;
    let going = ok(lab.delete("configmaps", "a", &json!({"propagationPolicy": "Foreground"})).await)?;
    same("finalizers", &going["metadata"]["finalizers"], &json!(["foregroundDeletion"]))?;
    lab.until("configmaps", "c", "marked", |object| object["metadata"]["deletionTimestamp"].is_string()).await?;
    ok(lab.get("configmaps", "a").await)?;
    ok(lab.merge("configmaps", "c", &json!({"metadata": {"finalizers": null}})).await)?;
    lab.until("configmaps", "a", "gone", Value::is_null).await?;
    Ok(())
}

async fn a_pod_without_node_goes_at_once(lab: Lab) -> anyhow::Result<()> {
    let body = named(
        "v1",
        "Pod",
        "a",
        json!({"spec": {"schedulerName": "nobody", "automountServiceAccountToken": false, "containers": [{"name": "main", "image": "example.test/app:1"}]}}),
    );
    ok(lab.create("pods", &body).await)?;
    let answer = ok(lab.delete("pods", "a", &json!({})).await)?;
    same("kind of the answer", &answer["kind"], &json!("Pod"))?;
    refused(lab.get("pods", "a").await, 404, "NotFound")?;
    Ok(())
}

async fn a_collection_is_deleted_by_selector(lab: Lab) -> anyhow::Result<()> {
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        ok(lab
            .create("probes", &probe_with(name, json!({"metadata": {"labels": {"l": label}}, "spec": {"size": 1}})))
            .await)?;
    }
    let url = format!("{}?labelSelector=l%3Dx", lab.url("probes"));
    ok(lab.call("DELETE", &url, "application/json", None).await)?;
    let left = ok(lab.list("probes", "").await)?;
    let names: Vec<_> = left["items"].as_array().into_iter().flatten().map(|o| o["metadata"]["name"].clone()).collect();
    same("left", &names, &vec![json!("b")])
}
