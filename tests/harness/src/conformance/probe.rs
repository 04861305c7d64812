//! The custom resource that the cases work on.

use super::named;
use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const GROUP: &str = "conformance.medley.health";

/// A `Probe` with a spec.
pub(super) fn probe(name: &str, spec: &Value) -> Value {
    named(&format!("{GROUP}/v1"), "Probe", name, json!({"spec": spec}))
}

/// A `Probe` with more than a spec.
pub(super) fn probe_with(name: &str, rest: Value) -> Value {
    named(&format!("{GROUP}/v1"), "Probe", name, rest)
}

/// A definition of a kind of ours.
pub(super) fn definition(plural: &str, kind: &str, schema: &Value) -> anyhow::Result<CustomResourceDefinition> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    Ok(serde_json::from_value(crd)?)
}

/// Applies a definition and waits until it is served.
pub(super) async fn define(client: &Client, crd: &CustomResourceDefinition) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crd.metadata.name.clone().unwrap_or_default();
    crds.patch(&name, &PatchParams::apply("conformance").force(), &Patch::Apply(crd)).await?;
    let served = await_condition(crds, &name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), served)
        .await
        .with_context(|| format!("{name} not established within 30 s"))??;
    Ok(())
}

/// Makes the server serve the kind that the cases use. To be awaited once before them.
///
/// # Errors
/// If the definition is refused or not served within 30 s.
pub async fn install(client: &Client) -> anyhow::Result<()> {
    define(client, &definition("probes", "Probe", &schema())?).await
}

/// Removes every kind that the cases defined, with its objects. For a server that is used for something else too.
///
/// # Errors
/// If a definition cannot be deleted or is still there after 30 s.
pub async fn uninstall(client: &Client) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds.list_metadata(&ListParams::default()).await? {
        let name = crd.name_any();
        if name.ends_with(&format!(".{GROUP}")) {
            crds.delete(&name, &DeleteParams::default()).await?;
            let uid = crd.uid().unwrap_or_default();
            let gone = await_condition(crds.clone(), &name, conditions::is_deleted(&uid));
            tokio::time::timeout(Duration::from_secs(30), gone)
                .await
                .with_context(|| format!("{name} is still there after 30 s"))??;
        }
    }
    Ok(())
}

fn schema() -> Value {
    let phase = || json!({"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "oldSelf != 'Done' || self == oldSelf", "message": "Done is final"}]});
    json!({
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": [
            {"rule": "has(self.spec.fixed) == has(oldSelf.spec.fixed) && (!has(self.spec.fixed) || self.spec.fixed == oldSelf.spec.fixed)", "message": "spec.fixed is immutable"},
            {"rule": "!has(oldSelf.status) || !has(oldSelf.status.epoch) || (has(self.status) && has(self.status.epoch) && self.status.epoch >= oldSelf.status.epoch)", "message": "status.epoch never falls"},
        ],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                    "share": {"type": "number", "minimum": 0, "maximum": 1},
                    "fixed": {"type": "string", "maxLength": 10},
                    "mode": {"type": "string", "enum": ["A", "B"]},
                    "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
                    "maybe": {"type": "string", "nullable": true},
                    "flag": {"type": "boolean"},
                    "when": {"type": "string", "format": "date-time"},
                    "port": {"x-kubernetes-int-or-string": true},
                    "list": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string"}},
                    "map": {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "integer"}},
                    "set": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "items": {
                        "type": "array", "maxItems": 5, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object", "required": ["name"],
                            "properties": {"name": {"type": "string", "maxLength": 10}, "value": {"type": "integer"}, "note": {"type": "string"}, "phase": phase()},
                        },
                    },
                    "lower": {"type": "integer"},
                    "upper": {"type": "integer"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "choice": {
                        "type": "object", "properties": {"left": {"type": "string"}, "right": {"type": "string"}},
                        "oneOf": [{"required": ["left"]}, {"required": ["right"]}],
                    },
                },
                "x-kubernetes-validations": [
                    {"rule": "!has(self.lower) || !has(self.upper) || self.lower <= self.upper", "message": "lower must not exceed upper"},
                    {"rule": "!has(self.lower) || self.lower != 13", "messageExpression": "self.lower == 13 ? 'thirteen is unlucky' : ''", "reason": "FieldValueForbidden", "fieldPath": ".lower"},
                ],
            },
            "status": {
                "type": "object",
                "properties": {
                    "phase": phase(),
                    "epoch": {"type": "integer"},
                    "steps": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "object", "properties": {"phase": phase()}}},
                    "conditions": {
                        "type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                        "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
                    },
                },
            },
        },
    })
}
