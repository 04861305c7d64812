//! Which item of a keyed list is which?

use std::collections::BTreeMap;

use serde_json::Value;

/// The `k:{…}` step of a keyed list's item, as in `FieldsV1`. A missing key counts as its default, or as null.
#[must_use]
pub fn key_step(item: &Value, keys: &[(String, Option<Value>)]) -> String {
    let mut map = BTreeMap::new();
    for (key, default) in keys {
        map.insert(key.as_str(), item.get(key).cloned().or_else(|| default.clone()).unwrap_or(Value::Null));
    }
    // A map of strings to JSON values always serialises.
    format!("k:{}", serde_json::to_string(&map).unwrap_or_default())
}
