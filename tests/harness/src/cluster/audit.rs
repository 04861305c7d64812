//! The API server's audit log: one line for each answered request, without bodies.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One answered request. A watch has two: when it starts and when it ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The same for both lines of a watch.
    #[serde(rename = "auditID")]
    pub id: String,
    /// `ResponseStarted` (watches only), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// The verb that authorisation sees: get, list, watch, create, update, patch, delete, deletecollection, or the HTTP
    /// method in lower case when no resource is meant.
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// Whom the user acted as, if it impersonated somebody.
    pub impersonated_user: Option<User>,
    /// How the client calls itself.
    #[serde(default)]
    pub user_agent: String,
    /// What the request is about; absent for paths that are no resource, such as `/readyz`.
    pub object_ref: Option<ObjectRef>,
    /// The answer.
    pub response_status: Option<ResponseStatus>,
    /// When the request came in (RFC 3339, microseconds).
    pub request_received_timestamp: String,
    /// When this stage was reached.
    pub stage_timestamp: String,
}

/// A user of the API server.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct User {
    /// Such as `admin` or `system:serviceaccount:medley:medley`.
    #[serde(default)]
    pub username: String,
}

/// The object, or the kind of object, that a request is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Empty for the core group.
    pub api_group: String,
    /// Such as `v1`.
    pub api_version: String,
    /// Plural, such as `pods`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-wide objects and requests.
    pub namespace: String,
    /// Empty for lists and for objects whose name the server chooses.
    pub name: String,
}

/// How a request was answered.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResponseStatus {
    /// HTTP status code.
    #[serde(default)]
    pub code: u16,
}

impl Event {
    /// Who the request counts for: the impersonated user, or the user.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }

    /// HTTP status code of the answer; 0 if none was sent.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }

    /// Whether the request could change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

/// Reads all complete lines of a log that may still be written.
///
/// # Errors
/// When the file cannot be read or a line is no audit event.
pub fn read(path: &Path) -> Result<Vec<Event>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading the audit log {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Event>> {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = complete.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("audit line `{line}`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods?fieldManager=x","verb":"create","user":{"username":"u","groups":["g"]},"sourceIPs":["127.0.0.1"],"userAgent":"t","objectRef":{"resource":"pods","namespace":"a","name":"p","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.010000Z"}"#;

    #[test]
    fn a_half_written_last_line_is_left_for_later() {
        let events = parse(&format!("{LINE}\n{}", &LINE[..40])).unwrap();
        assert_eq!(events.len(), 1);
        let event = &events[0];
        assert_eq!((event.username(), event.verb.as_str(), event.code()), ("u", "create", 201));
        assert!(event.is_write());
        assert_eq!(event.object_ref.as_ref().unwrap().resource, "pods");
        assert_eq!(event.uri, "/api/v1/namespaces/a/pods?fieldManager=x");
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        assert!(parse("{}\n").is_err());
    }
}
