//! Is the configuration of a server-side apply well typed? The real server refuses what its schema does not declare
//! before it looks at anything else, where other writes prune it.

use super::error::ApiError;
use medley_schema::key_step;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Refuses a configuration with undeclared fields or values of the wrong type. Without a schema only `metadata` is judged.
pub(super) fn check(config: &Value, schema: Option<&Value>) -> Result<(), ApiError> {
    if config["metadata"]["managedFields"].as_array().is_some_and(|m| !m.is_empty()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut errors = Vec::new();
    for name in config["metadata"].as_object().into_iter().flatten().map(|(name, _)| name) {
        if !METADATA.contains(&name.as_str()) {
            errors.push(format!(".metadata.{name}: field not declared in schema"));
        }
    }
    if let (Some(schema), Some(map)) = (schema, config.as_object()) {
        let rest = map.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        let rest: Map<String, Value> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        walk(&Value::Object(rest), schema, "", &mut errors);
    }
    let text = match errors.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let field = |name: &str| config["metadata"][name].as_str().unwrap_or_default().to_owned();
    let (version, kind) =
        (config["apiVersion"].as_str().unwrap_or_default(), config["kind"].as_str().unwrap_or_default());
    let object = format!("{}/{}; {version}, Kind={kind}", field("namespace"), field("name"));
    Err(ApiError::new(500, "", format!("failed to create typed patch object ({object}): {text}")))
}

fn walk(value: &Value, schema: &Value, path: &str, errors: &mut Vec<String>) {
    if value.is_null() || schema["x-kubernetes-int-or-string"] == true {
        return;
    }
    let mut wrong = |expected: &str| errors.push(format!("{path}: expected {expected}, got {}", type_name(value)));
    match schema["type"].as_str() {
        Some("object") => match value {
            Value::Object(map) => object(map, schema, path, errors),
            _ => wrong("map"),
        },
        Some("array") => match value {
            Value::Array(items) => list(items, schema, path, errors),
            _ => wrong("list"),
        },
        Some("string") if !value.is_string() => wrong("string"),
        Some("boolean") if !value.is_boolean() => wrong("boolean"),
        Some("integer" | "number") if !value.is_number() => wrong("numeric (int or float)"),
        _ => {}
    }
}

fn object(map: &Map<String, Value>, schema: &Value, path: &str, errors: &mut Vec<String>) {
    for (name, child) in map {
        let path = format!("{path}.{name}");
        if let Some(sub) = schema["properties"].get(name) {
            walk(child, sub, &path, errors);
        } else if schema["additionalProperties"].is_object() {
            walk(child, &schema["additionalProperties"], &path, errors);
        } else if schema["additionalProperties"] != true && schema["x-kubernetes-preserve-unknown-fields"] != true {
            errors.push(format!("{path}: field not declared in schema"));
        }
    }
}

fn list(items: &[Value], schema: &Value, path: &str, errors: &mut Vec<String>) {
    let keys: Vec<(String, Option<Value>)> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|key| (key.to_owned(), schema["items"]["properties"][key].get("default").cloned()))
        .collect();
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        if keys.is_empty() {
            walk(item, &schema["items"], &format!("{path}[{i}]"), errors);
            continue;
        }
        if keys.iter().all(|(key, default)| item.get(key).is_none() && default.is_none()) {
            let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
            let why = "associative list with keys has an element that omits all key fields";
            errors.push(format!(
                "{path}: element {i}: {why} {names:?} (and doesn't have default values for any key fields)"
            ));
            continue;
        }
        let step = key_step(item, &keys);
        let shown: Map<String, Value> = serde_json::from_str(&step[2..]).unwrap_or_default();
        let shown: Vec<String> = shown.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let shown = shown.join(",");
        if !seen.insert(step) {
            errors.push(format!("{path}: duplicate entries for key [{shown}]"));
        }
        walk(item, &schema["items"], &format!("{path}[{shown}]"), errors);
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}
