//! What may a write say, and what of it counts? Identity checks, the line between an object and its status, and the
//! schema's judgement.

use super::{
    error::{ApiError, Cause},
    kinds::KindInfo,
    meta,
    store::Stored,
};
use serde_json::{Map, Value};

pub(super) fn check_type(info: &KindInfo, body: &Value) -> Result<(), ApiError> {
    let (version, kind) = (body["apiVersion"].as_str().unwrap_or_default(), body["kind"].as_str().unwrap_or_default());
    if version.is_empty() || kind.is_empty() {
        return Err(ApiError::bad_request(format!("invalid object type: {version}, Kind={kind}")));
    }
    if version != info.api_version() {
        let expected = info.api_version();
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if kind != info.kind {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::invalid(
            info,
            name,
            &[Cause::invalid("kind", &kind.into(), format!("must be {}", info.kind))],
        ));
    }
    Ok(())
}

pub(super) fn check_namespace(info: &KindInfo, body: &mut Value, namespace: &str) -> Result<(), ApiError> {
    if !body["metadata"].is_object() {
        body["metadata"] = Value::Object(Map::new());
    }
    if !info.namespaced {
        return Ok(());
    }
    match body["metadata"]["namespace"].as_str() {
        None | Some("") => {
            body["metadata"]["namespace"] = namespace.into();
            Ok(())
        }
        Some(given) if given == namespace => Ok(()),
        Some(_) => Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

pub(super) fn check_name(body: &Value, name: &str) -> Result<(), ApiError> {
    let given = body["metadata"]["name"].as_str().unwrap_or_default();
    if given == name {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({name})")))
}

/// A version that the caller gives must be the stored one.
pub(super) fn check_version(info: &KindInfo, old: &Stored, new: &Value) -> Result<(), ApiError> {
    match new["metadata"]["resourceVersion"].as_str() {
        None | Some("") => Ok(()),
        Some(rv) if rv == old.meta("resourceVersion") => Ok(()),
        Some(_) => Err(ApiError::stale(info, old.meta("name"))),
    }
}

/// So must a UID and a time of deletion.
pub(super) fn check_immutable(info: &KindInfo, old: &Stored, new: &Value) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    for field in ["uid", "deletionTimestamp"] {
        if let Some(given) = new["metadata"][field].as_str()
            && !given.is_empty()
            && given != old.meta(field)
        {
            causes.push(Cause::invalid(&format!("metadata.{field}"), &given.into(), "field is immutable"));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(info, old.meta("name"), &causes)) }
}

/// A new object's status is the server's business where there is a status subresource.
pub(super) fn first_state(info: &KindInfo, body: &mut Value) {
    if info.has_status
        && let Some(map) = body.as_object_mut()
    {
        map.remove("status");
        if let Some(status) = info.first_status() {
            map.insert("status".to_owned(), status);
        }
    }
}

pub(super) fn keep_status(before: &Value, new: &mut Value) {
    if let Some(map) = new.as_object_mut() {
        match before.get("status") {
            Some(status) => map.insert("status".to_owned(), status.clone()),
            None => map.remove("status"),
        };
    }
}

/// What a write to `/status` may change: of a custom resource the status alone, of a built-in kind some metadata too.
pub(super) fn only_status(info: &KindInfo, before: &Value, mut new: Value) -> Value {
    let mut out = before.clone();
    if let Some(map) = out.as_object_mut() {
        match new.get_mut("status").map(Value::take) {
            Some(status) => map.insert("status".to_owned(), status),
            None => map.remove("status"),
        };
    }
    if !info.custom {
        let mut metadata = new["metadata"].take();
        let mut keep = vec!["ownerReferences"];
        if matches!(info.kind.as_str(), "Deployment" | "ReplicaSet" | "StatefulSet") {
            keep.push("labels");
        }
        for name in keep {
            match before["metadata"].get(name) {
                Some(value) => metadata[name] = value.clone(),
                None => {
                    metadata.as_object_mut().map(|m| m.remove(name));
                }
            }
        }
        out["metadata"] = metadata;
    }
    out
}

/// Takes out of an apply's configuration what the endpoint does not accept, so that nobody comes to own it.
pub(super) fn isolate_config(info: &KindInfo, config: &mut Value, subresource: &str) {
    let Some(map) = config.as_object_mut() else { return };
    if subresource == "status" {
        map.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        let allowed: &[&str] = if info.custom {
            &["name", "namespace"]
        } else {
            &["name", "namespace", "labels", "annotations", "finalizers"]
        };
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| allowed.contains(&name.as_str()));
        }
    } else {
        if info.has_status {
            map.remove("status");
        }
        if let Some(metadata) = map.get_mut("metadata") {
            *metadata = meta::settled(metadata, None);
        }
    }
    if !info.custom {
        drop_nulls(config);
    }
}

/// Settles the object by its schema and returns all that is wrong with it.
pub(super) fn judge(
    info: &KindInfo,
    object: &mut Value,
    old: Option<&Value>,
    applied: bool,
    subresource: &str,
) -> Vec<Cause> {
    let mut causes = meta::causes(&object["metadata"], old.map(|o| &o["metadata"]));
    match &info.schema {
        Some(schema) => {
            schema.settle(object, applied);
            schema.judge(object, old, subresource == "status", &mut causes);
        }
        None => drop_nulls(object),
    }
    causes
}

/// The typed kinds know no null: it is the same as absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, child| !child.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

pub(super) fn desired_state_differs(info: &KindInfo, before: &Value, new: &Value) -> bool {
    if !info.custom && info.kind != "EndpointSlice" && info.kind != "PriorityClass" {
        return before.get("spec") != new.get("spec");
    }
    let skips = |name: &str| name == "metadata" || (name == "status" && info.has_status);
    let (Some(before), Some(new)) = (before.as_object(), new.as_object()) else { return false };
    let names = before.keys().chain(new.keys());
    names.filter(|name| !skips(name)).any(|name| before.get(name) != new.get(name))
}
