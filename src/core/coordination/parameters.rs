//! The values that a run works with: what it gave, defaults for the rest, each of the declared kind.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::workflow::{Parameter, ValueType};

/// Largest value of one parameter or output, in bytes of its JSON form.
pub const MAX_VALUE: usize = 4096;

/// The parameters as the object that expressions see as `params`.
///
/// # Errors
/// A message that names each parameter that is missing, unknown, of the wrong kind, too large or not allowed.
pub fn resolve(declared: &[Parameter], given: &BTreeMap<String, Value>) -> Result<Value, String> {
    let problems = problems(declared, given);
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|(name, p)| format!("spec.parameters.{name}: {p}")).collect();
        return Err(lines.join("; "));
    }
    let value = |p: &Parameter| given.get(&p.name).or(p.default.as_ref()).map(|v| (p.name.clone(), v.clone()));
    Ok(Value::Object(declared.iter().filter_map(value).collect()))
}

/// What is wrong with the values that a run gives: parameter and problem.
#[must_use]
pub fn problems(declared: &[Parameter], given: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for name in given.keys() {
        if !declared.iter().any(|p| p.name == *name) {
            problems.push((name.clone(), "the workflow declares no such parameter".to_owned()));
        }
    }
    for parameter in declared {
        let name = &parameter.name;
        match given.get(name).or(parameter.default.as_ref()) {
            Some(value) => problems.extend(check(parameter, value).err().map(|problem| (name.clone(), problem))),
            None if parameter.required == Some(true) => {
                problems.push((name.clone(), "is required; give it a value".to_owned()));
            }
            None => {}
        }
    }
    problems
}

/// Whether a declaration's own default and allowed values fit its kind.
///
/// # Errors
/// What does not fit.
pub fn check_declaration(parameter: &Parameter) -> Result<(), String> {
    for value in &parameter.allowed {
        kind(parameter.type_, value).map_err(|e| format!("a value of enum {e}"))?;
    }
    parameter.default.as_ref().map_or(Ok(()), |value| check(parameter, value))
}

fn check(parameter: &Parameter, value: &Value) -> Result<(), String> {
    kind(parameter.type_, value)?;
    if !parameter.allowed.is_empty() && !parameter.allowed.contains(value) {
        let allowed: Vec<String> = parameter.allowed.iter().map(ToString::to_string).collect();
        return Err(format!("must be one of {}", allowed.join(", ")));
    }
    Ok(())
}

/// Whether a value is of a kind and small enough.
///
/// # Errors
/// What it must be.
pub fn kind(want: ValueType, value: &Value) -> Result<(), String> {
    let (fits, name) = match want {
        ValueType::String => (value.is_string(), "a string"),
        ValueType::Integer => (value.is_i64(), "a whole number of 64 bits"),
        ValueType::Number => (value.is_number(), "a number"),
        ValueType::Boolean => (value.is_boolean(), "true or false"),
        ValueType::Object => (value.is_object(), "an object"),
    };
    if !fits {
        return Err(format!("must be {name}"));
    }
    if value.to_string().len() > MAX_VALUE {
        return Err(format!("must have at most {MAX_VALUE} bytes: store it in a service and pass a reference"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameter(value: Value) -> Parameter {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let declared = [
            parameter(json!({"name": "study", "type": "String", "required": true})),
            parameter(json!({"name": "limit", "type": "Integer", "default": 5})),
        ];
        let given = BTreeMap::from([("study".to_owned(), json!("abc"))]);
        assert_eq!(resolve(&declared, &given), Ok(json!({"study": "abc", "limit": 5})));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let declared = [
            parameter(json!({"name": "study", "type": "String", "required": true})),
            parameter(json!({"name": "limit", "type": "Integer"})),
            parameter(json!({"name": "site", "type": "String", "enum": ["north", "south"]})),
        ];
        let given = BTreeMap::from([
            ("limit".to_owned(), json!("5")),
            ("site".to_owned(), json!("west")),
            ("other".to_owned(), json!(1)),
        ]);
        let message = resolve(&declared, &given).unwrap_err();
        for part in [
            "study: is required",
            "limit: must be a whole number",
            "site: must be one of",
            "other: the workflow declares no",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn large_values_are_refused() {
        let declared = [parameter(json!({"name": "text", "type": "String"}))];
        let given = BTreeMap::from([("text".to_owned(), json!("x".repeat(5000)))]);
        assert!(resolve(&declared, &given).unwrap_err().contains("at most 4096 bytes"));
    }
}
