//! Pieces of schema that several kinds use, and the list of all CRDs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    CapacityPool, MedicalService, ServicePolicy, ServiceQuery, Workflow, WorkflowRun, capacity_pool, medical_service,
    rules::{self, Rule},
    service_policy, service_query, workflow, workflow_run,
};

/// Any JSON value, kept as it is: parameter values, defaults and outputs.
pub fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// A map of up to 64 names to any JSON value.
pub fn value_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "x-kubernetes-preserve-unknown-fields": true }
    })
}

/// A list of up to 32 JSON values.
pub fn value_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": { "x-kubernetes-preserve-unknown-fields": true }
    })
}

/// Conditions as `metav1.Condition`: a list map by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "description": "What is judged.", "type": "string", "maxLength": 316 },
                "status": { "description": "Whether it holds.", "type": "string", "enum": ["True", "False", "Unknown"] },
                "observedGeneration": { "description": "Generation of the spec that was judged.", "type": "integer", "format": "int64", "minimum": 0 },
                "lastTransitionTime": { "description": "When status last changed.", "type": "string", "format": "date-time" },
                "reason": { "description": "Why, in one word for programs.", "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" },
                "message": { "description": "Why, for people.", "type": "string", "maxLength": 32768 }
            }
        }
    })
}

/// A map of up to so many resource names to quantities: `resource.Quantity` without exponents.
fn quantities(most: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": most,
        "x-kubernetes-validations": rules::resource_names(),
        "additionalProperties": {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": rules::quantity(),
            "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
        }
    })
}

/// What a container is given.
pub fn container_quantities(_: &mut SchemaGenerator) -> Schema {
    quantities(16)
}

/// Capacity that is given, or taken.
pub fn capacity(_: &mut SchemaGenerator) -> Schema {
    quantities(8)
}

/// Capacity by urgency.
pub fn reserved(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 4,
        "x-kubernetes-validations": rules::reserved(),
        "additionalProperties": quantities(8)
    })
}

/// What is reported of resources.
pub fn amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": { "type": "string", "maxLength": 32 }
    })
}

/// Names of policies by field.
pub fn deciders(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 253 }
    })
}

/// A map of labels to values.
pub fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "x-kubernetes-validations": rules::label_keys(),
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

/// Facts about a service, by name.
pub fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "x-kubernetes-validations": rules::attribute_keys(),
        "additionalProperties": { "type": "string", "maxLength": 256 }
    })
}

/// A moment as Kubernetes writes it (RFC 3339).
pub fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Takes an enum's own description away: where the enum is optional, it would stand in place of the field's.
pub fn field_speaks(schema: &mut Schema) {
    schema.remove("description");
}

/// The definitions of all kinds, ready to be applied.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        finish(CapacityPool::crd(), capacity_pool::DESCRIPTION, &rules::capacity_pool()),
        finish(MedicalService::crd(), medical_service::DESCRIPTION, &rules::medical_service()),
        finish(ServicePolicy::crd(), service_policy::DESCRIPTION, &[]),
        finish(ServiceQuery::crd(), service_query::DESCRIPTION, &rules::service_query()),
        finish(Workflow::crd(), workflow::DESCRIPTION, &rules::workflow()),
        finish(WorkflowRun::crd(), workflow_run::DESCRIPTION, &rules::workflow_run()),
    ]
}

/// Sets what the derive macro has no word for: the kind's description and the rules that see spec and status together.
fn finish(mut crd: CustomResourceDefinition, description: &str, rules: &[Rule]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            schema.description = Some(description.to_owned());
            if !rules.is_empty() {
                schema.x_kubernetes_validations = Some(
                    rules
                        .iter()
                        .map(|rule| ValidationRule {
                            rule: rule.cel.to_owned(),
                            message: Some(rule.message.to_owned()),
                            field_path: Some(rule.path.to_owned()).filter(|p| !p.is_empty()),
                            ..ValidationRule::default()
                        })
                        .collect(),
                );
            }
            adapt(schema);
        }
    }
    crd
}

/// Formats such as `uint16` are Rust's, not Kubernetes': the API server warns about each; minimum and maximum say the same.
/// No field is nullable: then the API server takes null for absent and never stores it.
fn adapt(schema: &mut JSONSchemaProps) {
    if matches!(schema.format.as_deref(), Some(f) if f.starts_with("uint")) {
        schema.format = None;
    }
    schema.nullable = None;
    for child in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        adapt(child);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        adapt(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        adapt(values);
    }
}
