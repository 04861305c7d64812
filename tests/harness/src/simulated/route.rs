//! What does a request ask for? From method, path and query to a resource and a verb.

use http::Method;
use std::collections::HashMap;

/// A request's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

/// The query of a URL, decoded.
pub(super) type Query = HashMap<String, String>;

/// The resource that a path names; `None` for everything else (discovery, health).
pub(super) fn target(path: &str) -> Option<Target> {
    let mut parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(decode).collect();
    let mut target = Target::default();
    match parts.first()?.as_str() {
        "api" if parts.len() >= 3 => {
            target.version.clone_from(&parts[1]);
            parts.drain(..2);
        }
        "apis" if parts.len() >= 4 => {
            target.group.clone_from(&parts[1]);
            target.version.clone_from(&parts[2]);
            parts.drain(..3);
        }
        _ => return None,
    }
    // `namespaces/x` is the namespace itself, `namespaces/x/status` its status.
    let is_scope = parts[0] == "namespaces"
        && parts.len() >= 3
        && !(target.group.is_empty() && matches!(parts[2].as_str(), "status" | "finalize"));
    if is_scope {
        target.namespace.clone_from(&parts[1]);
        parts.drain(..2);
    }
    let mut rest = parts.into_iter();
    target.resource = rest.next()?;
    target.name = rest.next().unwrap_or_default();
    target.subresource = rest.collect::<Vec<_>>().join("/");
    Some(target)
}

/// The API server's word for what a request does.
pub(super) fn verb(method: &Method, target: &Target, query: &Query) -> Option<&'static str> {
    let named = !target.name.is_empty();
    Some(match (method.as_str(), named) {
        ("GET", true) => "get",
        ("GET", false) if is_true(query, "watch") => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => return None,
    })
}

pub(super) fn is_write(verb: &str) -> bool {
    !matches!(verb, "get" | "list" | "watch")
}

pub(super) fn is_true(query: &Query, name: &str) -> bool {
    query.get(name).is_some_and(|v| v == "true" || v == "1")
}

pub(super) fn query(text: Option<&str>) -> Query {
    let pairs = text.unwrap_or_default().split('&').filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}

/// Percent-decoding; what is not valid stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}
