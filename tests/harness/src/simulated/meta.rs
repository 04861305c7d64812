//! What does the server do with an object's `metadata`? Which fields it takes from the caller, and which it refuses.

use super::error::Cause;
use serde_json::{Map, Value};

/// Fields that a caller may set.
const FROM_CALLER: &[&str] =
    &["name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"];
/// Fields that only the server sets.
const FROM_SERVER: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
];

/// `metadata` as the server keeps it: the caller's part of `given`, the server's part of `old`; nothing empty, nothing unknown.
pub(super) fn settled(given: &Value, old: Option<&Value>) -> Value {
    let mut out = Map::new();
    for name in FROM_CALLER {
        if let Some(value) = given.get(*name)
            && !is_empty(value)
        {
            out.insert((*name).to_owned(), value.clone());
        }
    }
    if let Some(old) = old {
        for name in FROM_SERVER {
            match old.get(*name) {
                Some(value) => out.insert((*name).to_owned(), value.clone()),
                None => out.remove(*name),
            };
        }
    }
    Value::Object(out)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(text: &str) -> bool {
    let part = |p: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(p.chars().next())
            && edge(p.chars().last())
            && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    !text.is_empty() && text.len() <= 253 && text.split('.').all(part)
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn key_problem(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes");
    }
    if !is_label_text(name) {
        return Some(NAME_PART);
    }
    if prefix.is_some_and(|p| !is_subdomain(p)) {
        return Some(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        );
    }
    None
}

/// What is wrong with an object's metadata.
pub(super) fn causes(metadata: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if old.is_none() && !is_subdomain(name) {
        let why = if name.len() > 253 { "must be no more than 253 bytes" } else { SUBDOMAIN };
        causes.push(Cause::invalid("metadata.name", &name.into(), why));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        if let Some(why) = key_problem(key) {
            causes.push(Cause::invalid("metadata.labels", &key.as_str().into(), why));
        }
        match value.as_str() {
            Some("") => {}
            Some(text) if text.len() > 63 => {
                causes.push(Cause::invalid("metadata.labels", value, "must be no more than 63 bytes"))
            }
            Some(text) if is_label_text(text) => {}
            _ => causes.push(Cause::invalid("metadata.labels", value, LABEL_VALUE)),
        }
    }
    for key in metadata["annotations"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if let Some(why) = key_problem(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &key.as_str().into(), why));
        }
    }
    owner_causes(metadata, &mut causes);
    if let Some(old) = old
        && old.get("deletionTimestamp").is_some()
    {
        let before = super::store::strings(&old["finalizers"]);
        let fresh: Vec<String> =
            super::store::strings(&metadata["finalizers"]).into_iter().filter(|f| !before.contains(f)).collect();
        if !fresh.is_empty() {
            let list: Vec<String> = fresh.iter().map(|f| format!("\"{f}\"")).collect();
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            causes.push(Cause::new("FieldValueForbidden", "metadata.finalizers", why));
        }
    }
    causes
}

fn owner_causes(metadata: &Value, causes: &mut Vec<Cause>) {
    let mut controllers = 0;
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let why = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                causes.push(Cause::invalid(&format!("metadata.ownerReferences.{field}"), &"".into(), why));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true.";
        causes.push(Cause::invalid("metadata.ownerReferences", &metadata["ownerReferences"], why));
    }
}
