//! What a FHIR server's answer means.

use serde_json::Value;

use super::{FhirDefinition, issue::Issues};
use crate::{
    api::vocabulary::ErrorClass,
    core::coordination::outcome::{Answer, Failure},
};

/// Longest media type that a message names.
const MAX_NAMED: usize = 64;

impl FhirDefinition {
    /// What expressions see as `result`: `{status, headers, resource}`; `resource` is null where the answer has no body.
    ///
    /// # Errors
    /// A status that is no success, by the issues of its `OperationOutcome` where it has one; an answer that is not FHIR's JSON
    /// or not the resource that was asked for. Then nobody knows whether a change took effect.
    pub fn settle(&self, answer: &Answer) -> Result<Value, Failure> {
        if !(200..300).contains(&answer.status) {
            return Err(self.refusal(answer));
        }
        let invalid = |message: String| Failure {
            class: ErrorClass::InvalidResult,
            known: false,
            message: format!("the service answered HTTP {} with {message}", answer.status),
        };
        if answer.body == Value::String(String::new()) {
            return match self.answers_with() {
                Some(_) => Err(invalid("no resource".to_owned())),
                None => Ok(Answer { body: Value::Null, ..answer.clone() }.to_value("resource")),
            };
        }
        check_media_type(answer).map_err(invalid)?;
        let Some(type_) = answer.body.get("resourceType").and_then(Value::as_str) else {
            let text = "what is not a FHIR resource: not JSON, too deeply nested, or without resourceType";
            return Err(invalid(text.to_owned()));
        };
        if let Some(wanted) = self.answers_with()
            && wanted != type_
        {
            return Err(invalid(format!("another resource than {wanted}")));
        }
        Ok(answer.to_value("resource"))
    }

    /// The type that a success must have; `None` where there may be another one, or none at all.
    fn answers_with(&self) -> Option<&str> {
        match self {
            Self::Read { type_, .. } => Some(type_),
            Self::Search { .. } | Self::Transaction { .. } => Some("Bundle"),
            // what comes back depends on `Prefer`, which a server may ignore, and on the operation
            Self::Create { .. } | Self::Update { .. } | Self::Operation { .. } => None,
        }
    }

    /// What a status outside 200 to 299 means (FHIR R4, http.html "HTTP Status Codes" and §3.1.0.5; RFC 9110 §15.5).
    fn refusal(&self, answer: &Answer) -> Failure {
        let issues = match check_media_type(answer) {
            Ok(()) => Issues::of(&answer.body),
            Err(_) => Issues::of(&Value::Null),
        };
        let why = match (answer.status, self) {
            (412, Self::Create { .. }) => ": several resources match ifNoneExist",
            (412, Self::Update { if_match: Some(_), .. }) => {
                ": the server has another version of the resource than ifMatch says"
            }
            (409, Self::Update { .. }) => ": another change of the resource is in the way",
            _ => "",
        };
        let class = match answer.status {
            // whatever the issues are called, it is the request's own condition that does not hold
            412 => ErrorClass::Rejected,
            429 | 503 => answer.class(),
            _ => issues.class().unwrap_or_else(|| answer.class()),
        };
        Failure {
            class,
            // a server that gave up waiting does not know what became of the change
            known: class != ErrorClass::Timeout,
            message: format!("the service answered HTTP {}{issues}{why}", answer.status),
        }
    }
}

/// Whether the answer says that it is FHIR's JSON; what it says else, as far as it can be told to anybody.
fn check_media_type(answer: &Answer) -> Result<(), String> {
    let Some(text) = answer.header("content-type") else { return Err("a body without a media type".to_owned()) };
    let mut parts = text.split(';').map(|p| p.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    if !matches!(media_type.as_str(), "application/fhir+json" | "application/json") {
        return Err(if is_media_type(&media_type) {
            format!("the media type {media_type} instead of application/fhir+json")
        } else {
            "a media type that is none".to_owned()
        });
    }
    // FHIR's JSON is UTF-8 always (FHIR R4, http.html "Content Types and encodings")
    match parts.find_map(|p| p.strip_prefix("charset=").map(|c| c.trim_matches('"').to_owned())) {
        Some(charset) if charset != "utf-8" => Err("another character encoding than UTF-8".to_owned()),
        _ => Ok(()),
    }
}

/// `type/subtype` (RFC 9110 §8.3.1), short, and of the characters that registered names have (RFC 6838 §4.2): nothing else of what
/// a service sends is repeated.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.len() <= MAX_NAMED && text.split_once('/').is_some_and(|(t, s)| is_name(t) && is_name(s))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
