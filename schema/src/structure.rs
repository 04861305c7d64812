//! Does an object fit the structure of its schema? Types, required fields, enums, bounds, patterns, keyed lists.
//! Messages and paths are the real server's.

use crate::{cause::Cause, keys::key_step};
use serde_json::Value;
use std::collections::HashSet;

/// Appends every violation in `object`. A place whose value is the same in `old` is not judged again.
pub(crate) fn structure(schema: &Value, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    required(schema, object, "", causes);
    for (name, sub) in properties {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(value) = object.get(name) {
            check(sub, value, old.and_then(|o| o.get(name)), name, causes);
        }
    }
    combined(schema, object, "", causes);
}

/// As `structure`, of the status alone; the real server's messages then leave the leading `status` out.
pub(crate) fn status(schema: &Value, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let (sub, Some(value)) = (&schema["properties"]["status"], object.get("status")) else { return };
    let mut found = Vec::new();
    check(sub, value, old.and_then(|o| o.get("status")), "", &mut found);
    for mut cause in found {
        cause.field = match cause.field.as_str() {
            "<nil>" => "status".to_owned(),
            field => format!("status.{field}"),
        };
        causes.push(cause);
    }
}

fn required(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            causes.push(Cause::required(&join(path, name), ""));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(schema: &Value, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if old == Some(value) || (value.is_null() && schema["nullable"] == true) {
        return;
    }
    let found = type_name(value);
    if schema["x-kubernetes-int-or-string"] == true {
        if !matches!(found, "integer" | "string") {
            causes.push(wrong_type(path, "integer,string", found));
            return;
        }
    } else if let Some(wanted) = schema["type"].as_str()
        && wanted != found
        && !(wanted == "number" && found == "integer")
    {
        causes.push(wrong_type(path, wanted, found));
        if !value.is_null() {
            return;
        }
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
        causes.push(Cause::new(
            "FieldValueNotSupported",
            path,
            format!("Unsupported value: {value}: supported values: {}", list.join(", ")),
        ));
    }
    match value {
        Value::String(text) => string(schema, text, path, causes),
        Value::Number(_) => number(schema, value, path, causes),
        Value::Array(items) => array(schema, items, old, path, causes),
        Value::Object(_) => object(schema, value, old, path, causes),
        _ => {}
    }
    combined(schema, value, path, causes);
}

fn wrong_type(path: &str, wanted: &str, found: &str) -> Cause {
    let message = format!("Invalid value: \"{found}\": {path} in body must be of type {wanted}: \"{found}\"");
    Cause::new("FieldValueTypeInvalid", path, message)
}

fn string(schema: &Value, text: &str, path: &str, causes: &mut Vec<Cause>) {
    let length = text.chars().count() as u64;
    let value = Value::from(text);
    if let Some(max) = schema["maxLength"].as_u64()
        && length > max
    {
        causes.push(Cause::new("FieldValueTooLong", path, format!("Too long: may not be more than {max} bytes")));
    }
    if let Some(min) = schema["minLength"].as_u64()
        && length < min
    {
        causes.push(Cause::invalid(path, &value, format!("{path} in body should be at least {min} chars long")));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !crate::rules::matches(pattern, text)
    {
        causes.push(Cause::invalid(path, &value, format!("{path} in body should match '{pattern}'")));
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        let message = format!("Invalid value: {value}: {path} in body must be of type date-time: {value}");
        causes.push(Cause::new("FieldValueTypeInvalid", path, message));
    }
}

fn number(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let number = value.as_f64().unwrap_or(f64::NAN);
    let mut refuse = |words: &str, bound: &Value| {
        causes.push(Cause::invalid(path, value, format!("{path} in body should be {words} {bound}")))
    };
    if let Some(min) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if number < min || (exclusive && number == min) {
            refuse(if exclusive { "greater than" } else { "greater than or equal to" }, &tidy(min));
        }
    }
    if let Some(max) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if number > max || (exclusive && number == max) {
            refuse(if exclusive { "less than" } else { "less than or equal to" }, &tidy(max));
        }
    }
    if schema["format"] == "int32" && value.as_i64().is_some_and(|n| i32::try_from(n).is_err()) {
        causes.push(Cause::invalid(
            "",
            &Value::from(""),
            format!("Checked value must be of type integer with format int32 in {path}"),
        ));
    }
}

/// Bounds are floating point in the schema types; whole ones are written without a fraction.
fn tidy(bound: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)]
    if bound.fract() == 0.0 && bound.abs() < 1e15 { Value::from(bound as i64) } else { Value::from(bound) }
}

fn array(schema: &Value, items: &[Value], old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let count = items.len() as u64;
    if let Some(max) = schema["maxItems"].as_u64()
        && count > max
    {
        causes.push(Cause::new("FieldValueTooMany", path, format!("Too many: {count}: must have at most {max} items")));
    }
    if let Some(min) = schema["minItems"].as_u64()
        && count < min
    {
        causes.push(Cause::invalid(
            path,
            &Value::from(count),
            format!("{path} in body should have at least {min} items"),
        ));
    }
    let keys: Vec<(String, Option<Value>)> = match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            keys.map(|key| (key.to_owned(), schema["items"]["properties"][key].get("default").cloned())).collect()
        }
        _ => Vec::new(),
    };
    let before: std::collections::HashMap<String, &Value> = match old.and_then(Value::as_array) {
        Some(old) if !keys.is_empty() => old.iter().map(|item| (key_step(item, &keys), item)).collect(),
        _ => std::collections::HashMap::new(),
    };
    for (i, item) in items.iter().enumerate() {
        let was = if keys.is_empty() { None } else { before.get(&key_step(item, &keys)).copied() };
        check(&schema["items"], item, was, &format!("{path}[{i}]"), causes);
    }
    let is_set = schema["x-kubernetes-list-type"] == "set";
    if is_set || !keys.is_empty() {
        let mut seen = HashSet::new();
        for (i, item) in items.iter().enumerate() {
            let id = if is_set { item.to_string() } else { key_step(item, &keys)[2..].to_owned() };
            if !seen.insert(id.clone()) {
                causes.push(Cause::new(
                    "FieldValueDuplicate",
                    &format!("{path}[{i}]"),
                    format!("Duplicate value: {id}"),
                ));
            }
        }
    }
}

fn object(schema: &Value, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let Some(map) = value.as_object() else { return };
    required(schema, value, path, causes);
    let count = map.len() as u64;
    if let Some(max) = schema["maxProperties"].as_u64()
        && count > max
    {
        causes.push(Cause::new("FieldValueTooMany", path, format!("Too many: {count}: must have at most {max} items")));
    }
    if let Some(min) = schema["minProperties"].as_u64()
        && count < min
    {
        causes.push(Cause::invalid(
            path,
            &Value::from(count),
            format!("{path} in body should have at least {min} properties"),
        ));
    }
    let properties = schema["properties"].as_object();
    for (name, child) in map {
        let was = old.and_then(|o| o.get(name));
        if let Some(sub) = properties.and_then(|p| p.get(name)) {
            check(sub, child, was, &join(path, name), causes);
        } else if schema["additionalProperties"].is_object() {
            check(&schema["additionalProperties"], child, was, &join(path, name), causes);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`: value validations beside the structure.
fn combined(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let holds = |sub: &Value| {
        let mut found = Vec::new();
        fragment(sub, value, path, &mut found);
        found.is_empty()
    };
    let quoted = Value::from(path);
    let mut refuse = |what: &str| causes.push(Cause::invalid("", &Value::from(""), format!("{quoted} must {what}")));
    if let Some(parts) = schema["anyOf"].as_array()
        && !parts.iter().any(holds)
    {
        refuse("validate at least one schema (anyOf)");
    }
    if let Some(parts) = schema["oneOf"].as_array() {
        match parts.iter().filter(|sub| holds(sub)).count() {
            1 => {}
            0 => refuse("validate one and only one schema (oneOf). Found none valid"),
            n => refuse(&format!("validate one and only one schema (oneOf). Found {n} valid alternatives")),
        }
    }
    if schema["not"].is_object() && holds(&schema["not"]) {
        refuse("not validate the schema (not)");
    }
    for sub in schema["allOf"].as_array().into_iter().flatten() {
        fragment(sub, value, path, causes);
    }
}

/// A partial schema, judged without ratcheting.
fn fragment(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    check(schema, value, None, path, causes);
}
