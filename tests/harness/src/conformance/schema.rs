//! Cases about the schema of a custom resource: pruning, structure, CEL rules.

use super::{
    Answer, Lab, causes, list_cases, named, ok,
    probe::{GROUP, define, definition, probe},
    refused, same,
};
use anyhow::ensure;
use serde_json::{Value, json};
use std::time::Duration;

list_cases!(
    unknown_fields_are_dropped_except_where_they_are_kept,
    nulls_stay_only_where_they_are_allowed,
    each_breach_of_structure_is_named_with_its_field,
    rules_wait_until_the_structure_is_right,
    a_rule_of_a_field_is_held_with_its_message,
    a_rule_can_name_field_reason_and_message,
    a_transition_rule_sees_the_old_object,
    a_transition_rule_follows_keys_of_lists_and_maps,
    a_root_rule_guards_the_status_too,
    one_of_several_must_be_given,
    a_breach_in_the_status_is_named_with_its_field,
    an_object_from_a_laxer_time_can_still_be_worked_on,
    defaults_are_filled_in,
);

const UNCHECKED: &str = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

async fn unknown_fields_are_dropped_except_where_they_are_kept(lab: Lab) -> anyhow::Result<()> {
    let mut body = probe(
        "a",
        &json!({"size": 1, "odd": 1, "items": [{"name": "x", "odd": 1}], "map": {"any": 1}, "free": {"odd": {"deep": [1]}}}),
    );
    body["odd"] = json!(1);
    let made = ok(lab.create("probes", &body).await)?;
    same(
        "spec",
        &made["spec"],
        &json!({"size": 1, "items": [{"name": "x"}], "map": {"any": 1}, "free": {"odd": {"deep": [1]}}}),
    )?;
    same("top", &made["odd"], &Value::Null)
}

async fn nulls_stay_only_where_they_are_allowed(lab: Lab) -> anyhow::Result<()> {
    let made = ok(lab
        .create("probes", &probe("a", &json!({"size": 1, "maybe": null, "mode": null, "free": {"x": null}})))
        .await)?;
    same("spec", &made["spec"], &json!({"size": 1, "maybe": null, "free": {"x": null}}))
}

async fn each_breach_of_structure_is_named_with_its_field(lab: Lab) -> anyhow::Result<()> {
    let with = |field: &str, value: Value| {
        let mut spec = json!({"size": 1});
        spec[field] = value;
        spec
    };
    let bad_type = |field: &str, wanted: &str, found: &str| {
        format!("Invalid value: \"{found}\": spec.{field} in body must be of type {wanted}: \"{found}\"")
    };
    for (spec, field, message) in [
        (json!({}), "spec.size", "Required value".to_owned()),
        (json!({"size": "x"}), "spec.size", bad_type("size", "integer", "string")),
        (
            json!({"size": 0}),
            "spec.size",
            "Invalid value: 0: spec.size in body should be greater than or equal to 1".to_owned(),
        ),
        (
            json!({"size": 10}),
            "spec.size",
            "Invalid value: 10: spec.size in body should be less than or equal to 9".to_owned(),
        ),
        (
            with("share", json!(1.5)),
            "spec.share",
            "Invalid value: 1.5: spec.share in body should be less than or equal to 1".to_owned(),
        ),
        (with("mode", json!("C")), "spec.mode", "Unsupported value: \"C\": supported values: \"A\", \"B\"".to_owned()),
        (with("flag", json!("x")), "spec.flag", bad_type("flag", "boolean", "string")),
        (with("map", json!([])), "spec.map", bad_type("map", "object", "array")),
        (with("map", json!({"k": "x"})), "spec.map.k", bad_type("map.k", "integer", "string")),
        (
            with("map", json!({"a": 1, "b": 1, "c": 1, "d": 1})),
            "spec.map",
            "Too many: 4: must have at most 3 items".to_owned(),
        ),
        (with("name", json!("toolong")), "spec.name", "Too long: may not be more than 5 bytes".to_owned()),
        (
            with("name", json!("a")),
            "spec.name",
            "Invalid value: \"a\": spec.name in body should be at least 2 chars long".to_owned(),
        ),
        (
            with("name", json!("A1")),
            "spec.name",
            "Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'".to_owned(),
        ),
        (
            with("list", json!([])),
            "spec.list",
            "Invalid value: 0: spec.list in body should have at least 1 items".to_owned(),
        ),
        (with("list", json!(["a", "b", "c", "d"])), "spec.list", "Too many: 4: must have at most 3 items".to_owned()),
        (with("list", json!([1])), "spec.list[0]", bad_type("list[0]", "string", "integer")),
        (with("port", json!(true)), "spec.port", bad_type("port", "integer,string", "boolean")),
        (
            with("when", json!("nope")),
            "spec.when",
            "Invalid value: \"nope\": spec.when in body must be of type date-time: \"nope\"".to_owned(),
        ),
        (with("set", json!(["a", "a"])), "spec.set[1]", "Duplicate value: \"a\"".to_owned()),
        (
            with("items", json!([{"name": "x"}, {"name": "x"}])),
            "spec.items[1]",
            "Duplicate value: {\"name\":\"x\"}".to_owned(),
        ),
        (with("items", json!([{"value": 1}])), "spec.items[0].name", "Required value".to_owned()),
    ] {
        let status = refused(lab.create("probes", &probe("a", &spec)).await, 422, "Invalid")
            .map_err(|e| e.context(spec.to_string()))?;
        let found: Vec<_> = causes(&status).into_iter().filter(|(_, message)| message != UNCHECKED).collect();
        same(&spec.to_string(), &found, &vec![(field.to_owned(), message)])?;
    }
    Ok(())
}

async fn rules_wait_until_the_structure_is_right(lab: Lab) -> anyhow::Result<()> {
    let status = refused(lab.create("probes", &probe("a", &json!({"lower": 2, "upper": 1}))).await, 422, "Invalid")?;
    same(
        "causes",
        &causes(&status),
        &vec![("<nil>".to_owned(), UNCHECKED.to_owned()), ("spec.size".to_owned(), "Required value".to_owned())],
    )
}

fn only_cause(answer: Answer) -> anyhow::Result<(String, String)> {
    let status = refused(answer, 422, "Invalid")?;
    let mut causes = causes(&status);
    ensure!(causes.len() == 1, "one cause was due: {causes:?}");
    Ok(causes.remove(0))
}

async fn a_rule_of_a_field_is_held_with_its_message(lab: Lab) -> anyhow::Result<()> {
    let answer = lab.create("probes", &probe("a", &json!({"size": 1, "lower": 2, "upper": 1}))).await;
    same("cause", &only_cause(answer)?, &("spec".to_owned(), "Invalid value: lower must not exceed upper".to_owned()))?;
    let status =
        refused(lab.create("probes", &probe("a", &json!({"size": 1, "lower": 2, "upper": 1}))).await, 422, "Invalid")?;
    same(
        "message",
        &status.message.as_str(),
        &"Probe.conformance.medley.health \"a\" is invalid: spec: Invalid value: lower must not exceed upper",
    )?;
    ok(lab.create("probes", &probe("a", &json!({"size": 1, "lower": 1, "upper": 1}))).await)?;
    Ok(())
}

async fn a_rule_can_name_field_reason_and_message(lab: Lab) -> anyhow::Result<()> {
    let answer = lab.create("probes", &probe("a", &json!({"size": 1, "lower": 13}))).await;
    same("cause", &only_cause(answer)?, &("spec.lower".to_owned(), "Forbidden: thirteen is unlucky".to_owned()))
}

async fn a_transition_rule_sees_the_old_object(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1, "fixed": "f"}))).await)?;
    for patch in [json!({"spec": {"fixed": "g"}}), json!({"spec": {"fixed": null}})] {
        let answer = lab.merge("probes", "a", &patch).await;
        same(
            "cause",
            &only_cause(answer)?,
            &("<nil>".to_owned(), "Invalid value: spec.fixed is immutable".to_owned()),
        )?;
    }
    let now = ok(lab.merge("probes", "a", &json!({"spec": {"size": 2}})).await)?;
    same("generation", &now["metadata"]["generation"], &json!(2))
}

async fn a_transition_rule_follows_keys_of_lists_and_maps(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1, "items": [{"name": "x", "phase": "Done"}]}))).await)?;
    let answer = lab
        .merge(
            "probes",
            "a",
            &json!({"spec": {"items": [{"name": "new", "phase": "Busy"}, {"name": "x", "phase": "Busy"}]}}),
        )
        .await;
    same(
        "list",
        &only_cause(answer)?,
        &("spec.items[1].phase".to_owned(), "Invalid value: \"Busy\": Done is final".to_owned()),
    )?;
    ok(lab
        .merge(
            "probes",
            "a",
            &json!({"spec": {"items": [{"name": "new", "phase": "Busy"}, {"name": "x", "phase": "Done"}]}}),
        )
        .await)?;
    ok(lab.merge("probes", "a/status", &json!({"status": {"steps": {"s": {"phase": "Done"}}}})).await)?;
    let answer = lab.merge("probes", "a/status", &json!({"status": {"steps": {"s": {"phase": "Busy"}}}})).await;
    same(
        "map",
        &only_cause(answer)?,
        &("status.steps[s].phase".to_owned(), "Invalid value: \"Busy\": Done is final".to_owned()),
    )?;
    ok(lab.merge("probes", "a/status", &json!({"status": {"steps": {"t": {"phase": "Busy"}}}})).await)?;
    Ok(())
}

async fn a_root_rule_guards_the_status_too(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    let mut held = ok(lab.merge("probes", "a/status", &json!({"status": {"epoch": 5}})).await)?;
    let cause = ("<nil>".to_owned(), "Invalid value: status.epoch never falls".to_owned());
    same("smaller", &only_cause(lab.merge("probes", "a/status", &json!({"status": {"epoch": 4}})).await)?, &cause)?;
    same("removed", &only_cause(lab.merge("probes", "a/status", &json!({"status": {"epoch": null}})).await)?, &cause)?;
    held["status"] = json!({"phase": "Busy"});
    same("replaced", &only_cause(lab.put("probes", "a/status", &held).await)?, &cause)?;
    ok(lab.merge("probes", "a/status", &json!({"status": {"epoch": 6}})).await)?;
    Ok(())
}

async fn one_of_several_must_be_given(lab: Lab) -> anyhow::Result<()> {
    let choice = |choice: Value| probe("a", &json!({"size": 1, "choice": choice}));
    for (value, message) in [
        (
            json!({}),
            "Invalid value: \"\": \"spec.choice\" must validate one and only one schema (oneOf). Found none valid",
        ),
        (
            json!({"left": "a", "right": "b"}),
            "Invalid value: \"\": \"spec.choice\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
    ] {
        let status = refused(lab.create("probes", &choice(value)).await, 422, "Invalid")?;
        let found: Vec<_> = causes(&status).into_iter().filter(|(_, m)| m.contains("oneOf")).collect();
        same("causes", &found, &vec![("<nil>".to_owned(), message.to_owned())])?;
    }
    ok(lab.create("probes", &choice(json!({"left": "a"}))).await)?;
    Ok(())
}

async fn a_breach_in_the_status_is_named_with_its_field(lab: Lab) -> anyhow::Result<()> {
    ok(lab.create("probes", &probe("a", &json!({"size": 1}))).await)?;
    for (status, field, message) in [
        (
            json!({"epoch": "x"}),
            "status.epoch",
            "Invalid value: \"string\": epoch in body must be of type integer: \"string\"",
        ),
        (json!({"phase": "much too long"}), "status.phase", "Too long: may not be more than 10 bytes"),
        (json!({"conditions": [{"status": "x"}]}), "status.conditions[0].type", "Required value"),
    ] {
        let refusal = refused(lab.merge("probes", "a/status", &json!({"status": status})).await, 422, "Invalid")?;
        let found: Vec<_> = causes(&refusal).into_iter().filter(|(_, message)| message != UNCHECKED).collect();
        same("causes", &found, &vec![(field.to_owned(), message.to_owned())])?;
    }
    Ok(())
}

/// A kind of the case's own, whose schema has been made stricter.
async fn tighten(lab: &Lab, plural: &str, kind: &str, name_schema: &Value) -> anyhow::Result<()> {
    let rule = json!([{"rule": "!has(self.size) || self.size < 100", "message": "too big"}]);
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"name": name_schema, "size": {"type": "integer"}}, "x-kubernetes-validations": rule},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }});
    define(&lab.client, &definition(plural, kind, &schema)?).await
}

/// Waits until the server judges `body` as wanted: a real one takes up a changed definition a moment later.
async fn taken_up(lab: &Lab, plural: &str, body: &Value, accepted: bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let url = format!("{}?dryRun=All", lab.url(plural));
    while lab.call("POST", &url, "application/json", Some(body)).await.is_ok() != accepted {
        ensure!(tokio::time::Instant::now() < deadline, "the changed definition of {plural} does not hold after 30 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn an_object_from_a_laxer_time_can_still_be_worked_on(lab: Lab) -> anyhow::Result<()> {
    let (plural, kind) = ("drifters", "Drifter");
    let drifter = |name: &str, spec: Value| named(&format!("{GROUP}/v1"), kind, name, json!({"spec": spec}));
    let body = drifter("a", json!({"name": "far too long"}));
    tighten(&lab, plural, kind, &json!({"type": "string"})).await?;
    taken_up(&lab, plural, &body, true).await?;
    ok(lab.create(plural, &body).await)?;
    tighten(&lab, plural, kind, &json!({"type": "string", "maxLength": 3})).await?;
    taken_up(&lab, plural, &drifter("b", json!({"name": "too long"})), false).await?;
    ok(lab.merge(plural, "a/status", &json!({"status": {"phase": "Busy"}})).await)?;
    let now = ok(lab.merge(plural, "a", &json!({"spec": {"size": 1}})).await)?;
    same("spec", &now["spec"], &json!({"name": "far too long", "size": 1}))?;
    let status = refused(lab.merge(plural, "a", &json!({"spec": {"name": "also long"}})).await, 422, "Invalid")?;
    ensure!(causes(&status).iter().any(|(field, _)| field == "spec.name"), "{}", status.message);
    Ok(())
}

async fn defaults_are_filled_in(lab: Lab) -> anyhow::Result<()> {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {"mode": {"type": "string", "default": "A"}, "deep": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}}},
    }}});
    define(&lab.client, &definition("defaulters", "Defaulter", &schema)?).await?;
    let body = named(&format!("{GROUP}/v1"), "Defaulter", "a", json!({"spec": {}}));
    taken_up(&lab, "defaulters", &body, true).await?;
    let made = ok(lab.create("defaulters", &body).await)?;
    same("spec", &made["spec"], &json!({"mode": "A", "deep": {"n": 3}}))
}
