//! JSON values to CEL values and back, and errors without the values that caused them.

use std::{collections::HashMap, sync::Arc};

use kube::core::cel::cel::{
    ExecutionError, Value as Cel,
    objects::{Key, Map},
};
use serde_json::{Map as JsonMap, Number, Value};

/// Whole numbers become CEL `int` (JSON has no unsigned kind, and `params.n > 3` must work), larger ones `uint`.
pub(super) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => n
            .as_i64()
            .map(Cel::Int)
            .or_else(|| n.as_u64().map(Cel::UInt))
            .or_else(|| n.as_f64().map(Cel::Float))
            .unwrap_or(Cel::Null),
        Value::String(s) => Cel::String(Arc::new(s.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, Cel> =
                fields.iter().map(|(k, v)| (Key::String(Arc::new(k.clone())), to_cel(v))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// The JSON form; what kind it is when there is none.
pub(super) fn from_cel(value: &Cel) -> Result<Value, &'static str> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(b) => Value::Bool(*b),
        Cel::Int(i) => Value::from(*i),
        Cel::UInt(u) => Value::from(*u),
        Cel::Float(f) => Value::Number(Number::from_f64(*f).ok_or("not a finite number")?),
        Cel::String(s) => Value::String(s.as_ref().clone()),
        Cel::List(items) => Value::Array(items.iter().map(from_cel).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut fields = JsonMap::new();
            for (key, value) in map.map.iter() {
                let Key::String(name) = key else { return Err("a map with keys that are not strings") };
                fields.insert(name.as_ref().clone(), from_cel(value)?);
            }
            Value::Object(fields)
        }
        Cel::Duration(_) => return Err("a duration"),
        Cel::Timestamp(_) => return Err("a timestamp"),
        Cel::Bytes(_) => return Err("bytes"),
        Cel::Function(..) => return Err("a function"),
        Cel::Opaque(_) => return Err("a value of the engine's own"),
    })
}

/// What kind of value, in the words of a user.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The engine's errors carry values in their debug form; here only names and types are kept.
pub(super) fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => {
            format!("there is no `{}`; test with has() where it may be absent", name_only(key))
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no variable or function `{}`", name_only(name)),
        ExecutionError::NoSuchOverload => "an operator or function is used on types that it does not take".to_owned(),
        ExecutionError::UnexpectedType { .. } | ExecutionError::UnsupportedTargetType { .. } => {
            "a value is of the wrong type".to_owned()
        }
        ExecutionError::ValuesNotComparable(..) => "two values of different types are compared".to_owned(),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments and got {actual}")
        }
        _ => "an operator or function does not work on these values".to_owned(),
    }
}

/// A key may come from data (`params[steps.x.outputs.y]`): only what looks like a declared name is repeated.
fn name_only(key: &str) -> &str {
    let plain = key.len() <= 63 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { key } else { "…" }
}
