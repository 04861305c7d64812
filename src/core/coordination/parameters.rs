//! The values that a run works with: what it gave, defaults for the rest, each of the declared kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::workflow::{Parameter, ValueType};

/// Largest value of one parameter or output, in bytes of its JSON form.
pub const MAX_VALUE: usize = 4096;

/// A key of a Secret of the run's namespace. What it holds is the kubelet's to read: medley has no permission on Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

impl SecretKey {
    /// The form in which a run gives it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({ "secret": self.secret, "key": self.key })
    }
}

/// What a run works with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// What expressions see as `params`; no sensitive parameter is in it.
    pub values: Value,
    /// The sensitive parameters that are given.
    pub secrets: BTreeMap<String, SecretKey>,
}

/// The values of the parameters.
///
/// # Errors
/// A message that names each parameter that is missing, unknown, of the wrong kind, too large or not allowed; it repeats no
/// value.
pub fn resolve(declared: &[Parameter], given: &BTreeMap<String, Value>) -> Result<Resolved, String> {
    let problems = problems(declared, given);
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|(name, p)| format!("spec.parameters.{name}: {p}")).collect();
        return Err(lines.join("; "));
    }
    let value = |p: &Parameter| given.get(&p.name).or(p.default.as_ref()).map(|v| (p.name.clone(), v.clone()));
    let key = |p: &Parameter| Some((p.name.clone(), secret_key(given.get(&p.name)?).ok()?));
    let (sensitive, plain): (Vec<_>, Vec<_>) = declared.iter().partition(|p| p.sensitive == Some(true));
    Ok(Resolved {
        values: Value::Object(plain.into_iter().filter_map(value).collect()),
        secrets: sensitive.into_iter().filter_map(key).collect(),
    })
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
            Some(value) => {
                let problem = if parameter.sensitive == Some(true) {
                    secret_key(value).err()
                } else {
                    check(parameter, value).err()
                };
                problems.extend(problem.map(|problem| (name.clone(), problem)));
            }
            None if parameter.required == Some(true) => {
                problems.push((name.clone(), "is required; give it a value".to_owned()));
            }
            None => {}
        }
    }
    problems
}

/// Reads a reference to a key of a Secret. The messages repeat nothing: what stands in its place may be the secret itself.
fn secret_key(value: &Value) -> Result<SecretKey, String> {
    let Some(map) = value.as_object() else {
        return Err(
            "is sensitive: give {secret: <name>, key: <key>}, a key of a Secret of this namespace, not the value; \
                    if a confidential value stood here, replace it at its source, since it was stored in plain text"
                .to_owned(),
        );
    };
    if map.len() != 2 || !map.contains_key("secret") || !map.contains_key("key") {
        return Err("is sensitive: must have exactly the fields secret and key".to_owned());
    }
    let text = |field: &str, fits: fn(&str) -> bool, rule: &str| match map.get(field).and_then(Value::as_str) {
        Some(text) if text.len() <= 253 && fits(text) => Ok(text.to_owned()),
        _ => Err(format!("is sensitive: {field} must be {rule}")),
    };
    Ok(SecretKey {
        secret: text(
            "secret",
            is_dns_subdomain,
            "the name of a Secret: lower-case letters, digits, '-' and '.', at most 253, a letter or digit at both ends",
        )?,
        key: text("key", is_key, "a key of the Secret: letters, digits, '-', '_' and '.', at most 253, not . or ..")?,
    })
}

/// A name of an object (RFC 1123 subdomain, as Kubernetes demands it).
fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        ends(label.bytes().next())
            && ends(label.bytes().last())
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    })
}

/// A key of a Secret's data (Kubernetes' `IsConfigMapKey`).
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// Whether a declaration's own default and allowed values fit its kind.
///
/// # Errors
/// What does not fit.
pub fn check_declaration(parameter: &Parameter) -> Result<(), String> {
    if parameter.sensitive == Some(true) {
        let plain = parameter.default.is_none() && parameter.allowed.is_empty();
        return if plain && parameter.type_ == ValueType::String {
            Ok(())
        } else {
            Err("a sensitive parameter is a String without default and enum".to_owned())
        };
    }
    for value in &parameter.allowed {
        kind(parameter.type_, value).map_err(|e| format!("a value of enum {e}"))?;
    }
    parameter.default.as_ref().map_or(Ok(()), |value| check(parameter, value).map_err(|e| format!("default {e}")))
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
        assert_eq!(resolve(&declared, &given).unwrap().values, json!({"study": "abc", "limit": 5}));
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
    fn a_sensitive_parameter_is_a_reference_and_no_value() {
        let declared = [parameter(json!({"name": "token", "type": "String", "sensitive": true}))];
        let with = |value: Value| resolve(&declared, &BTreeMap::from([("token".to_owned(), value)]));
        let resolved = with(json!({"secret": "archive.access", "key": "api_Token-1"})).unwrap();
        let expected = SecretKey { secret: "archive.access".to_owned(), key: "api_Token-1".to_owned() };
        assert_eq!(resolved.secrets["token"], expected);
        assert_eq!(resolved.values, json!({}), "no expression sees it");
        assert_eq!(with(expected.to_value()).unwrap().secrets["token"], expected);
        for (value, part) in [
            (json!("CANARY"), "give {secret: <name>, key: <key>}"),
            (json!(["CANARY"]), "give {secret: <name>, key: <key>}"),
            (json!({"secret": "CANARY"}), "exactly the fields"),
            (json!({"secret": "a", "key": "b", "CANARY": 1}), "exactly the fields"),
            (json!({"secret": "CANARY", "key": "b"}), "secret must be the name of a Secret"),
            (json!({"secret": "-canary", "key": "b"}), "secret must be the name of a Secret"),
            (json!({"secret": "", "key": "b"}), "secret must be the name of a Secret"),
            (json!({"secret": "a", "key": "CANARY/"}), "key must be a key of the Secret"),
            (json!({"secret": "a", "key": ".."}), "key must be a key of the Secret"),
            (json!({"secret": "a", "key": 1}), "key must be a key of the Secret"),
        ] {
            let message = with(value.clone()).unwrap_err();
            assert!(message.starts_with("spec.parameters.token: ") && message.contains(part), "{value}: {message}");
            assert!(!message.to_lowercase().contains("canary"), "{message}");
        }
    }

    #[test]
    fn large_values_are_refused() {
        let declared = [parameter(json!({"name": "text", "type": "String"}))];
        let given = BTreeMap::from([("text".to_owned(), json!("x".repeat(5000)))]);
        assert!(resolve(&declared, &given).unwrap_err().contains("at most 4096 bytes"));
    }
}
