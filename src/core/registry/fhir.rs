//! The registry as FHIR R4 `Endpoint`s: one for each interface of each service.
//!
//! Sources: HL7 FHIR R4 `Endpoint`, value sets `endpoint-status`, `endpoint-connection-type` and `endpoint-payload-type`; search results as in
//! R4 `search`. There is no code for DIMSE, gRPC, plain HTTP or plain TCP, so these are of a code system of medley's own.

use serde_json::{Value, json};

use super::{
    filter,
    problem::Problem,
    record::{InterfaceRecord, Record},
};
use crate::{
    api::{medical_service::EndpointReason, vocabulary::Protocol},
    core::name::{self, Key},
};

/// FHIR's media type for JSON.
pub const MEDIA_TYPE: &str = "application/fhir+json; fhirVersion=4.0";
/// Codes of HL7.
const HL7: &str = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type";
/// Codes of medley.
const OWN: &str = "https://medley.health/fhir/CodeSystem/connection-type";
/// Names of interfaces, as identifiers.
const IDENTIFIER: &str = "https://medley.health/fhir/sid/interface";

/// What a search asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Endpoints of services of this namespace.
    pub namespace: Option<String>,
    connection_type: Option<(Option<String>, String)>,
    status: Option<String>,
    identifier: Option<(Option<String>, String)>,
    id: Option<String>,
    /// Endpoints of services after this one.
    pub after: Option<Key>,
    count: Option<usize>,
}

/// A token: `[system|]code`.
fn token(text: &str) -> (Option<String>, String) {
    match text.split_once('|') {
        Some((system, code)) => (Some(system.to_owned()), code.to_owned()),
        None => (None, text.to_owned()),
    }
}

fn is_token(asked: Option<&(Option<String>, String)>, system: &str, code: &str) -> bool {
    asked.is_none_or(|(s, c)| c == code && s.as_ref().is_none_or(|s| s == system))
}

impl Search {
    /// Reads the parameters of a search.
    ///
    /// # Errors
    /// The first parameter that is unknown, there twice or wrong.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problem> {
        let mut search = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in parameters {
            if !seen.insert(name) {
                let rule = "a parameter must be there once at most";
                return Err(Problem { field: None, ..Problem::parameter("", rule) });
            }
            match name {
                "namespace" => search.namespace = Some(filter::namespace(value)?),
                "connection-type" => search.connection_type = Some(token(value)),
                "status" => search.status = Some(token(value).1),
                "identifier" => search.identifier = Some(token(value)),
                "_id" => search.id = Some(value.to_owned()),
                "_after" => search.after = Some(filter::after("_after", value)?),
                "_count" => search.count = Some(filter::limit("_count", value)?),
                "_format" if matches!(value, "json" | "application/json" | "application/fhir+json") => {}
                "_format" => return Err(Problem::parameter("_format", "must be json")),
                _ => {
                    let rule = "a parameter is not known: there are namespace, connection-type, status, identifier, _id, _count and _format";
                    return Err(Problem { field: None, ..Problem::parameter("", rule) });
                }
            }
        }
        Ok(search)
    }

    fn matches(&self, record: &Record, interface: &InterfaceRecord) -> bool {
        let (system, code, _) = connection(interface.protocol);
        is_token(self.connection_type.as_ref(), system, code)
            && is_token(self.identifier.as_ref(), IDENTIFIER, &path(record, interface))
            && self.status.as_deref().is_none_or(|s| s == status(interface))
            && self.id.as_ref().is_none_or(|id| *id == id_of(record, interface))
    }

    /// Whether it asks for services of this name at all.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == key.namespace) && self.after.as_ref().is_none_or(|a| a < key)
    }

    /// The answer, of records in the order of namespace and name. A page ends with a service, so it may have some more entries than asked
    /// for; `query` is what the request asked, without `_after`.
    #[must_use]
    pub fn bundle(&self, records: impl IntoIterator<Item = Record>, base: &str, query: &str) -> Value {
        let limit = self.count.unwrap_or(filter::MOST);
        let mut entries: Vec<Value> = Vec::new();
        let (mut last, mut more) = (None, false);
        for record in records {
            let asked: Vec<_> = record.interfaces.iter().filter(|i| self.matches(&record, i)).collect();
            if !asked.is_empty() && entries.len() >= limit {
                more = true;
                break;
            }
            entries.extend(asked.into_iter().map(|interface| {
                let url = format!("{base}/Endpoint/{}", id_of(&record, interface));
                json!({"fullUrl": url, "resource": endpoint(&record, interface), "search": {"mode": "match"}})
            }));
            last = Some(record.key());
        }
        let joined = |after: Option<&Key>| match (query, after) {
            ("", None) => format!("{base}/Endpoint"),
            (query, None) => format!("{base}/Endpoint?{query}"),
            ("", Some(after)) => format!("{base}/Endpoint?_after={after}"),
            (query, Some(after)) => format!("{base}/Endpoint?{query}&_after={after}"),
        };
        let mut links = vec![json!({"relation": "self", "url": joined(self.after.as_ref())})];
        if let Some(last) = last.filter(|_| more) {
            links.push(json!({"relation": "next", "url": joined(Some(&last))}));
        }
        let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "link": links});
        // how many there are in all is known only where all are there
        if !more && self.after.is_none() {
            bundle["total"] = json!(entries.len());
        }
        if !entries.is_empty() {
            bundle["entry"] = json!(entries);
        }
        bundle
    }
}

/// The `Endpoint` of this id, with the service that it is of.
pub fn by_id(records: impl IntoIterator<Item = Record>, id: &str) -> Option<(Key, Value)> {
    records.into_iter().find_map(|record| {
        let interface = record.interfaces.iter().find(|i| id_of(&record, i) == id)?;
        Some((record.key(), endpoint(&record, interface)))
    })
}

fn path(record: &Record, interface: &InterfaceRecord) -> String {
    format!("{}/{}/{}", record.namespace, record.name, interface.name)
}

/// At most 64 characters of letters, digits, `-` and `.`: what FHIR allows.
fn id_of(record: &Record, interface: &InterfaceRecord) -> String {
    name::child(&[&record.namespace, &record.name, &interface.name])
}

/// Code system, code and scheme of the address.
const fn connection(protocol: Protocol) -> (&'static str, &'static str, &'static str) {
    match protocol {
        Protocol::Fhir => (HL7, "hl7-fhir-rest", "http"),
        Protocol::Hl7v2 => (HL7, "hl7v2-mllp", "mllp"),
        // the most usual of its services; which others a server has is not known
        Protocol::DicomWeb => (HL7, "dicom-wado-rs", "http"),
        Protocol::Dicom => (OWN, "dicom-dimse", "dicom"),
        Protocol::Grpc => (OWN, "grpc", "grpc"),
        Protocol::Http => (OWN, "http", "http"),
        Protocol::Tcp => (OWN, "tcp", "tcp"),
    }
}

/// `active`: somebody answers. `error`: those that should do not. `suspended`: nobody is there, or has been asked yet.
fn status(interface: &InterfaceRecord) -> &'static str {
    let idle = |reason| {
        matches!(reason, EndpointReason::NotProbed | EndpointReason::PodNotReady | EndpointReason::Terminating)
    };
    if interface.endpoints.iter().any(|e| e.ready) {
        "active"
    } else if interface.endpoints.iter().all(|e| idle(e.reason)) {
        "suspended"
    } else {
        "error"
    }
}

fn endpoint(record: &Record, interface: &InterfaceRecord) -> Value {
    let (system, code, scheme) = connection(interface.protocol);
    let scheme = if interface.tls && scheme == "http" { "https" } else { scheme };
    let host = record.dns_name.clone().unwrap_or_else(|| format!("{}.{}.svc", record.name, record.namespace));
    let base = interface.base_path.as_deref().unwrap_or_default();
    json!({
        "resourceType": "Endpoint",
        "id": id_of(record, interface),
        "identifier": [{"system": IDENTIFIER, "value": path(record, interface)}],
        "status": status(interface),
        "connectionType": {"system": system, "code": code},
        "name": path(record, interface),
        "payloadType": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}],
        "address": format!("{scheme}://{host}:{}{base}", interface.port),
    })
}

/// What the server can do.
#[must_use]
pub fn capabilities(base: &str, version: &str) -> Value {
    let parameter = |name: &str, kind: &str, about: &str| json!({"name": name, "type": kind, "documentation": about});
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": {"name": "medley", "version": version},
        "implementation": {"description": "Registry of the medical services of a Kubernetes cluster", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{
            "mode": "server",
            "security": {"description": "Bearer tokens of the cluster for the audience medley.health; who may list medicalservices.medley.health may search"},
            "resource": [{
                "type": "Endpoint",
                "interaction": [{"code": "read"}, {"code": "search-type"}],
                "searchParam": [
                    parameter("connection-type", "token", "protocol"),
                    parameter("status", "token", "active, suspended or error"),
                    parameter("identifier", "token", "<namespace>/<service>/<interface>"),
                    parameter("_id", "token", "id of the Endpoint"),
                    parameter("namespace", "string", "namespace of the service; needed by who may not list those of all"),
                ],
            }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registry::EndpointRecord;

    fn record(name: &str, interfaces: &[(Protocol, &[EndpointReason])]) -> Record {
        let interface = |(i, (protocol, reasons)): (usize, &(Protocol, &[EndpointReason]))| InterfaceRecord {
            name: format!("i{i}"),
            protocol: *protocol,
            tls: false,
            port: 80,
            base_path: (*protocol == Protocol::Fhir).then(|| "/fhir".to_owned()),
            endpoints: reasons
                .iter()
                .map(|reason| EndpointRecord {
                    address: "10.0.0.1".to_owned(),
                    port: 8080,
                    zone: None,
                    ready: *reason == EndpointReason::Healthy,
                    reason: *reason,
                    since: None,
                })
                .collect(),
        };
        Record {
            namespace: "radiology".to_owned(),
            name: name.to_owned(),
            dns_name: Some(format!("{name}.radiology.svc.cluster.local")),
            ready: 1,
            total: 1,
            generation: 1,
            capabilities: Vec::new(),
            attributes: Default::default(),
            interfaces: interfaces.iter().enumerate().map(interface).collect(),
        }
    }

    fn search(parameters: &[(&str, &str)]) -> Search {
        Search::parse(parameters.iter().copied()).unwrap()
    }

    const HEALTHY: &[EndpointReason] = &[EndpointReason::Healthy, EndpointReason::TcpRefused];

    #[test]
    fn each_interface_is_an_endpoint_with_what_the_standard_requires() {
        let records = [record("pacs", &[(Protocol::Fhir, HEALTHY), (Protocol::Dicom, &[EndpointReason::TcpRefused])])];
        let bundle = search(&[]).bundle(records, "https://r/fhir", "");
        assert_eq!((&bundle["type"], &bundle["total"]), (&json!("searchset"), &json!(2)));
        assert_eq!(
            bundle["entry"][0],
            json!({"fullUrl": "https://r/fhir/Endpoint/radiology-pacs-i0", "search": {"mode": "match"}, "resource": {
                "resourceType": "Endpoint", "id": "radiology-pacs-i0", "status": "active", "name": "radiology/pacs/i0",
                "identifier": [{"system": IDENTIFIER, "value": "radiology/pacs/i0"}],
                "connectionType": {"system": HL7, "code": "hl7-fhir-rest"},
                "payloadType": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}],
                "address": "http://pacs.radiology.svc.cluster.local:80/fhir"}})
        );
        let dicom = &bundle["entry"][1]["resource"];
        assert_eq!(dicom["connectionType"], json!({"system": OWN, "code": "dicom-dimse"}));
        assert_eq!(
            (&dicom["status"], &dicom["address"]),
            (&json!("error"), &json!("dicom://pacs.radiology.svc.cluster.local:80"))
        );
    }

    #[test]
    fn an_id_is_one_that_fhir_allows_however_long_the_names_are() {
        let mut record = record(&"n".repeat(63), &[(Protocol::Http, &[])]);
        record.namespace = "s".repeat(63);
        let id = id_of(&record, &record.interfaces[0]);
        assert!(id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)), "{id}");
        assert_eq!(by_id([record.clone()], &id).unwrap().0, record.key());
        assert!(by_id([record], "other").is_none());
    }

    #[test]
    fn what_is_not_there_or_not_asked_yet_is_suspended_and_what_fails_is_an_error() {
        for (reasons, wanted) in [
            (&[][..], "suspended"),
            (&[EndpointReason::NotProbed, EndpointReason::PodNotReady], "suspended"),
            (&[EndpointReason::NotProbed, EndpointReason::HttpStatus], "error"),
            (&[EndpointReason::HttpStatus, EndpointReason::Healthy], "active"),
        ] {
            assert_eq!(status(&record("x", &[(Protocol::Http, reasons)]).interfaces[0]), wanted, "{reasons:?}");
        }
    }

    #[test]
    fn a_search_finds_by_token_and_goes_on_where_a_page_ended() {
        let records = || {
            ["a", "b", "c"].map(|name| {
                record(name, &[(Protocol::Fhir, HEALTHY), (Protocol::Hl7v2, &[EndpointReason::AckInvalid])])
            })
        };
        let ids = |search: &Search| -> Vec<String> {
            let covered = records().into_iter().filter(|r| search.covers(&r.key()));
            let bundle = search.bundle(covered, "https://r", "");
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()).collect()
        };
        let fhir = ["radiology-a-i0", "radiology-b-i0", "radiology-c-i0"];
        assert_eq!(ids(&search(&[("connection-type", "hl7-fhir-rest")])), fhir);
        assert_eq!(ids(&search(&[("connection-type", &format!("{HL7}|hl7-fhir-rest"))])), fhir);
        assert!(ids(&search(&[("connection-type", &format!("{OWN}|hl7-fhir-rest"))])).is_empty());
        assert_eq!(ids(&search(&[("status", "error"), ("identifier", "radiology/b/i1")])), ["radiology-b-i1"]);
        assert_eq!(ids(&search(&[("_id", "radiology-c-i1")])), ["radiology-c-i1"]);
        let first = search(&[("_count", "1")]).bundle(records(), "https://r", "_count=1");
        assert_eq!(
            first["link"][1],
            json!({"relation": "next", "url": "https://r/Endpoint?_count=1&_after=radiology/a"})
        );
        assert!(first.get("total").is_none());
        assert_eq!(ids(&search(&[("_after", "radiology/b")])), ["radiology-c-i0", "radiology-c-i1"]);
        for wrong in [("_count", "0"), ("_format", "xml"), ("name", "x"), ("namespace", "A")] {
            assert_eq!(Search::parse([wrong]).unwrap_err().status, 400, "{wrong:?}");
        }
    }
}
