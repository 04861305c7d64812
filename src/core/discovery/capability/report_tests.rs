use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::*;
use crate::{api::fhir_capability::FhirInteraction, core::condition};

fn service(generation: i64, fhir: Value) -> MedicalService {
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
        "metadata": {"namespace": "n", "name": "ehr", "uid": "u", "generation": generation},
        "spec": {
            "external": {"endpoints": [{"host": "192.0.2.1"}]},
            "interfaces": [{"name": "fhir", "port": 80, "protocol": "FHIR", "fhir": fhir}],
        },
    }))
    .unwrap()
}

fn found(version: &str, types: &[&str]) -> BTreeMap<Endpoint, Arc<Facts>> {
    let endpoint =
        Endpoint { address: "192.0.2.1".parse().unwrap(), port: 80, interface: "fhir".to_owned(), pod: None };
    let read = || [FhirInteraction::Read].into();
    let statement = Statement {
        version: version.to_owned(),
        resources: types.iter().map(|t| ((*t).to_owned(), read())).collect(),
        ..Statement::default()
    };
    BTreeMap::from([(endpoint, Arc::new(Facts::Fhir(statement)))])
}

/// Reports, and keeps that as the service's status.
fn look(service: &mut MedicalService, facts: &BTreeMap<Endpoint, Arc<Facts>>) -> Vec<Condition> {
    let present = service.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
    let mut conditions = Conditions::from(&present, service.metadata.generation, Timestamp::UNIX_EPOCH);
    let next = report(service, facts, &mut conditions);
    let status = service.status.get_or_insert_default();
    status.fhir = next.fhir;
    status.dicom = next.dicom;
    status.conditions = conditions.into_list();
    status.conditions.clone()
}

fn says<'a>(conditions: &'a [Condition], type_: &str) -> (&'a str, &'a str) {
    condition::find(conditions, type_).map_or(("", ""), |c| (c.status.as_str(), c.message.as_str()))
}

#[test]
fn a_server_that_changes_drifts_until_the_spec_is_changed_or_it_is_as_before() {
    let mut ehr = service(1, json!({}));
    assert!(look(&mut ehr, &BTreeMap::new()).is_empty(), "nothing is known");
    let conditions = look(&mut ehr, &found("4.0.1", &["Patient", "Task"]));
    assert_eq!(says(&conditions, CAPABILITY_DRIFT).0, "False");
    assert_eq!(says(&conditions, CAPABILITY_MATCH), ("", ""), "nothing is declared");
    let conditions = look(&mut ehr, &found("5.0.0", &["Patient"]));
    let (status, message) = says(&conditions, CAPABILITY_DRIFT);
    assert_eq!(status, "True");
    assert!(message.contains("fhir at 192.0.2.1: fhirVersion 4.0.1 is now 5.0.0, Task is gone"), "{message}");
    assert_eq!(look(&mut ehr, &BTreeMap::new()), conditions, "a new leader knows nothing yet");
    let back = look(&mut ehr, &found("4.0.1", &["Patient", "Task"]));
    assert_eq!(says(&back, CAPABILITY_DRIFT).0, "False");
    look(&mut ehr, &found("5.0.0", &["Patient"]));
    ehr.metadata.generation = Some(2);
    look(&mut ehr, &BTreeMap::new());
    assert_eq!(ehr.status.as_ref().unwrap().fhir[0].fhir_version, "4.0.1", "until it is probed");
    let conditions = look(&mut ehr, &found("5.0.0", &["Patient"]));
    assert_eq!(says(&conditions, CAPABILITY_DRIFT).0, "False", "the change was seen and accepted");
    assert_eq!(ehr.status.as_ref().unwrap().fhir[0].fhir_version, "5.0.0");
}

#[test]
fn what_is_declared_and_lacking_is_named() {
    let mut ehr = service(1, json!({"version": "R4", "resources": [{"type": "Patient", "interactions": ["read"]}]}));
    assert_eq!(says(&look(&mut ehr, &found("4.0.1", &["Patient"])), CAPABILITY_MATCH).0, "True");
    let conditions = look(&mut ehr, &found("4.3.0", &["Task"]));
    let (status, message) = says(&conditions, CAPABILITY_MATCH);
    assert_eq!((status, message), ("False", "fhir at 192.0.2.1: fhirVersion is 4.3.0 and not R4, no Patient"));
}

/// An archive that declares these SOP classes.
fn archive(generation: i64, classes: &[&str]) -> MedicalService {
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
        "metadata": {"namespace": "n", "name": "pacs", "uid": "u", "generation": generation},
        "spec": {
            "external": {"endpoints": [{"host": "192.0.2.1"}]},
            "interfaces": [{"name": "dicom", "port": 104, "protocol": "DICOM",
                "dicom": {"calledAeTitle": "PACS", "sopClasses": classes, "transferSyntaxes": ["9.1"]}}],
        },
    }))
    .unwrap()
}

/// What an archive that was asked by this service's spec accepts.
fn accepts(service: &MedicalService, classes: &[&str]) -> BTreeMap<Endpoint, Arc<Facts>> {
    let endpoint =
        Endpoint { address: "192.0.2.1".parse().unwrap(), port: 104, interface: "dicom".to_owned(), pod: None };
    let proposed = proposal(service.spec.interfaces[0].dicom.as_ref().unwrap());
    let accepted = classes.iter().map(|c| ((*c).to_owned(), ["9.1".to_owned()].into())).collect();
    BTreeMap::from([(endpoint, Arc::new(Facts::Dicom(Contexts { proposed, accepted })))])
}

#[test]
fn what_an_archive_accepts_is_matched_and_drifts() {
    let mut pacs = archive(1, &["1.1", "1.2"]);
    assert!(look(&mut pacs, &BTreeMap::new()).is_empty(), "nothing is known");
    let facts = accepts(&pacs, &["1.1", "1.2"]);
    let conditions = look(&mut pacs, &facts);
    assert_eq!((says(&conditions, CAPABILITY_MATCH).0, says(&conditions, CAPABILITY_DRIFT).0), ("True", "False"));
    assert_eq!(pacs.status.as_ref().unwrap().dicom[0].contexts.len(), 2);
    let facts = accepts(&pacs, &["1.1"]);
    let conditions = look(&mut pacs, &facts);
    assert_eq!(says(&conditions, CAPABILITY_MATCH), ("False", "dicom at 192.0.2.1: no 1.2"));
    let (status, message) = says(&conditions, CAPABILITY_DRIFT);
    assert!(status == "True" && message.starts_with("dicom at 192.0.2.1: 1.2 is gone"), "{message}");
    assert_eq!(look(&mut pacs, &BTreeMap::new()), conditions, "a new leader knows nothing yet");
}

#[test]
fn what_was_accepted_of_something_else_is_no_drift() {
    let mut pacs = archive(1, &["1.1"]);
    let old = accepts(&pacs, &["1.1"]);
    look(&mut pacs, &old);
    let mut next = archive(2, &["1.1", "1.2"]);
    next.status = pacs.status.clone();
    let before = next.status.as_ref().unwrap().conditions.clone();
    let conditions = look(&mut next, &old);
    assert_eq!(says(&conditions, CAPABILITY_MATCH), says(&before, CAPABILITY_MATCH), "until it is probed");
    let facts = accepts(&next, &["1.1", "1.2"]);
    let conditions = look(&mut next, &facts);
    assert_eq!((says(&conditions, CAPABILITY_MATCH).0, says(&conditions, CAPABILITY_DRIFT).0), ("True", "False"));

    let mut none = archive(3, &[]);
    none.spec.interfaces[0].dicom.as_mut().unwrap().transfer_syntaxes.clear();
    none.status = next.status.clone();
    assert!(look(&mut none, &facts).is_empty(), "nothing is declared any more");
    assert!(none.status.unwrap().dicom.is_empty());
}

#[test]
fn a_long_list_is_cut() {
    let words: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    assert!(named(&words).ends_with("w11 and 8 more"));
    assert_eq!(named(&words[..2]), "w0, w1");
}
