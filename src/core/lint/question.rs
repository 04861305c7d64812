//! What is wrong with one query: an expression that cannot be read or is not true or false, a capability that nobody has, a name that a
//! service has already.

use std::collections::BTreeMap;

use super::{
    finding::{Findings, Severity},
    object::{Object, Spec},
};
use crate::{
    api::ServiceQuerySpec,
    core::{
        discovery::query::filter,
        expression::kinds::{Absence, Doubt, Field, Fields, Kind, infer},
        suggest::nearest,
    },
};

pub(super) fn check(object: &Object, spec: &ServiceQuerySpec, findings: &mut Findings) {
    let Some(text) = &spec.where_ else { return };
    let field = "spec.where";
    let expression = match filter::compile(text) {
        Ok(expression) => expression,
        Err(problem) => return findings.at(object, Severity::Error, "definition", field, problem),
    };
    let variables = BTreeMap::from([(filter::VARIABLE.to_owned(), service())]);
    let (kind, doubts) = infer(&expression, &variables, &[], &[]);
    for Doubt { certain, absent, message } in doubts {
        // there is no step here, and what is asked for is one condition
        let message = message.replace(" ? … : …, or in the step's when", " && …");
        let severity = if certain { Severity::Error } else { Severity::Warning };
        findings.at(object, severity, if absent { "absent" } else { "kind-of-value" }, field, message);
    }
    if kind.differs(&Kind::Bool) || matches!(kind, Kind::Other(_)) {
        let message = format!("where must be true or false, and this is {}", kind.name());
        findings.at(object, Severity::Error, "kind-of-value", field, message);
    }
}

/// What `where` sees.
fn service() -> Kind {
    let text = |name: &str| (name.to_owned(), Kind::String);
    let texts = || Kind::List(Box::new(Kind::String));
    let interface = Fields::of([text("name"), ("port".to_owned(), Kind::Int), text("protocol")]);
    let unset = |name: &str, kind: Kind| {
        let absence = Absence {
            why: format!("a service need not set data.{name}"),
            certain: false,
            present_if: None,
            asked_by: None,
        };
        (name.to_owned(), Field { kind, absence: Some(absence) })
    };
    let data = [unset("maxConfidentiality", Kind::String), unset("purposes", texts())];
    Kind::Map(Fields::of([
        text("name"),
        ("labels".to_owned(), Kind::object()),
        ("capabilities".to_owned(), texts()),
        ("attributes".to_owned(), Kind::object()),
        ("interfaces".to_owned(), Kind::List(Box::new(Kind::Map(interface)))),
        ("data".to_owned(), Kind::Map(Fields { known: data.into(), open: false })),
        ("fhir".to_owned(), Kind::List(Box::new(Kind::object()))),
        ("dicom".to_owned(), Kind::List(Box::new(Kind::object()))),
    ]))
}

/// What other objects have to do with it.
pub(super) fn among(objects: &[Object], from: &Object, spec: &ServiceQuerySpec, findings: &mut Findings) {
    let meets = |o: &&Object| o.namespace == from.namespace || o.namespace.is_none() || from.namespace.is_none();
    let services = || {
        objects.iter().filter(meets).filter_map(|o| match &o.spec {
            Spec::MedicalService(service) => Some((o, service)),
            _ => None,
        })
    };
    if services().any(|(o, _)| !o.name.is_empty() && o.name == from.name) {
        let message = format!(
            "the MedicalService `{}` has a Service of this name in cluster DNS already: give the query another name",
            from.name
        );
        findings.at(from, Severity::Error, "duplicate-object", "metadata.name", message);
    }
    let Some(asked) = &spec.capability else { return };
    let all = || services().flat_map(|(_, s)| s.capabilities.iter().map(String::as_str));
    if !all().any(|c| c == asked)
        && let Some(near) = nearest(asked, all())
    {
        let message = format!("no MedicalService of these files has the capability `{asked}`; did you mean `{near}`?");
        findings.at(from, Severity::Warning, "reference", "spec.capability", message);
    }
}
