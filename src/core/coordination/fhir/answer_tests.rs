//! What answers mean: successes, refusals, and bodies that nobody should believe.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::core::expression::{Template, TemplateKind};

fn text(text: &str) -> Template {
    Template::compile(text, TemplateKind::Plain, &BTreeSet::new()).unwrap()
}

fn read() -> FhirDefinition {
    FhirDefinition::Read { type_: "Patient".to_owned(), id: text("1") }
}

fn create(if_none_exist: bool) -> FhirDefinition {
    let condition = if_none_exist.then(|| ("identifier".to_owned(), text("x")));
    FhirDefinition::Create { resource: text("{}"), if_none_exist: condition.into_iter().collect() }
}

fn update(if_match: Option<&str>) -> FhirDefinition {
    FhirDefinition::Update {
        type_: "Task".to_owned(),
        id: text("1"),
        resource: text("{}"),
        if_match: if_match.map(text),
    }
}

fn answer(status: u16, media_type: &str, body: Value) -> Answer {
    let headers = vec![("content-type".to_owned(), media_type.to_owned()), ("etag".to_owned(), "W/\"3\"".to_owned())];
    Answer { status, headers, body }
}

fn outcome(status: u16, issues: &[(&str, &str)]) -> Answer {
    let issues: Vec<_> = issues
        .iter()
        .map(|(severity, code)| {
            json!({"severity": severity, "code": code, "diagnostics": "CANARY", "details": {"text": "CANARY"},
                "expression": ["CANARY"], "location": ["CANARY"]})
        })
        .collect();
    answer(status, "application/fhir+json; charset=UTF-8", json!({"resourceType": "OperationOutcome", "issue": issues}))
}

#[test]
fn a_success_gives_status_headers_and_resource() {
    let patient = json!({"resourceType": "Patient", "id": "1"});
    for media_type in
        ["application/fhir+json", "application/json", "Application/FHIR+JSON; charset=\"utf-8\"; fhirVersion=4.0"]
    {
        let result = read().settle(&answer(200, media_type, patient.clone())).unwrap();
        assert_eq!(
            (&result["status"], &result["resource"], &result["headers"]["etag"]),
            (&json!(200), &patient, &json!("W/\"3\""))
        );
    }
    let empty =
        Answer { status: 201, headers: vec![("location".to_owned(), "Task/1/_history/1".to_owned())], body: json!("") };
    let result = create(false).settle(&empty).unwrap();
    assert_eq!((&result["resource"], &result["headers"]["location"]), (&Value::Null, &json!("Task/1/_history/1")));
}

#[test]
fn a_success_that_is_not_what_was_asked_for_is_no_result() {
    let patient = json!({"resourceType": "Patient"});
    for (what, answer, words) in [
        (
            "an error page",
            answer(200, "text/html; charset=utf-8", json!("<h1>CANARY</h1>")),
            "the media type text/html instead",
        ),
        ("a hostile type", answer(200, "text/html CANARY", json!("x")), "a media type that is none"),
        ("a long type", answer(200, &format!("text/{}", "canary".repeat(20)), json!("x")), "a media type that is none"),
        ("no type", Answer { status: 200, headers: vec![], body: patient.clone() }, "without a media type"),
        ("latin-1", answer(200, "application/fhir+json; charset=iso-8859-1", patient), "another character encoding"),
        ("broken JSON", answer(200, "application/fhir+json", json!("{\"CANARY\"")), "not a FHIR resource"),
        ("a list", answer(200, "application/json", json!(["CANARY"])), "not a FHIR resource"),
        (
            "another resource",
            answer(200, "application/json", json!({"resourceType": "CANARY"})),
            "another resource than Patient",
        ),
        ("nothing", answer(200, "application/fhir+json", json!("")), "no resource"),
        ("an outcome", outcome(200, &[("error", "not-found")]), "another resource than Patient"),
    ] {
        let failure = read().settle(&answer).expect_err(what);
        assert_eq!((failure.class, failure.known), (ErrorClass::InvalidResult, false), "{what}: {failure:?}");
        assert!(failure.message.contains(words), "{what}: {}", failure.message);
        assert!(!failure.message.to_uppercase().contains("CANARY"), "{what}: {}", failure.message);
    }
}

#[test]
fn codes_of_issues_say_whether_another_attempt_may_help() {
    use ErrorClass::{Overloaded, Rejected, ServerError, Timeout};
    for (status, issues, class) in [
        (422, &[("error", "invalid")][..], Rejected),
        (400, &[("error", "structure"), ("error", "required"), ("error", "value"), ("error", "invariant")], Rejected),
        (401, &[("error", "login")], Rejected),
        (403, &[("error", "forbidden")], Rejected),
        (404, &[("error", "not-found")], Rejected),
        (409, &[("error", "conflict")], Rejected),
        (409, &[("error", "duplicate")], Rejected),
        (409, &[("error", "lock-error")], Overloaded),
        (500, &[("fatal", "exception")], ServerError),
        (500, &[("error", "transient")], Overloaded),
        (500, &[("error", "no-store")], Overloaded),
        (500, &[("error", "timeout")], Timeout),
        (400, &[("error", "throttled")], Overloaded),
        (500, &[("error", "invariant")], Rejected),
        (500, &[("error", "transient"), ("error", "invalid")], Rejected),
        (500, &[("error", "transient"), ("warning", "invalid")], Overloaded),
        (500, &[("error", "processing")], ServerError),
        (400, &[("error", "processing")], Rejected),
        (429, &[("error", "invalid")], Overloaded),
        (503, &[], Overloaded),
        (502, &[("error", "CANARY")], ServerError),
    ] {
        let failure = read().settle(&outcome(status, issues)).unwrap_err();
        assert_eq!((failure.class, failure.known), (class, class != Timeout), "{status} {issues:?}");
        assert!(!failure.message.contains("CANARY"), "{}", failure.message);
    }
}

#[test]
fn a_message_names_status_severity_and_code_and_no_more() {
    let message = |answer: &Answer| read().settle(answer).unwrap_err().message;
    assert_eq!(
        message(&outcome(422, &[("error", "required"), ("error", "required"), ("CANARY", "CANARY")])),
        "the service answered HTTP 422 (error required, error of an unknown code)"
    );
    let many = outcome(
        400,
        &[
            ("error", "invalid"),
            ("error", "structure"),
            ("error", "required"),
            ("error", "value"),
            ("error", "invariant"),
            ("error", "security"),
            ("fatal", "login"),
        ],
    );
    assert!(message(&many).ends_with("error invariant and 2 more)"), "{}", message(&many));
    assert_eq!(message(&answer(502, "text/html", json!("<p>CANARY"))), "the service answered HTTP 502");
    assert_eq!(message(&answer(302, "text/html", json!(""))), "the service answered HTTP 302");
}

#[test]
fn a_condition_that_does_not_hold_is_told_from_a_conflict() {
    for (definition, status, words) in [
        (create(true), 412, "several resources match ifNoneExist"),
        (update(Some("3")), 412, "another version of the resource than ifMatch says"),
        (update(None), 409, "another change of the resource is in the way"),
    ] {
        let failure = definition.settle(&outcome(status, &[("error", "transient")])).unwrap_err();
        let class = if status == 412 { ErrorClass::Rejected } else { ErrorClass::Overloaded };
        assert_eq!(failure.class, class);
        assert!(failure.message.ends_with(words), "{}", failure.message);
    }
}
