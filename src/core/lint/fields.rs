//! Which fields does the schema not know? The API server drops them without a word unless the client asks it not to.

use serde_json::Value;

use crate::core::suggest::nearest;

/// A field that is not in the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Unknown {
    pub(super) path: String,
    pub(super) message: String,
}

/// All fields of a value that its schema does not know.
pub(super) fn unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<Unknown>) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            let more = &schema["additionalProperties"];
            for (name, child) in map {
                if path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if let Some(sub) = properties.and_then(|p| p.get(name)) {
                    unknown(sub, child, &path, found);
                } else if more.is_object() {
                    unknown(more, child, &path, found);
                } else if *more != Value::Bool(true) && schema["x-kubernetes-preserve-unknown-fields"] != true {
                    found.push(Unknown { message: advice(schema, name), path });
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                unknown(&schema["items"], item, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn advice(schema: &Value, name: &str) -> String {
    let names: Vec<&str> = schema["properties"].as_object().into_iter().flatten().map(|(n, _)| n.as_str()).collect();
    let start = format!("there is no field `{name}`");
    if let Some(near) = nearest(name, names.iter().copied()) {
        return format!("{start}; did you mean `{near}`?");
    }
    let inside = |parent: &&&str| {
        let sub = &schema["properties"][**parent];
        [sub, &sub["items"]].iter().any(|s| s["properties"].get(name).is_some())
    };
    if let Some(parent) = names.iter().find(inside) {
        return format!("{start} here; it belongs below `{parent}`");
    }
    if names.is_empty() {
        format!("{start}: remove it")
    } else {
        format!("{start}: remove it, or use one of {}", names.join(", "))
    }
}
