//! Which services does a request ask for?

use super::{content::key_of, problem::Problem, record::Record};
use crate::{api::vocabulary::Protocol, core::name::Key};

/// Most services in one answer.
pub const MOST: usize = 500;

/// What a request asks for; what is not set does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Services of this namespace.
    pub namespace: Option<String>,
    /// Services with an interface of this protocol.
    pub protocol: Option<Protocol>,
    /// Services that declare this capability.
    pub capability: Option<String>,
    /// Services with an endpoint that answers, or without one.
    pub ready: Option<bool>,
    /// Services after this one, in the order of namespace and name.
    pub after: Option<Key>,
    /// So many at most.
    pub limit: Option<usize>,
}

/// Whether a text can be the name of a namespace (a DNS label, RFC 1123).
pub(super) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a text can be the name of a capability.
pub(super) fn is_capability(text: &str) -> bool {
    is_label(&text.replace('.', "-"))
}

/// A namespace.
///
/// # Errors
/// When it cannot be one.
pub fn namespace(text: &str) -> Result<String, Problem> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err(Problem::parameter(
        "namespace",
        "must be the name of a namespace: a DNS label of at most 63 lower-case characters",
    ))
}

/// How many, up to the most that one answer holds.
///
/// # Errors
/// When it is no such number.
pub fn limit(field: &'static str, text: &str) -> Result<usize, Problem> {
    match text.parse() {
        Ok(n) if (1..=MOST).contains(&n) => Ok(n),
        _ => Err(Problem::parameter(field, format!("must be a number from 1 to {MOST}"))),
    }
}

/// The service after which an answer goes on.
///
/// # Errors
/// When it is no `<namespace>/<name>`.
pub fn after(field: &'static str, text: &str) -> Result<Key, Problem> {
    let key = key_of(text).filter(|k| is_label(&k.namespace) && is_label(&k.name));
    key.ok_or_else(|| Problem::parameter(field, "must be what the answer before gave: <namespace>/<name>"))
}

impl Filter {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// The first parameter that is unknown, there twice or wrong.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, pages: bool) -> Result<Self, Problem> {
        let mut filter = Self::default();
        let once = |field: &'static str, there: bool| {
            if there { Err(Problem::parameter(field, "must be there once at most")) } else { Ok(()) }
        };
        for (name, value) in parameters {
            match name {
                "namespace" => {
                    once("namespace", filter.namespace.is_some())?;
                    filter.namespace = Some(namespace(value)?);
                }
                "protocol" => {
                    once("protocol", filter.protocol.is_some())?;
                    let known = serde_json::from_value(value.into()).map_err(|_| {
                        Problem::parameter("protocol", "must be one of HTTP, GRPC, TCP, FHIR, HL7v2, DICOM, DICOMweb")
                    })?;
                    filter.protocol = Some(known);
                }
                "capability" => {
                    once("capability", filter.capability.is_some())?;
                    if !is_capability(value) {
                        let rule = "must be the name of a capability: at most 63 lower-case letters, digits, - and .";
                        return Err(Problem::parameter("capability", rule));
                    }
                    filter.capability = Some(value.to_owned());
                }
                "ready" => {
                    once("ready", filter.ready.is_some())?;
                    let known = value.parse().map_err(|_| Problem::parameter("ready", "must be true or false"))?;
                    filter.ready = Some(known);
                }
                "limit" if pages => {
                    once("limit", filter.limit.is_some())?;
                    filter.limit = Some(limit("limit", value)?);
                }
                "after" if pages => {
                    once("after", filter.after.is_some())?;
                    filter.after = Some(after("after", value)?);
                }
                _ => {
                    let known = if pages { ", limit and after" } else { "" };
                    let rule =
                        format!("a parameter is not known: there are namespace, protocol, capability, ready{known}");
                    return Err(Problem { field: None, ..Problem::parameter("", rule) });
                }
            }
        }
        Ok(filter)
    }

    /// Whether it asks for services of this name at all.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == key.namespace) && self.after.as_ref().is_none_or(|a| a < key)
    }

    /// Whether it asks for this service.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == record.namespace)
            && self.protocol.is_none_or(|p| record.interfaces.iter().any(|i| i.protocol == p))
            && self.capability.as_ref().is_none_or(|c| record.capabilities.contains(c))
            && self.ready.is_none_or(|ready| ready == (record.ready > 0))
    }

    /// As many as asked for, and whether there are more.
    #[must_use]
    pub fn page(&self, records: impl IntoIterator<Item = Record>) -> (Vec<Record>, bool) {
        let limit = self.limit.unwrap_or(MOST);
        let mut found: Vec<Record> = records.into_iter().filter(|r| self.matches(r)).take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &[(&str, &str)]) -> Result<Filter, Problem> {
        Filter::parse(query.iter().copied(), true)
    }

    #[test]
    fn a_wrong_parameter_is_named_with_its_rule_and_not_repeated() {
        for (query, field, words) in [
            (vec![("namespace", "Radiology")], Some("namespace"), "DNS label"),
            (vec![("namespace", "")], Some("namespace"), "DNS label"),
            (vec![("protocol", "fhir")], Some("protocol"), "FHIR"),
            (vec![("capability", "CT")], Some("capability"), "lower-case"),
            (vec![("ready", "yes")], Some("ready"), "true or false"),
            (vec![("limit", "0")], Some("limit"), "1 to 500"),
            (vec![("limit", "501")], Some("limit"), "1 to 500"),
            (vec![("after", "radiology")], Some("after"), "<namespace>/<name>"),
            (vec![("ready", "true"), ("ready", "true")], Some("ready"), "once"),
            (vec![("patient", "Doe")], None, "namespace, protocol, capability, ready, limit and after"),
        ] {
            let problem = parse(&query).unwrap_err();
            assert_eq!((problem.status, problem.field), (400, field), "{query:?}");
            assert!(problem.detail.contains(words) && !problem.detail.contains("Doe"), "{}", problem.detail);
        }
        assert!(Filter::parse([("limit", "1")], false).is_err());
    }

    #[test]
    fn a_service_matches_by_namespace_protocol_and_readiness_page_by_page() {
        let record = |name: &str, ready| Record {
            namespace: "a".to_owned(),
            name: name.to_owned(),
            dns_name: None,
            ready,
            total: 1,
            generation: 1,
            capabilities: vec!["ct.triage".to_owned()],
            attributes: Default::default(),
            interfaces: vec![super::super::InterfaceRecord {
                name: "i".to_owned(),
                protocol: Protocol::Fhir,
                tls: false,
                port: 80,
                base_path: None,
                endpoints: Vec::new(),
            }],
        };
        let names = |filter: &Filter| {
            let (page, more) = filter.page([record("x", 1), record("y", 0), record("z", 2)]);
            (page.into_iter().map(|r| r.name).collect::<Vec<_>>().concat(), more)
        };
        assert_eq!(names(&parse(&[("protocol", "FHIR"), ("ready", "true")]).unwrap()), ("xz".to_owned(), false));
        assert_eq!(names(&parse(&[("ready", "false")]).unwrap()), ("y".to_owned(), false));
        assert_eq!(names(&parse(&[("protocol", "DICOM")]).unwrap()), (String::new(), false));
        assert_eq!(names(&parse(&[("capability", "ct.triage"), ("ready", "true")]).unwrap()).0, "xz");
        assert_eq!(names(&parse(&[("capability", "mr")]).unwrap()), (String::new(), false));
        assert_eq!(names(&parse(&[("namespace", "b")]).unwrap()), (String::new(), false));
        assert_eq!(names(&parse(&[("limit", "2")]).unwrap()), ("xy".to_owned(), true));
        assert_eq!(names(&parse(&[("limit", "3")]).unwrap()), ("xyz".to_owned(), false));
        let filter = parse(&[("after", "a/y")]).unwrap();
        assert!(filter.covers(&Key::new("a", "z")) && !filter.covers(&Key::new("a", "y")));
    }
}
