//! Does a service match a query, and if not, why?

use serde_json::{Value, json};

use crate::{
    api::{MedicalService, ServiceQuerySpec, interface::Interface, service_query::ExclusionReason},
    core::expression::{Budget, Expression, Variables},
};

/// The one variable of `where`.
pub const VARIABLE: &str = "service";

/// Whether a service matches by what needs no evaluation: the interface that answers, or what is missing.
///
/// # Errors
/// Why it does not match.
pub fn interface<'s>(spec: &ServiceQuerySpec, service: &'s MedicalService) -> Result<&'s Interface, ExclusionReason> {
    let offer = &service.spec;
    if spec.capability.as_ref().is_some_and(|asked| !offer.capabilities.contains(asked)) {
        return Err(ExclusionReason::Capability);
    }
    let fits = |i: &&Interface| {
        spec.protocol.is_none_or(|p| p == i.protocol) && spec.interface.as_ref().is_none_or(|name| *name == i.name)
    };
    let interface = offer.interfaces.iter().find(fits).ok_or(ExclusionReason::Interface)?;
    let data = offer.data.as_ref();
    if let Some(asked) = spec.purpose
        && !data.is_some_and(|d| d.purposes.iter().any(|p| p.admits(asked)))
    {
        return Err(ExclusionReason::Purpose);
    }
    if let Some(asked) = spec.confidentiality
        && data.and_then(|d| d.max_confidentiality).is_none_or(|most| most < asked)
    {
        return Err(ExclusionReason::Confidentiality);
    }
    Ok(interface)
}

/// What is wrong with `where`.
///
/// # Errors
/// When it does not compile, or uses another variable than `service`.
pub fn compile(text: &str) -> Result<Expression, String> {
    let expression = Expression::compile(text).map_err(|e| e.to_string())?;
    match expression.references().variables.iter().find(|v| *v != VARIABLE) {
        Some(other) => Err(format!("there is no variable `{other}`: use service, such as service.attributes.site")),
        None => Ok(expression),
    }
}

/// Whether `where` is true of a service; all services of a query share a budget.
///
/// # Errors
/// Why it does not match.
pub fn holds(expression: &Expression, service: &MedicalService, budget: &mut Budget) -> Result<(), ExclusionReason> {
    let variables = Variables::from([(VARIABLE.to_owned(), variable(service))]);
    match expression.evaluate_within(&variables, budget) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Bool(false)) => Err(ExclusionReason::Where),
        Ok(_) | Err(_) => Err(ExclusionReason::WhereFailed),
    }
}

/// What expressions see of a service.
fn variable(service: &MedicalService) -> Value {
    let (metadata, spec) = (&service.metadata, &service.spec);
    let interfaces = spec.interfaces.iter().map(|i| json!({"name": i.name, "port": i.port, "protocol": i.protocol}));
    json!({
        "name": metadata.name,
        "labels": metadata.labels.clone().unwrap_or_default(),
        "capabilities": spec.capabilities,
        "attributes": spec.attributes,
        "interfaces": interfaces.collect::<Vec<_>>(),
        "data": spec.data.clone().unwrap_or_default(),
        "fhir": service.status.as_ref().map(|s| s.fhir.as_slice()).unwrap_or_default(),
        "dicom": service.status.as_ref().map(|s| s.dicom.as_slice()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_probes_found_is_seen_and_nothing_before() {
        let mut service: MedicalService = serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"name": "pacs", "namespace": "n"},
            "spec": {"external": {"endpoints": [{"host": "192.0.2.1"}]}, "interfaces": []},
        }))
        .unwrap();
        let asked =
            |text: &str, service: &MedicalService| holds(&compile(text).unwrap(), service, &mut Budget::of(100_000));
        let takes = "service.dicom.exists(d, d.contexts.exists(c, c.sopClass == '1.2' && '9.1' in c.transferSyntaxes))";
        let speaks =
            "service.fhir.exists(f, f.fhirVersion.startsWith('4.') && f.resources.exists(r, 'Task' in r.types))";
        assert_eq!(asked(takes, &service), Err(ExclusionReason::Where));
        assert_eq!(asked(speaks, &service), Err(ExclusionReason::Where));
        service.status = serde_json::from_value(json!({
            "dicom": [{"interface": "dicom", "generation": 1, "contexts": [{"sopClass": "1.2", "transferSyntaxes": ["9.1"]}]}],
            "fhir": [{"interface": "fhir", "generation": 1, "fhirVersion": "4.0.1",
                "resources": [{"interactions": ["read"], "types": ["Task"]}]}],
        }))
        .unwrap();
        assert_eq!(asked(takes, &service), Ok(()));
        assert_eq!(asked(speaks, &service), Ok(()));
    }
}
