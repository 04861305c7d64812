//! What a request about answers asks for: those of queries, or one of its own.

use serde::de::DeserializeOwned;

use super::{
    filter::{after, is_capability, is_label, limit, namespace},
    problem::Problem,
};
use crate::{
    api::{ServiceQuerySpec, service_query::EndpointSelector},
    core::{discovery::query::filter, expression::Expression, name::Key},
};

/// Most zones of one question: as many as a query may have tiers.
const ZONES: usize = 8;
/// Longest `where`, as in a query.
const WHERE: usize = 1024;

/// Which queries' answers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Queries of this namespace.
    pub namespace: Option<String>,
    /// The query of this name; with a namespace only.
    pub name: Option<String>,
    /// Queries after this one, in the order of namespace and name.
    pub after: Option<Key>,
    /// So many at most.
    pub limit: Option<usize>,
}

/// A question that no object asks.
#[derive(Debug)]
pub struct Question {
    /// Whose services.
    pub namespace: String,
    /// What is asked of them, as in a `ServiceQuery`.
    pub spec: ServiceQuerySpec,
    /// `where`, compiled.
    pub condition: Option<Expression>,
}

/// Refuses a parameter that was there before.
fn once<T>(field: &'static str, there: Option<&T>) -> Result<(), Problem> {
    if there.is_some() { Err(Problem::parameter(field, "must be there once at most")) } else { Ok(()) }
}

fn word<T: DeserializeOwned>(field: &'static str, value: &str, rule: &str) -> Result<T, Problem> {
    serde_json::from_value(value.into()).map_err(|_| Problem::parameter(field, rule))
}

fn unknown(known: &str) -> Problem {
    Problem { field: None, ..Problem::parameter("", format!("a parameter is not known: there are {known}")) }
}

impl Answers {
    /// Reads the parameters of a request: pages where it is a list, one name where it is a stream.
    ///
    /// # Errors
    /// The first parameter that is unknown, there twice or wrong.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, pages: bool) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in parameters {
            match name {
                "namespace" => {
                    once("namespace", asked.namespace.as_ref())?;
                    asked.namespace = Some(namespace(value)?);
                }
                "name" if !pages => {
                    once("name", asked.name.as_ref())?;
                    if !is_label(value) {
                        return Err(Problem::parameter("name", "must be the name of a ServiceQuery"));
                    }
                    asked.name = Some(value.to_owned());
                }
                "limit" if pages => {
                    once("limit", asked.limit.as_ref())?;
                    asked.limit = Some(limit("limit", value)?);
                }
                "after" if pages => {
                    once("after", asked.after.as_ref())?;
                    asked.after = Some(after("after", value)?);
                }
                _ if pages => return Err(unknown("namespace, limit and after")),
                _ => return Err(unknown("namespace and name")),
            }
        }
        if asked.name.is_some() && asked.namespace.is_none() {
            return Err(Problem::parameter("name", "must be there with `namespace` only, which it is a name in"));
        }
        Ok(asked)
    }

    /// Whether it asks for a query of this name.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == key.namespace)
            && self.name.as_ref().is_none_or(|n| *n == key.name)
            && self.after.as_ref().is_none_or(|a| a < key)
    }
}

impl Question {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// The first parameter that is unknown, there twice, wrong or missing.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problem> {
        let (mut of, mut condition) = (None, None);
        let mut spec = ServiceQuerySpec::default();
        for (name, value) in parameters {
            match name {
                "namespace" => {
                    once("namespace", of.as_ref())?;
                    of = Some(namespace(value)?);
                }
                "capability" => {
                    once("capability", spec.capability.as_ref())?;
                    if !is_capability(value) {
                        let rule = "must be the name of a capability: at most 63 lower-case letters, digits, - and .";
                        return Err(Problem::parameter("capability", rule));
                    }
                    spec.capability = Some(value.to_owned());
                }
                "protocol" => {
                    once("protocol", spec.protocol.as_ref())?;
                    let rule = "must be one of HTTP, GRPC, TCP, FHIR, HL7v2, DICOM, DICOMweb";
                    spec.protocol = Some(word("protocol", value, rule)?);
                }
                "interface" => {
                    once("interface", spec.interface.as_ref())?;
                    if !is_label(value) || value.len() > 15 {
                        let rule = "must be the name of an interface: at most 15 lower-case letters, digits and -";
                        return Err(Problem::parameter("interface", rule));
                    }
                    spec.interface = Some(value.to_owned());
                }
                "where" => {
                    once("where", spec.where_.as_ref())?;
                    if !(1..=WHERE).contains(&value.len()) {
                        return Err(Problem::parameter("where", format!("must be a text of 1 to {WHERE} characters")));
                    }
                    let read = filter::compile(value);
                    condition = Some(read.map_err(|e| Problem::parameter("where", format!("must be CEL: {e}")))?);
                    spec.where_ = Some(value.to_owned());
                }
                "purpose" => {
                    once("purpose", spec.purpose.as_ref())?;
                    let rule = "must be a code of HL7 v3 PurposeOfUse, such as TREAT";
                    spec.purpose = Some(word("purpose", value, rule)?);
                }
                "confidentiality" => {
                    once("confidentiality", spec.confidentiality.as_ref())?;
                    let rule = "must be one of U, L, M, N, R, V";
                    spec.confidentiality = Some(word("confidentiality", value, rule)?);
                }
                "zone" => {
                    if value.is_empty() || value.len() > 63 || spec.tiers.len() == ZONES {
                        let rule = format!("must be a topology zone, and there {ZONES} times at most");
                        return Err(Problem::parameter("zone", rule));
                    }
                    spec.tiers.push(EndpointSelector { zones: vec![value.to_owned()], ..EndpointSelector::default() });
                }
                "maxTargets" => {
                    once("maxTargets", spec.max_targets.as_ref())?;
                    let number = value.parse().ok().filter(|n| (1..=100).contains(n));
                    let rule = || Problem::parameter("maxTargets", "must be a number from 1 to 100");
                    spec.max_targets = Some(number.ok_or_else(rule)?);
                }
                _ => {
                    return Err(unknown(
                        "namespace, capability, protocol, interface, where, purpose, confidentiality, zone and maxTargets",
                    ));
                }
            }
        }
        let missing = |field, rule| Err(Problem::parameter(field, rule));
        let Some(namespace) = of else {
            return missing("namespace", "must be there: an answer has services of one namespace");
        };
        if spec.protocol.is_none() && spec.interface.is_none() {
            return missing(
                "protocol",
                "must be there, or `interface`, or both: endpoints of one answer speak the same",
            );
        }
        Ok(Self { namespace, spec, condition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::vocabulary::Protocol;

    #[test]
    fn a_wrong_parameter_is_named_with_its_rule() {
        let long = "x".repeat(WHERE + 1);
        for (query, field, words) in [
            (vec![("protocol", "FHIR")], Some("namespace"), "one namespace"),
            (vec![("namespace", "a")], Some("protocol"), "interface"),
            (vec![("namespace", "A")], Some("namespace"), "DNS label"),
            (vec![("capability", "CT")], Some("capability"), "lower-case"),
            (vec![("protocol", "fhir")], Some("protocol"), "FHIR"),
            (vec![("protocol", "FHIR"), ("protocol", "FHIR")], Some("protocol"), "once"),
            (vec![("interface", "a-name-that-is-too-long")], Some("interface"), "15"),
            (vec![("where", "1 +")], Some("where"), "CEL"),
            (vec![("where", "other.name == 'x'")], Some("where"), "service.attributes.site"),
            (vec![("where", &long)], Some("where"), "1024"),
            (vec![("purpose", "FUN")], Some("purpose"), "TREAT"),
            (vec![("confidentiality", "X")], Some("confidentiality"), "U, L"),
            (vec![("zone", "")], Some("zone"), "zone"),
            (vec![("zone", "z"); 9], Some("zone"), "8 times"),
            (vec![("maxTargets", "0")], Some("maxTargets"), "1 to 100"),
            (vec![("patient", "Doe")], None, "namespace, capability"),
        ] {
            let problem = Question::parse(query.iter().copied()).unwrap_err();
            assert_eq!((problem.status, problem.field), (400, field), "{query:?}");
            assert!(problem.detail.contains(words) && !problem.detail.contains("Doe"), "{}", problem.detail);
        }
        for (query, pages, field) in [
            (vec![("name", "x")], false, Some("name")),
            (vec![("namespace", "a"), ("name", "X")], false, Some("name")),
            (vec![("namespace", "a"), ("name", "x")], true, None),
            (vec![("limit", "1")], false, None),
            (vec![("limit", "0")], true, Some("limit")),
            (vec![("after", "x")], true, Some("after")),
            (vec![("namespace", "a"), ("namespace", "a")], true, Some("namespace")),
        ] {
            assert_eq!(Answers::parse(query.iter().copied(), pages).unwrap_err().field, field, "{query:?}");
        }
    }

    #[test]
    fn a_question_is_a_query_without_an_object_and_zones_are_tiers_in_their_order() {
        let parameters = [
            ("namespace", "a"),
            ("protocol", "DICOM"),
            ("where", "true"),
            ("zone", "y"),
            ("zone", "x"),
            ("purpose", "TREAT"),
        ];
        let question = Question::parse(parameters).unwrap();
        assert_eq!((question.namespace.as_str(), question.spec.protocol), ("a", Some(Protocol::Dicom)));
        let zones: Vec<&str> = question.spec.tiers.iter().map(|t| t.zones[0].as_str()).collect();
        assert_eq!(zones, ["y", "x"]);
        assert!(question.condition.is_some());
        let one = Answers::parse([("namespace", "a"), ("name", "x")], false).unwrap();
        assert!(
            one.covers(&Key::new("a", "x")) && !one.covers(&Key::new("a", "y")) && !one.covers(&Key::new("b", "x"))
        );
        let rest = Answers::parse([("after", "a/x")], true).unwrap();
        assert!(rest.covers(&Key::new("a", "y")) && !rest.covers(&Key::new("a", "x")));
    }
}
