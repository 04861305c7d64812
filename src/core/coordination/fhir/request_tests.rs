//! Requests as they are sent, and what is refused before anything is sent.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{call::Call, vocabulary::Safety},
    core::{
        coordination::request::{RequestDefinition, Texts},
        expression::{TemplateKind, Variables},
    },
};

/// Compiles texts; keeps what is wrong.
#[derive(Default)]
struct Notes(Vec<String>);

impl Texts for Notes {
    fn template(&mut self, field: &str, text: &str, kind: TemplateKind) -> Option<Template> {
        Template::compile(text, kind, &BTreeSet::new()).map_err(|e| self.0.push(format!("{field}: {e}"))).ok()
    }

    fn fault(&mut self, field: &str, message: &str) {
        self.0.push(format!("{field}: {message}"));
    }
}

fn definition(fhir: Value) -> Result<RequestDefinition, Vec<String>> {
    let call: Call = serde_json::from_value(json!({ "service": "ehr", "fhir": fhir })).unwrap();
    let mut notes = Notes::default();
    RequestDefinition::read(&call, &mut notes).ok_or(notes.0)
}

fn request_with(fhir: Value, params: Value) -> Result<Request, String> {
    let variables = Variables::from([("params".to_owned(), params)]);
    match definition(fhir).unwrap() {
        RequestDefinition::Fhir(fhir) => fhir.request(&|template: &Template| template.render(&variables)),
        other => panic!("{other:?}"),
    }
}

fn request(fhir: Value) -> Request {
    request_with(fhir, json!({ "id": "p-1", "text": "O\"Hara, \\ |$&\n", "version": "W/\"3\"" })).unwrap()
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[test]
fn a_read_asks_for_one_resource() {
    let read = request(json!({"read": {"type": "Patient", "id": "$( params.id )"}}));
    assert_eq!((read.method, read.path.as_str(), &read.body), ("GET", "/Patient/p-1", &None));
    assert_eq!(header(&read, "Accept"), Some("application/fhir+json"));
    assert_eq!(header(&read, "Content-Type"), None);
}

#[test]
fn a_search_keeps_each_value_in_its_place() {
    let search = request(json!({"search": {"type": "Observation", "parameters": [
        {"name": "code", "value": "http://loinc.org|$( params.text )"}, {"name": "subject:Patient.name", "value": "a,b"}]}}));
    let expected =
        "/Observation?code=http://loinc.org%7CO%22Hara%5C,%20%5C%5C%20%5C%7C%5C%24%26%0A&subject:Patient.name=a,b";
    assert_eq!(search.path, expected);
    assert_eq!(header(&search, "Prefer"), Some("handling=strict"));
    assert_eq!(request(json!({"search": {"type": "Task"}})).path, "/Task");
}

#[test]
fn a_create_goes_to_the_type_of_its_resource() {
    let resource = r#"{"resourceType": "Task", "note": [{"text": "$( params.text )"}], "n": 1.10}"#;
    let create = request(json!({"create": {"resource": resource,
        "ifNoneExist": [{"name": "identifier", "value": "urn:x|$( params.id )"}]}}));
    assert_eq!((create.method, create.path.as_str()), ("POST", "/Task"));
    assert_eq!(header(&create, "If-None-Exist"), Some("identifier=urn:x%7Cp-1"));
    assert_eq!(header(&create, "Content-Type"), Some("application/fhir+json"));
    assert_eq!(header(&create, "Prefer"), Some("return=representation"));
    let body = create.body.unwrap();
    assert!(body.contains("1.10"), "the precision of a decimal stays: {body}");
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["note"][0]["text"], "O\"Hara, \\ |$&\n");
}

#[test]
fn an_update_has_its_id_and_its_version() {
    let update = |resource: &str, version: &str| {
        request(json!({"update": {"type": "Task", "id": "$( params.id )", "resource": resource, "ifMatch": version}}))
    };
    let with_id = update(r#" {"resourceType": "Task", "status": "ready"}"#, "$( params.version )");
    assert_eq!((with_id.method, with_id.path.as_str()), ("PUT", "/Task/p-1"));
    assert_eq!(header(&with_id, "If-Match"), Some("W/\"3\""));
    let json: Value = serde_json::from_str(&with_id.body.unwrap()).unwrap();
    assert_eq!(json, json!({"id": "p-1", "resourceType": "Task", "status": "ready"}));
    let given = update(r#"{"resourceType": "Task", "id": "$( params.id )"}"#, "7");
    assert_eq!(header(&given, "If-Match"), Some("W/\"7\""));
    assert_eq!(given.body.as_deref(), Some(r#"{"resourceType": "Task", "id": "p-1"}"#));
}

#[test]
fn transactions_and_operations_go_where_the_standard_says() {
    let bundle = r#"{"resourceType": "Bundle", "type": "transaction", "entry": []}"#;
    let transaction = request(json!({"transaction": {"bundle": bundle}}));
    assert_eq!((transaction.method, transaction.path.as_str()), ("POST", ""));
    for (operation, method, path) in [
        (
            json!({"name": "$everything", "type": "Patient", "id": "$( params.id )", "parameters": [{"name": "start", "value": "2020-01-01"}]}),
            "GET",
            "/Patient/p-1/$everything?start=2020-01-01",
        ),
        (json!({"name": "$lookup", "type": "CodeSystem"}), "GET", "/CodeSystem/$lookup"),
        (json!({"name": "$reindex", "affectsState": true}), "POST", "/$reindex"),
        (
            json!({"name": "$validate", "type": "Task", "body": "{\"resourceType\": \"Parameters\"}", "affectsState": false}),
            "POST",
            "/Task/$validate",
        ),
    ] {
        let sent = request(json!({ "operation": operation }));
        assert_eq!(
            (sent.method, sent.path.as_str(), sent.body.is_some()),
            (method, path, method == "POST"),
            "{operation}"
        );
    }
}

#[test]
fn what_changes_something_once_is_not_repeated_unless_the_standard_makes_it_safe() {
    let task = r#"{"resourceType": "Task"}"#;
    for (fhir, idempotent) in [
        (json!({"read": {"type": "Task", "id": "1"}}), true),
        (json!({"search": {"type": "Task"}}), true),
        (json!({"update": {"type": "Task", "id": "1", "resource": task}}), true),
        (json!({"create": {"resource": task}}), false),
        (json!({"create": {"resource": task, "ifNoneExist": [{"name": "identifier", "value": "x"}]}}), true),
        (json!({"transaction": {"bundle": task}}), false),
        (json!({"operation": {"name": "$everything"}}), true),
        (json!({"operation": {"name": "$x", "affectsState": true}}), false),
        (json!({"operation": {"name": "$x", "body": task}}), false),
        (json!({"operation": {"name": "$x", "body": task, "affectsState": false}}), true),
    ] {
        let safety = definition(fhir.clone()).unwrap().safety();
        assert_eq!(safety == Safety::Idempotent, idempotent, "{fhir}");
    }
}

#[test]
fn values_that_do_not_fit_are_refused_by_field_and_never_told() {
    let task = |text: &str| json!({"update": {"type": "Task", "id": "1", "resource": text}});
    let deep = format!("{{\"resourceType\": \"Task\", \"x\": {}{}}}", "[".repeat(126), "]".repeat(126));
    for (fhir, field) in [
        (json!({"read": {"type": "Task", "id": "$( params.secret )"}}), "call.fhir.read.id"),
        (json!({"read": {"type": "Task", "id": ".."}}), "call.fhir.read.id"),
        (json!({"read": {"type": "Task", "id": "$( params.missing )"}}), "call.fhir.read.id"),
        (
            json!({"update": {"type": "Task", "id": "1", "resource": "{\"resourceType\": \"Task\"}", "ifMatch": "$( params.secret )"}}),
            "call.fhir.update.ifMatch",
        ),
        (task("{\"resourceType\": \"$( params.secret )\"}"), "call.fhir.update.resource"),
        (task("{\"resourceType\": \"Patient\"}"), "call.fhir.update.resource"),
        (task("{\"resourceType\": \"Task\", \"id\": \"2\"}"), "call.fhir.update.resource"),
        (task("{\"status\": \"$( params.secret )\"}"), "call.fhir.update.resource"),
        (task("[1]"), "call.fhir.update.resource"),
        (task("$( params.secret )"), "call.fhir.update.resource"),
        (json!({"create": {"resource": "$( params.deep )"}}), "call.fhir.create.resource"),
        (
            json!({"transaction": {"bundle": "{\"resourceType\": \"Bundle\", \"type\": \"batch\"}"}}),
            "call.fhir.transaction.bundle",
        ),
        (json!({"search": {"type": "Task", "parameters": [{"name": "a", "value": "$( params.long )"}]}}), "call.fhir"),
        (
            json!({"search": {"type": "Task", "parameters": [{"name": "a", "value": "$( params )"}]}}),
            "call.fhir.search.parameters[0].value",
        ),
    ] {
        let deep: Value = serde_json::from_str(&deep).unwrap();
        let nested = (0..5).fold(deep, |inner, _| json!({"resourceType": "Task", "x": inner}));
        let params = json!({"secret": "CANARY/1", "long": "CANARY".repeat(2000), "deep": nested});
        let error = request_with(fhir.clone(), params).expect_err(&fhir.to_string());
        assert!(error.starts_with(field), "{fhir}: {error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
}

#[test]
fn a_definition_that_cannot_work_is_refused_when_it_is_read() {
    for (fhir, field) in [
        (json!({}), "call.fhir"),
        (json!({"read": {"type": "Task", "id": "1"}, "search": {"type": "Task"}}), "call.fhir"),
        (json!({"create": {"resource": "{\"resourceType\": \"Task\",}"}}), "call.fhir.create.resource"),
        (json!({"create": {"resource": "{\"$( params.x )\": 1}"}}), "call.fhir.create.resource"),
        (json!({"read": {"type": "Task", "id": "$( params."}}), "call.fhir.read.id"),
        (json!({"operation": {"name": "$x", "id": "1"}}), "call.fhir.operation.id"),
        (
            json!({"operation": {"name": "$x", "affectsState": true, "parameters": [{"name": "a", "value": "b"}]}}),
            "call.fhir.operation.parameters",
        ),
    ] {
        let faults = definition(fhir.clone()).expect_err(&fhir.to_string());
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{field}: ")), "{fhir}: {faults:?}");
    }
}
