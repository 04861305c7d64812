//! How does the server say no? The `Status` bodies of refused requests, worded as the real server words them.

use super::kinds::KindInfo;
pub use medley_schema::Cause;
use serde_json::{Value, json};

/// A refused request: HTTP status code and the fields of its `Status` body.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status code, for instance 409.
    pub code: u16,
    /// Machine-readable reason, for instance `Conflict`; empty where the real server gives none.
    pub reason: String,
    /// What a person reads.
    pub message: String,
    /// `details` of the Status body: name, group, kind, causes.
    pub details: Option<Value>,
    /// Seconds for the `Retry-After` header and `details.retryAfterSeconds`.
    pub retry_after: Option<u64>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for ApiError {}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl ApiError {
    pub(super) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), message: message.into(), details: None, retry_after: None }
    }

    fn about(mut self, info: &KindInfo, name: &str, kind: &str) -> Self {
        let mut details = json!({"kind": kind});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !info.group.is_empty() {
            details["group"] = info.group.as_str().into();
        }
        self.details = Some(details);
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn not_found(info: &KindInfo, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {} not found", info.resource_name(), quoted(name))).about(
            info,
            name,
            &info.plural,
        )
    }

    pub(super) fn already_exists(info: &KindInfo, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {} already exists", info.resource_name(), quoted(name))).about(
            info,
            name,
            &info.plural,
        )
    }

    pub(super) fn conflict(info: &KindInfo, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {}: {why}", info.resource_name(), quoted(name));
        Self::new(409, "Conflict", message).about(info, name, &info.plural)
    }

    pub(super) fn stale(info: &KindInfo, name: &str) -> Self {
        Self::conflict(
            info,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// A delete precondition that does not hold. The real server names the kind here, not the resource.
    pub(super) fn precondition(info: &KindInfo, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {}: {why}", info.kind_name(), quoted(name));
        Self::new(409, "Conflict", message).about(info, name, &info.kind)
    }

    /// 422 with one cause for each wrong field. `causes` must not be empty.
    pub(super) fn invalid(info: &KindInfo, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_named(&info.kind_name(), &info.kind, info, name, causes)
    }

    /// As `invalid`, where the real server names the resource instead of the kind.
    pub(super) fn invalid_resource(info: &KindInfo, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_named(&info.resource_name(), &info.plural, info, name, causes)
    }

    fn invalid_named(title: &str, kind: &str, info: &KindInfo, name: &str, causes: &[Cause]) -> Self {
        let lines: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let text = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut error =
            Self::new(422, "Invalid", format!("{title} {} is invalid: {text}", quoted(name))).about(info, name, kind);
        let causes: Vec<Value> =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        if let Some(details) = &mut error.details {
            details["causes"] = causes.into();
        }
        error
    }

    /// 409 of a server-side apply without force. `owned` holds (owner's description, field path).
    pub(super) fn apply_conflict(owned: &[(String, String)]) -> Self {
        let causes: Vec<Value> = owned
            .iter()
            .map(|(owner, field)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": field}))
            .collect();
        let plural = if owned.len() == 1 { "conflict" } else { "conflicts" };
        let mut lines: Vec<String> = Vec::new();
        let mut last: Option<&str> = None;
        for (owner, field) in owned {
            if last != Some(owner) {
                lines.push(if owned.len() == 1 {
                    format!("conflict with {owner}: {field}")
                } else {
                    format!("conflicts with {owner}:")
                });
                last = Some(owner);
            }
            if owned.len() > 1 {
                lines.push(format!("- {field}"));
            }
        }
        let mut error =
            Self::new(409, "Conflict", format!("Apply failed with {} {plural}: {}", owned.len(), lines.join("\n")));
        error.details = Some(json!({"causes": causes}));
        error
    }

    pub(super) fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The `Status` object sent as the body.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "code": self.code});
        if !self.reason.is_empty() {
            body["reason"] = self.reason.as_str().into();
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        if let Some(seconds) = self.retry_after {
            body["details"]["retryAfterSeconds"] = seconds.into();
        }
        body
    }
}
