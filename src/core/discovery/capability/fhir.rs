//! Reads a `CapabilityStatement` (HL7 FHIR R4, R4B and R5, capabilitystatement.html).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Statement;
use crate::api::fhir_capability::FhirInteraction;

/// Largest statement that is read, in bytes. Those of servers with all types, search parameters and profiles have one or two million.
pub const MAX_STATEMENT: usize = 8 * 1024 * 1024;
/// Most types that are kept; R5 has 157.
const MAX_TYPES: usize = 250;
/// Most operations that are kept.
const MAX_OPERATIONS: usize = 100;

/// What was read is no `CapabilityStatement` of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    resource_type: String,
    fhir_version: String,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Rest {
    mode: String,
    #[serde(default)]
    resource: Vec<Resource>,
    #[serde(default)]
    operation: Vec<Operation>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    interaction: Vec<Interaction>,
    #[serde(default)]
    operation: Vec<Operation>,
}

#[derive(Deserialize)]
struct Interaction {
    code: String,
}

#[derive(Deserialize)]
struct Operation {
    name: String,
}

/// Reads a statement in JSON.
///
/// # Errors
/// When it is no `CapabilityStatement`, has no `fhirVersion` of the standard's form, or tells of no REST server.
pub fn read(body: &[u8]) -> Result<Statement, Invalid> {
    let statement: Json = serde_json::from_slice(body).map_err(|_| Invalid)?;
    if statement.resource_type != "CapabilityStatement" || !is_version(&statement.fhir_version) {
        return Err(Invalid);
    }
    let server = statement.rest.into_iter().find(|rest| rest.mode == "server").ok_or(Invalid)?;
    let mut operations: BTreeSet<String> = server.operation.iter().filter_map(named).collect();
    let mut resources: BTreeMap<String, BTreeSet<FhirInteraction>> = BTreeMap::new();
    for resource in server.resource {
        operations.extend(resource.operation.iter().filter_map(named));
        if is_type(&resource.type_) {
            let codes = resource.interaction.iter().filter_map(|i| interaction(&i.code));
            resources.entry(resource.type_).or_default().extend(codes);
        }
    }
    Ok(Statement {
        version: statement.fhir_version,
        resources: resources.into_iter().take(MAX_TYPES).collect(),
        operations: operations.into_iter().take(MAX_OPERATIONS).collect(),
    })
}

fn interaction(code: &str) -> Option<FhirInteraction> {
    FhirInteraction::ALL.into_iter().find(|i| i.as_str() == code)
}

/// The operation's name with `$`, which some servers put into the statement already.
fn named(operation: &Operation) -> Option<String> {
    let name = operation.name.trim_start_matches('$');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    ((1..=64).contains(&name.len()) && name.chars().all(plain)).then(|| format!("${name}"))
}

fn is_type(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic())
}

/// `4.0.1`, or `6.0.0-ballot2`.
fn is_version(text: &str) -> bool {
    let (number, label) = text.split_once('-').map_or((text, None), |(n, l)| (n, Some(l)));
    let digits = |part: &str| !part.is_empty() && part.len() <= 4 && part.chars().all(|c| c.is_ascii_digit());
    text.len() <= 20
        && (2..=3).contains(&number.split('.').count())
        && number.split('.').all(digits)
        && label.is_none_or(|l| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn statement() -> Value {
        json!({
            "resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance", "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [
                {"mode": "client", "resource": [{"type": "Device"}]},
                {"mode": "server", "operation": [{"name": "export"}, {"name": "not a name"}], "resource": [
                    {"type": "Patient", "interaction": [{"code": "read"}, {"code": "search-type"}, {"code": "dance"}],
                     "operation": [{"name": "$everything"}], "searchParam": [{"name": "birthdate", "type": "date"}]},
                    {"type": "<script>", "interaction": [{"code": "read"}]},
                ]},
            ],
        })
    }

    fn read_value(value: &Value) -> Result<Statement, Invalid> {
        read(value.to_string().as_bytes())
    }

    #[test]
    fn what_a_server_can_do_is_read_and_its_free_text_is_not() {
        let facts = read_value(&statement()).unwrap();
        assert_eq!(facts.version, "4.0.1");
        let interactions = BTreeSet::from([FhirInteraction::Read, FhirInteraction::SearchType]);
        assert_eq!(facts.resources, BTreeMap::from([("Patient".to_owned(), interactions)]));
        assert_eq!(facts.operations, BTreeSet::from(["$everything".to_owned(), "$export".to_owned()]));
    }

    #[test]
    fn what_is_no_statement_of_a_server_is_invalid() {
        let with = |pointer: &str, value: Value| {
            let mut statement = statement();
            *statement.pointer_mut(pointer).unwrap() = value;
            statement
        };
        for wrong in [
            with("/resourceType", json!("OperationOutcome")),
            with("/fhirVersion", json!("4.0.1<b>")),
            with("/fhirVersion", json!("four")),
            with("/fhirVersion", json!("4")),
            with("/fhirVersion", json!(4)),
            with("/rest", json!([])),
            with("/rest/1/mode", json!("client")),
            json!([]),
        ] {
            assert_eq!(read_value(&wrong), Err(Invalid), "{wrong}");
        }
        assert_eq!(read(b"<html><body>Welcome</body></html>"), Err(Invalid));
        assert_eq!(read(b""), Err(Invalid));
        assert!(read_value(&with("/fhirVersion", json!("6.0.0-ballot2"))).is_ok());
    }

    #[test]
    fn what_is_kept_of_a_statement_is_bounded() {
        let types: Vec<Value> = (0..2000)
            .map(|n| {
                let letters = format!("{n:04}").chars().map(|c| char::from(b'a' + c as u8 - b'0')).collect::<String>();
                json!({"type": format!("T{letters}"), "operation": [{"name": format!("o{n}")}]})
            })
            .collect();
        let facts = read_value(&json!({
            "resourceType": "CapabilityStatement", "fhirVersion": "5.0.0", "rest": [{"mode": "server", "resource": types}],
        }))
        .unwrap();
        assert_eq!((facts.resources.len(), facts.operations.len()), (MAX_TYPES, MAX_OPERATIONS));
    }
}
