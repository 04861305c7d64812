//! The tables of `schema/*.yaml`: how an object of a case is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One kind's good objects and its cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    bases: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) statuses: BTreeMap<String, Value>,
    pub(crate) cases: Vec<Case>,
}

/// One object, or one change of an object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) case: String,
    of: String,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(default)]
    drop: Vec<String>,
    pub(crate) status: Option<String>,
    pub(crate) then: Option<Then>,
    #[serde(default)]
    pub(crate) refused: Vec<Cause>,
}

/// The change of an object that is stored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Then {
    pub(crate) write: Write,
    #[serde(default)]
    pub(crate) set: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) drop: Vec<String>,
}

/// Through which path an object is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Write {
    Spec,
    Status,
}

/// Field and words of one cause of a refusal.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub(crate) struct Cause(pub(crate) String, pub(crate) String);

impl Table {
    /// The object that a case makes.
    pub(crate) fn object(&self, case: &Case, kind: &str, name: &str) -> Value {
        let mut object = json!({ "apiVersion": medley::api::API_VERSION, "kind": kind, "metadata": { "name": name } });
        object["spec"] = self.bases[&case.of]["spec"].clone();
        changed(object, &case.set, &case.drop)
    }
}

/// An object with some points set and others taken away. Points are JSON pointers; `-` is the end of a list.
pub(crate) fn changed(mut object: Value, set: &BTreeMap<String, Value>, drop: &[String]) -> Value {
    for (pointer, value) in set {
        let (parent, key) = parent(&mut object, pointer);
        let value = expand(value);
        match parent {
            Value::Object(map) => drop_value(map.insert(key, value)),
            Value::Array(list) if key == "-" => list.push(value),
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            other => panic!("{pointer}: nothing can be set in {other}"),
        }
    }
    for pointer in drop {
        let (parent, key) = parent(&mut object, pointer);
        assert!(parent.as_object_mut().unwrap().remove(&key).is_some(), "{pointer} is not there");
    }
    object
}

fn drop_value(_: Option<Value>) {}

fn parent<'a>(object: &'a mut Value, pointer: &str) -> (&'a mut Value, String) {
    let (above, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    (object.pointer_mut(above).unwrap_or_else(|| panic!("{above} is not there")), key)
}

/// Writes out `$text`, `$list`, `$map` and `$graph`, which stand for large values.
fn expand(value: &Value) -> Value {
    let Value::Object(map) = value else {
        return match value {
            Value::Array(list) => list.iter().map(expand).collect(),
            other => other.clone(),
        };
    };
    let mut plain = Map::new();
    for (key, inner) in map {
        let count = || usize::try_from(inner[1].as_u64().unwrap()).unwrap();
        match key.as_str() {
            "$text" => return Value::String(inner[0].as_str().unwrap().repeat(count())),
            "$list" => return (0..count()).map(|n| expand(&numbered(&inner[0], n))).collect(),
            "$map" => plain.extend((0..count()).map(|n| (format!("k{n}"), expand(&numbered(&inner[0], n))))),
            "$graph" => return graph(inner[0].as_u64().unwrap(), inner[1].as_u64().unwrap()),
            _ => drop_value(plain.insert(key.clone(), expand(inner))),
        }
    }
    Value::Object(plain)
}

/// A copy with `%` as the number, and `#%` as a number from 1.
fn numbered(value: &Value, n: usize) -> Value {
    match value {
        Value::String(text) if text == "#%" => json!(n + 1),
        Value::String(text) => json!(text.replace('%', &n.to_string())),
        Value::Array(list) => list.iter().map(|v| numbered(v, n)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), numbered(v, n))).collect(),
        other => other.clone(),
    }
}

/// Steps with names of the greatest length, each after as many as stand right above it.
fn graph(steps: u64, after: u64) -> Value {
    let name = |n: u64| format!("{}{n:03}", "s".repeat(60));
    (0..steps)
        .map(|n| {
            let above: Vec<_> = (n.saturating_sub(after)..n).map(name).collect();
            json!({ "name": name(n), "after": above, "wait": { "for": "1s" } })
        })
        .collect()
}
