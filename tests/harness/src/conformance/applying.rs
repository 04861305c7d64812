//! Cases about server-side apply to a custom resource.

use super::{Lab, causes, list_cases, ok, probe::probe, probe::probe_with, refused, same, version};
use anyhow::ensure;
use serde_json::{Value, json};

list_cases!(
    an_apply_creates_and_the_same_again_changes_nothing,
    an_apply_without_a_manager_is_refused,
    an_apply_removes_what_its_manager_no_longer_sends,
    an_apply_of_a_field_of_another_conflicts,
    a_forced_apply_takes_fields_over,
    a_field_stays_while_one_of_its_owners_keeps_it,
    an_update_takes_fields_from_those_who_applied_them,
    keyed_items_merge_by_key_and_sets_by_value,
    a_list_without_keys_is_one_piece,
    an_apply_keeps_what_nobody_owns_in_an_item,
    an_apply_to_the_status_owns_the_status_alone,
    an_apply_to_the_status_of_nothing_is_not_found,
    a_stale_apply_conflicts,
    an_apply_that_names_an_unknown_incarnation_conflicts,
    an_apply_of_what_the_schema_does_not_declare_is_refused,
    an_apply_of_managed_fields_is_refused,
    an_apply_of_a_null_is_refused_where_it_is_not_allowed,
    a_new_owner_of_an_equal_value_is_a_change,
);

async fn an_apply_creates_and_the_same_again_changes_nothing(lab: Lab) -> anyhow::Result<()> {
    let body = probe_with(
        "a",
        json!({"metadata": {"labels": {"l": "1"}}, "spec": {"size": 1, "items": [{"name": "x", "value": 1}], "set": ["s"], "map": {"k": 1}, "free": {"deep": [1]}}}),
    );
    let made = ok(lab.apply("m", "probes", "a", &body).await)?;
    let fields = json!({
        "f:metadata": {"f:labels": {"f:l": {}}},
        "f:spec": {"f:free": {"f:deep": {}}, "f:items": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:value": {}}}, "f:map": {"f:k": {}}, "f:set": {"v:\"s\"": {}}, "f:size": {}},
    });
    same("fields", &made["metadata"]["managedFields"][0]["fieldsV1"], &fields)?;
    same("operation", &made["metadata"]["managedFields"][0]["operation"], &json!("Apply"))?;
    same("again", &ok(lab.apply("m", "probes", "a", &body).await)?, &made)
}

async fn an_apply_without_a_manager_is_refused(lab: Lab) -> anyhow::Result<()> {
    let status = refused(lab.apply("", "probes", "a", &probe("a", &json!({"size": 1}))).await, 422, "Invalid")?;
    same("field", &causes(&status)[0].0.as_str(), &"fieldManager")
}

async fn an_apply_removes_what_its_manager_no_longer_sends(lab: Lab) -> anyhow::Result<()> {
    let full = probe_with(
        "a",
        json!({"metadata": {"labels": {"l": "1"}, "annotations": {"n": "1"}}, "spec": {"size": 1, "mode": "A", "map": {"x": 1, "y": 2}, "items": [{"name": "p", "value": 1}, {"name": "q"}]}}),
    );
    ok(lab.apply("m", "probes", "a", &full).await)?;
    let less = probe_with(
        "a",
        json!({"metadata": {"annotations": {"n": "1"}}, "spec": {"size": 1, "map": {"y": 2}, "items": [{"name": "q"}]}}),
    );
    let now = ok(lab.apply("m", "probes", "a", &less).await)?;
    same("spec", &now["spec"], &json!({"size": 1, "map": {"y": 2}, "items": [{"name": "q"}]}))?;
    same("labels", &now["metadata"]["labels"], &Value::Null)?;
    same("annotations", &now["metadata"]["annotations"], &json!({"n": "1"}))?;
    let now = ok(lab.apply("m", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    same("spec at last", &now["spec"], &json!({"size": 1}))
}

async fn an_apply_of_a_field_of_another_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "mode": "A"}))).await)?;
    let status = refused(lab.apply("two", "probes", "a", &probe("a", &json!({"size": 2}))).await, 409, "Conflict")?;
    same("message", &status.message.as_str(), &"Apply failed with 1 conflict: conflict with \"one\": .spec.size")?;
    same("causes", &causes(&status), &vec![(".spec.size".to_owned(), "conflict with \"one\"".to_owned())])?;
    let status =
        refused(lab.apply("two", "probes", "a", &probe("a", &json!({"size": 2, "mode": "B"}))).await, 409, "Conflict")?;
    same(
        "message of two",
        &status.message.as_str(),
        &"Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.mode\n- .spec.size",
    )?;
    same("unchanged", &ok(lab.get("probes", "a").await)?, &made)
}

async fn a_forced_apply_takes_fields_over(lab: Lab) -> anyhow::Result<()> {
    ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "mode": "A"}))).await)?;
    let now = ok(lab.force("two", "probes", "a", &probe("a", &json!({"size": 2}))).await)?;
    same("spec", &now["spec"], &json!({"size": 2, "mode": "A"}))?;
    // `one` owns the mode alone now: leaving both out, it removes the mode and keeps the size.
    let now = ok(lab.apply("one", "probes", "a", &probe_with("a", json!({}))).await)?;
    same("spec", &now["spec"], &json!({"size": 2}))?;
    refused(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 3}))).await, 409, "Conflict")?;
    Ok(())
}

async fn a_field_stays_while_one_of_its_owners_keeps_it(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .apply(
            "one",
            "probes",
            "a",
            &probe("a", &json!({"size": 1, "map": {"x": 1}, "items": [{"name": "p", "value": 1}]})),
        )
        .await)?;
    ok(lab
        .apply("two", "probes", "a", &probe("a", &json!({"size": 1, "map": {"x": 1}, "items": [{"name": "p"}]})))
        .await)?;
    let now = ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    same("spec", &now["spec"], &json!({"size": 1, "map": {"x": 1}, "items": [{"name": "p"}]}))
}

async fn an_update_takes_fields_from_those_who_applied_them(lab: Lab) -> anyhow::Result<()> {
    ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "mode": "A"}))).await)?;
    ok(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await)?;
    let status =
        refused(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "mode": "A"}))).await, 409, "Conflict")?;
    let wanted =
        "Apply failed with 1 conflict: conflict with \"conformance\" using conformance.medley.health/v1: .spec.size";
    same("message", &status.message.as_str(), &wanted)?;
    ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 2, "mode": "A"}))).await)?;
    Ok(())
}

async fn keyed_items_merge_by_key_and_sets_by_value(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .apply(
            "one",
            "probes",
            "a",
            &probe(
                "a",
                &json!({"size": 1, "items": [{"name": "p", "value": 1}, {"name": "q", "value": 2}], "set": ["x", "y"]}),
            ),
        )
        .await)?;
    let now = ok(lab.apply("two", "probes", "a", &probe("a", &json!({"size": 1, "items": [{"name": "r", "value": 3}, {"name": "q", "note": "n"}], "set": ["z", "y"]}))).await)?;
    let items = now["spec"]["items"].as_array().cloned().unwrap_or_default();
    same("number of items", &items.len(), &3)?;
    ensure!(items.contains(&json!({"name": "q", "value": 2, "note": "n"})), "q was not merged: {items:?}");
    let mut set = now["spec"]["set"].as_array().cloned().unwrap_or_default();
    set.sort_by_key(Value::to_string);
    same("set", &set, &vec![json!("x"), json!("y"), json!("z")])?;
    let now = ok(lab.apply("two", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    same("items", &now["spec"]["items"], &json!([{"name": "p", "value": 1}, {"name": "q", "value": 2}]))?;
    same("set", &now["spec"]["set"], &json!(["x", "y"]))?;
    let now = ok(lab
        .apply(
            "one",
            "probes",
            "a",
            &probe(
                "a",
                &json!({"size": 1, "items": [{"name": "q", "value": 2}, {"name": "p", "value": 1}], "set": ["x", "y"]}),
            ),
        )
        .await)?;
    same("order", &now["spec"]["items"][0]["name"], &json!("q"))
}

async fn a_list_without_keys_is_one_piece(lab: Lab) -> anyhow::Result<()> {
    ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "list": ["x", "y"]}))).await)?;
    let status = refused(
        lab.apply("two", "probes", "a", &probe("a", &json!({"size": 1, "list": ["z"]}))).await,
        409,
        "Conflict",
    )?;
    same("field", &causes(&status)[0].0.as_str(), &".spec.list")?;
    let now = ok(lab.force("two", "probes", "a", &probe("a", &json!({"size": 1, "list": ["z"]}))).await)?;
    same("list", &now["spec"]["list"], &json!(["z"]))
}

async fn an_apply_keeps_what_nobody_owns_in_an_item(lab: Lab) -> anyhow::Result<()> {
    ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "items": [{"name": "p", "value": 1}]}))).await)?;
    ok(lab.merge("probes", "a", &json!({"spec": {"items": [{"name": "p", "value": 1, "note": "by hand"}]}})).await)?;
    let now = ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1, "items": [{"name": "p"}]}))).await)?;
    same("items", &now["spec"]["items"], &json!([{"name": "p", "note": "by hand"}]))
}

async fn an_apply_to_the_status_owns_the_status_alone(lab: Lab) -> anyhow::Result<()> {
    ok(lab
        .apply("m", "probes", "a", &probe_with("a", json!({"spec": {"size": 1}, "status": {"phase": "Other"}})))
        .await)?;
    let body = probe_with(
        "a",
        json!({"metadata": {"labels": {"x": "y"}}, "spec": {"size": 5}, "status": {"phase": "Busy", "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    let now = ok(lab.apply("m", "probes", "a/status", &body).await)?;
    same("spec", &now["spec"], &json!({"size": 1}))?;
    same("labels", &now["metadata"]["labels"], &Value::Null)?;
    same("generation", &now["metadata"]["generation"], &json!(1))?;
    let entries = now["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = entries.iter().find(|e| e["subresource"] == "status");
    let fields = json!({"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}}, "f:phase": {}}});
    same("fields", &own.map(|e| &e["fieldsV1"]), &Some(&fields))?;
    same("again", &ok(lab.apply("m", "probes", "a/status", &body).await)?, &now)?;
    let other = probe_with("a", json!({"status": {"conditions": [{"type": "Done", "status": "False"}]}}));
    let now = ok(lab.apply("two", "probes", "a/status", &other).await)?;
    same("number of conditions", &now["status"]["conditions"].as_array().map(Vec::len), &Some(2))?;
    let now = ok(lab.apply("m", "probes", "a/status", &probe_with("a", json!({"status": {"phase": "Busy"}}))).await)?;
    same("status", &now["status"], &json!({"phase": "Busy", "conditions": [{"type": "Done", "status": "False"}]}))
}

async fn an_apply_to_the_status_of_nothing_is_not_found(lab: Lab) -> anyhow::Result<()> {
    refused(
        lab.apply("m", "probes", "a/status", &probe_with("a", json!({"status": {"phase": "Busy"}}))).await,
        404,
        "NotFound",
    )?;
    Ok(())
}

async fn a_stale_apply_conflicts(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.apply("m", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    ok(lab.merge("probes", "a", &json!({"metadata": {"labels": {"x": "y"}}})).await)?;
    let stale = probe_with("a", json!({"metadata": {"resourceVersion": version(&made)}, "spec": {"size": 2}}));
    refused(lab.apply("m", "probes", "a", &stale).await, 409, "Conflict")?;
    Ok(())
}

async fn an_apply_that_names_an_unknown_incarnation_conflicts(lab: Lab) -> anyhow::Result<()> {
    let body =
        probe_with("a", json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "spec": {"size": 1}}));
    refused(lab.apply("m", "probes", "a", &body).await, 409, "Conflict")?;
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    // Of something that is there, it is a field that cannot change.
    refused(lab.apply("m", "probes", "a", &body).await, 422, "Invalid")?;
    Ok(())
}

async fn an_apply_of_what_the_schema_does_not_declare_is_refused(lab: Lab) -> anyhow::Result<()> {
    for (spec, why) in [
        (json!({"size": 1, "odd": 1}), ".spec.odd: field not declared in schema"),
        (
            json!({"size": 1, "items": [{"name": "p", "odd": 1}]}),
            ".spec.items[name=\"p\"].odd: field not declared in schema",
        ),
        (json!({"size": "x"}), ".spec.size: expected numeric (int or float), got string"),
        (
            json!({"size": 1, "items": [{"name": "p"}, {"name": "p"}]}),
            ".spec.items: duplicate entries for key [name=\"p\"]",
        ),
    ] {
        let status = refused(lab.apply("m", "probes", "a", &probe("a", &spec)).await, 500, "")?;
        let wanted =
            format!("failed to create typed patch object (/a; conformance.medley.health/v1, Kind=Probe): {why}");
        same("message", &status.message, &wanted)?;
    }
    refused(lab.get("probes", "a").await, 404, "NotFound")?;
    Ok(())
}

async fn an_apply_of_managed_fields_is_refused(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.apply("m", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    let status = refused(lab.apply("m", "probes", "a", &made).await, 400, "BadRequest")?;
    same("message", &status.message.as_str(), &"metadata.managedFields must be nil")
}

async fn an_apply_of_a_null_is_refused_where_it_is_not_allowed(lab: Lab) -> anyhow::Result<()> {
    let now = ok(lab.apply("m", "probes", "a", &probe("a", &json!({"size": 1, "maybe": null}))).await)?;
    same("spec", &now["spec"], &json!({"size": 1, "maybe": null}))?;
    let status =
        refused(lab.apply("m", "probes", "a", &probe("a", &json!({"size": 1, "fixed": null}))).await, 422, "Invalid")?;
    let wanted = (
        "spec.fixed".to_owned(),
        "Invalid value: \"null\": spec.fixed in body must be of type string: \"null\"".to_owned(),
    );
    ensure!(causes(&status).contains(&wanted), "{}", status.message);
    Ok(())
}

async fn a_new_owner_of_an_equal_value_is_a_change(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab.apply("one", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    let now = ok(lab.apply("two", "probes", "a", &probe("a", &json!({"size": 1}))).await)?;
    ensure!(version(&now) != version(&made), "the version did not change");
    same("generation", &now["metadata"]["generation"], &json!(1))
}
