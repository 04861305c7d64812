//! Names and labels: what the API server wants of every object's `metadata`.

use serde_json::Value;

use super::{
    finding::{Findings, Severity},
    object::Object,
};
use crate::core::suggest::nearest;

/// What people write.
const WRITTEN: [&str; 7] =
    ["name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"];
/// What the API server writes.
const SERVER: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

pub(super) fn check(object: &Object, findings: &mut Findings) {
    let mut error = |field: &str, message: String| findings.at(object, Severity::Error, "schema", field, message);
    let metadata = match &object.value["metadata"] {
        Value::Null => return error("metadata", "is required: add metadata with a name".to_owned()),
        Value::Object(metadata) => metadata,
        _ => return error("metadata", "must be an object with a name".to_owned()),
    };
    for (field, what) in [("name", "a DNS name"), ("namespace", "a DNS label")] {
        match metadata.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                let long = if field == "name" { 253 } else { 63 };
                if !is_dns(text, field == "name") || text.len() > long {
                    let message = format!(
                        "must be {what} of at most {long} characters: lower-case letters, digits and '-', with a letter or digit at both ends"
                    );
                    error(&format!("metadata.{field}"), message);
                }
            }
            Some(_) => error(&format!("metadata.{field}"), "must be a string: put it in quotes".to_owned()),
        }
    }
    if !metadata.contains_key("name") && !metadata.contains_key("generateName") {
        error("metadata.name", "is required: add it".to_owned());
    }
    for field in ["labels", "annotations"] {
        for (key, value) in metadata.get(field).and_then(Value::as_object).into_iter().flatten() {
            let path = format!("metadata.{field}.{key}");
            match value.as_str() {
                None => error(&path, "must be a string: put it in quotes".to_owned()),
                Some(text) if field == "labels" && !is_label(text) => error(
                    &path,
                    "must have at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
                        .to_owned(),
                ),
                Some(_) => {}
            }
        }
    }
    for name in metadata.keys().filter(|n| !WRITTEN.contains(&n.as_str())) {
        let path = format!("metadata.{name}");
        let place = (object.file, object.node.find_key(&path));
        if SERVER.contains(&name.as_str()) {
            let message = "is set by the API server: remove it from the file";
            findings.add(place, Severity::Warning, "unknown-field", &path, message);
        } else {
            let mut message = format!("there is no field `{name}`");
            match nearest(name, WRITTEN) {
                Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
                None => message.push_str(": remove it, or put it into labels or annotations"),
            }
            findings.add(place, Severity::Error, "unknown-field", &path, message);
        }
    }
}

fn is_dns(text: &str, dots: bool) -> bool {
    let label = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        let ends = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
        ends && bytes.iter().all(|b| plain(*b) || *b == b'-')
    };
    if dots { text.split('.').all(label) } else { label(text) }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric);
    text.len() <= 63 && ends && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}
