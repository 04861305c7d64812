//! Cases about creates, replaces and patches.

use super::{Lab, causes, list_cases, named, ok, probe::probe, probe::probe_with, refused, same, version};
use anyhow::ensure;
use serde_json::{Value, json};

list_cases!(
    a_created_object_gets_uid_version_time_and_first_generation,
    a_name_can_be_taken_only_once,
    what_is_not_there_is_not_found,
    a_version_on_create_is_refused,
    a_generated_name_starts_with_its_prefix,
    names_and_labels_are_checked,
    a_body_for_another_name_or_namespace_is_refused,
    a_replace_of_a_custom_resource_needs_its_version,
    a_replace_of_a_lease_needs_its_version_but_one_of_a_config_map_does_not,
    a_replace_of_a_missing_lease_creates_it,
    a_stale_replace_conflicts,
    a_replace_of_another_incarnation_conflicts,
    a_replace_without_change_keeps_the_version,
    a_replace_cannot_touch_what_the_server_sets,
    the_generation_counts_changes_of_the_spec_alone,
    a_replace_of_the_object_leaves_the_status_alone,
    a_write_of_the_status_leaves_everything_else_alone,
    a_stale_write_of_the_status_conflicts,
    a_status_on_create_is_ignored,
    a_merge_patch_removes_nulls_and_merges_objects,
    a_merge_patch_without_change_keeps_the_version,
    a_merge_patch_with_a_stale_version_conflicts,
    a_failed_test_of_a_json_patch_changes_nothing,
    a_dry_run_stores_nothing,
    the_author_of_a_write_is_recorded,
);

async fn a_created_object_gets_uid_version_time_and_first_generation(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let metadata = &made["metadata"];
    same("generation", &metadata["generation"], &json!(1))?;
    same("namespace", &metadata["namespace"], &json!(lab.namespace))?;
    ensure!(version(&made).parse::<u64>().is_ok(), "the version is not a number: {metadata}");
    ensure!(metadata["uid"].as_str().is_some_and(|uid| uid.len() == 36), "no UID: {metadata}");
    ensure!(
        metadata["creationTimestamp"].as_str().is_some_and(|at| at.len() == 20 && at.ends_with('Z')),
        "no time: {metadata}"
    );
    same("read back", &ok(lab.get("probes", "a").await)?, &made)
}

async fn a_name_can_be_taken_only_once(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let status = refused(lab.create("probes", &probe("a", &json!({"size": 1}))).await, 409, "AlreadyExists")?;
    same("message", &status.message.as_str(), &"probes.conformance.medley.health \"a\" already exists")
}

async fn what_is_not_there_is_not_found(lab: Lab) -> anyhow::Result<()> {
    let status = refused(lab.get("probes", "a").await, 404, "NotFound")?;
    same("message", &status.message.as_str(), &"probes.conformance.medley.health \"a\" not found")?;
    refused(
        lab.put("probes", "a", &probe_with("a", json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": 1}})))
            .await,
        404,
        "NotFound",
    )?;
    refused(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await, 404, "NotFound")?;
    refused(lab.merge("pods", "a", &json!({})).await, 404, "NotFound")?;
    refused(lab.delete("probes", "a", &json!({})).await, 404, "NotFound")?;
    Ok(())
}

async fn a_version_on_create_is_refused(lab: Lab) -> anyhow::Result<()> {
    let body = probe_with("a", json!({"metadata": {"resourceVersion": "7"}, "spec": {"size": 1}}));
    let Err(status) = lab.create("probes", &body).await else { anyhow::bail!("accepted") };
    same("message", &status.message.as_str(), &"resourceVersion should not be set on objects to be created")
}

async fn a_generated_name_starts_with_its_prefix(lab: Lab) -> anyhow::Result<()> {
    let body = json!({"apiVersion": "conformance.medley.health/v1", "kind": "Probe", "metadata": {"generateName": "run-"}, "spec": {"size": 1}});
    let (one, two) = (ok(lab.create("probes", &body).await)?, ok(lab.create("probes", &body).await)?);
    let name = one["metadata"]["name"].as_str().unwrap_or_default();
    ensure!(name.starts_with("run-") && name.len() == 9, "unexpected name {name}");
    ensure!(one["metadata"]["name"] != two["metadata"]["name"], "the same name twice: {name}");
    Ok(())
}

async fn names_and_labels_are_checked(lab: Lab) -> anyhow::Result<()> {
    let status = refused(lab.create("probes", &probe("A_b", &json!({"size": 1}))).await, 422, "Invalid")?;
    same("fields", &causes(&status).into_iter().map(|c| c.0).collect::<Vec<_>>(), &vec!["metadata.name".to_owned()])?;
    let long = "x".repeat(64);
    for label in [json!({"a b": "x"}), json!({"a": "x y"}), json!({"a": long}), json!({long.as_str(): "a"})] {
        let body = probe_with("a", json!({"metadata": {"labels": label}, "spec": {"size": 1}}));
        let status = refused(lab.create("probes", &body).await, 422, "Invalid")?;
        same(
            "fields",
            &causes(&status).into_iter().map(|c| c.0).collect::<Vec<_>>(),
            &vec!["metadata.labels".to_owned()],
        )?;
    }
    Ok(())
}

async fn a_body_for_another_name_or_namespace_is_refused(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    refused(lab.put("probes", "a", &probe("b", &json!({"size": 1}))).await, 400, "BadRequest")?;
    let elsewhere = probe_with("c", json!({"metadata": {"namespace": "elsewhere"}, "spec": {"size": 1}}));
    refused(lab.create("probes", &elsewhere).await, 400, "BadRequest")?;
    Ok(())
}

async fn a_replace_of_a_custom_resource_needs_its_version(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    for target in ["a", "a/status"] {
        let status = refused(lab.put("probes", target, &probe("a", &json!({"size": 2}))).await, 422, "Invalid")?;
        same(
            "causes",
            &causes(&status),
            &vec![(
                "metadata.resourceVersion".to_owned(),
                "Invalid value: 0: must be specified for an update".to_owned(),
            )],
        )?;
    }
    Ok(())
}

async fn a_replace_of_a_lease_needs_its_version_but_one_of_a_config_map_does_not(lab: Lab) -> anyhow::Result<()> {
    let lease = |who: &str| named("coordination.k8s.io/v1", "Lease", "a", json!({"spec": {"holderIdentity": who}}));
    let made = ok(lab.create("leases", &lease("x")).await)?;
    refused(lab.put("leases", "a", &lease("y")).await, 422, "Invalid")?;
    let mut taken = lease("y");
    taken["metadata"]["resourceVersion"] = version(&made).into();
    let now = ok(lab.put("leases", "a", &taken).await)?;
    same("holder", &now["spec"]["holderIdentity"], &json!("y"))?;
    refused(lab.put("leases", "a", &taken).await, 409, "Conflict")?;
    let map = |value: &str| named("v1", "ConfigMap", "a", json!({"data": {"k": value}}));
    ok(lab.create("configmaps", &map("1")).await)?;
    same("data", &ok(lab.put("configmaps", "a", &map("2")).await)?["data"]["k"], &json!("2"))
}

async fn a_replace_of_a_missing_lease_creates_it(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .put("leases", "a", &named("coordination.k8s.io/v1", "Lease", "a", json!({"spec": {"holderIdentity": "x"}})))
        .await)?;
    same("holder", &ok(lab.get("leases", "a").await)?["spec"]["holderIdentity"], &json!("x"))
}

async fn a_stale_replace_conflicts(lab: Lab) -> anyhow::Result<()> {
    let first = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let mut second = first.clone();
    second["spec"]["size"] = 2.into();
    ok(lab.put("probes", "a", &second).await)?;
    let status = refused(lab.put("probes", "a", &first).await, 409, "Conflict")?;
    let wanted = "Operation cannot be fulfilled on probes.conformance.medley.health \"a\": the object has been modified; please apply your changes to the latest version and try again";
    same("message", &status.message.as_str(), &wanted)?;
    same("size", &ok(lab.get("probes", "a").await)?["spec"]["size"], &json!(2))
}

async fn a_replace_of_another_incarnation_conflicts(lab: Lab) -> anyhow::Result<()> {
    let mut body = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    refused(lab.put("probes", "a", &body).await, 409, "Conflict")?;
    Ok(())
}

async fn a_replace_without_change_keeps_the_version(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1, "list": ["x"]}))).await)?;
    same("object", &ok(lab.put("probes", "a", &made).await)?, &made)?;
    let done = ok(lab.merge("probes", "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
    same("after status", &ok(lab.put("probes", "a/status", &done).await)?, &done)
}

async fn a_replace_cannot_touch_what_the_server_sets(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let mut body = made.clone();
    body["metadata"]["generation"] = 77.into();
    body["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    let now = ok(lab.put("probes", "a", &body).await)?;
    same("object", &now, &made)?;
    body["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    let status = refused(lab.put("probes", "a", &body).await, 422, "Invalid")?;
    same("field", &causes(&status)[0].0.as_str(), &"metadata.deletionTimestamp")
}

async fn the_generation_counts_changes_of_the_spec_alone(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let generation = |object: &Value| object["metadata"]["generation"].clone();
    let now = ok(lab.merge("probes", "a", &json!({"metadata": {"labels": {"x": "y"}}})).await)?;
    same("after a label", &generation(&now), &json!(1))?;
    let now = ok(lab.merge("probes", "a/status", &json!({"status": {"epoch": 1}})).await)?;
    same("after a status", &generation(&now), &json!(1))?;
    let now = ok(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await)?;
    same("after the spec", &generation(&now), &json!(2))
}

async fn a_replace_of_the_object_leaves_the_status_alone(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let mut body = ok(lab.merge("probes", "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
    body["status"] = json!({"phase": "Other"});
    body["spec"]["size"] = 3.into();
    let now = ok(lab.put("probes", "a", &body).await)?;
    same("status", &now["status"], &json!({"phase": "Busy"}))?;
    same("size", &now["spec"]["size"], &json!(3))?;
    let now = ok(lab.merge("probes", "a", &json!({"status": null})).await)?;
    same("status after a patch", &now["status"], &json!({"phase": "Busy"}))
}

async fn a_write_of_the_status_leaves_everything_else_alone(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab
        .create("probes", &probe_with("a", json!({"metadata": {"labels": {"l": "1"}}, "spec": {"size": 1}})))
        .await)?;
    let patch = json!({"metadata": {"labels": {"l": "2"}, "annotations": {"n": "1"}}, "spec": {"size": 2}, "status": {"phase": "Busy"}});
    let now = ok(lab.merge("probes", "a/status", &patch).await)?;
    same("spec", &now["spec"], &made["spec"])?;
    same("labels", &now["metadata"]["labels"], &made["metadata"]["labels"])?;
    same("annotations", &now["metadata"]["annotations"], &Value::Null)?;
    same("status", &now["status"], &json!({"phase": "Busy"}))?;
    let mut body = now.clone();
    body["spec"]["size"] = 5.into();
    body["status"] = json!({"phase": "Idle"});
    let now = ok(lab.put("probes", "a/status", &body).await)?;
    same("size", &now["spec"]["size"], &json!(1))?;
    same("status", &now["status"], &json!({"phase": "Idle"}))
}

async fn a_stale_write_of_the_status_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.merge("probes", "a", &json!({"metadata": {"labels": {"x": "y"}}})).await)?;
    let mut body = made.clone();
    body["status"] = json!({"phase": "Busy"});
    refused(lab.put("probes", "a/status", &body).await, 409, "Conflict")?;
    let patch = json!({"metadata": {"resourceVersion": version(&made)}, "status": {"phase": "Busy"}});
    refused(lab.merge("probes", "a/status", &patch).await, 409, "Conflict")?;
    same("status", &ok(lab.get("probes", "a").await)?["status"], &Value::Null)
}

async fn a_status_on_create_is_ignored(lab: Lab) -> anyhow::Result<()> {
    let made =
        ok(lab.create("probes", &probe_with("a", json!({"spec": {"size": 1}, "status": {"phase": "Done"}}))).await)?;
    same("status", &made["status"], &Value::Null)
}

async fn a_merge_patch_removes_nulls_and_merges_objects(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .create("probes", &probe("a", &json!({"size": 1, "mode": "A", "map": {"x": 1, "y": 2}, "list": ["p", "q"]})))
        .await)?;
    let now = ok(lab
        .merge("probes", "a", &json!({"spec": {"mode": null, "map": {"x": null, "z": 3}, "list": ["r"]}}))
        .await)?;
    same("spec", &now["spec"], &json!({"size": 1, "map": {"y": 2, "z": 3}, "list": ["r"]}))
}

async fn a_merge_patch_without_change_keeps_the_version(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    same("object", &ok(lab.merge("probes", "a", &json!({"spec": {"size": 1, "unknown": 2}})).await)?, &made)
}

async fn a_merge_patch_with_a_stale_version_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.merge("probes", "a", &json!({"metadata": {"resourceVersion": version(&made)}, "spec": {"size": 2}})).await)?;
    refused(
        lab.merge("probes", "a", &json!({"metadata": {"resourceVersion": version(&made)}, "spec": {"size": 3}})).await,
        409,
        "Conflict",
    )?;
    let status = refused(
        lab.merge("probes", "a", &json!({"metadata": {"uid": "other"}, "spec": {"size": 3}})).await,
        422,
        "Invalid",
    )?;
    same("field", &causes(&status)[0].0.as_str(), &"metadata.uid")?;
    Ok(())
}

async fn a_failed_test_of_a_json_patch_changes_nothing(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let replace = json!({"op": "replace", "path": "/spec/size", "value": 2});
    let test = |size: i32| json!({"op": "test", "path": "/spec/size", "value": size});
    refused(lab.json_patch("probes", "a", &json!([test(5), replace])).await, 422, "Invalid")?;
    same("size", &ok(lab.get("probes", "a").await)?["spec"]["size"], &json!(1))?;
    same("size", &ok(lab.json_patch("probes", "a", &json!([test(1), replace])).await)?["spec"]["size"], &json!(2))
}

async fn a_dry_run_stores_nothing(lab: Lab) -> anyhow::Result<()> {
    let url = format!("{}?dryRun=All", lab.url("probes"));
    let shown = ok(lab.call("POST", &url, "application/json", Some(&probe("a", &json!({"size": 1})))).await)?;
    same("generation", &shown["metadata"]["generation"], &json!(1))?;
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    Ok(())
}

async fn the_author_of_a_write_is_recorded(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab
        .create("probes", &probe_with("a", json!({"metadata": {"labels": {"l": "1"}}, "spec": {"size": 1}})))
        .await)?;
    let entry = &made["metadata"]["managedFields"][0];
    same("manager", &entry["manager"], &json!("conformance"))?;
    same("operation", &entry["operation"], &json!("Update"))?;
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}, "f:spec": {".": {}, "f:size": {}}});
    same("fields", &entry["fieldsV1"], &fields)?;
    let now = ok(lab.merge("probes", "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
    let entries = now["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let status = entries.iter().find(|e| e["subresource"] == "status");
    same("fields of the status", &status.map(|e| &e["fieldsV1"]), &Some(&json!({"f:status": {".": {}, "f:phase": {}}})))
}
