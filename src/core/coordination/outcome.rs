//! What came of a call.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::api::vocabulary::ErrorClass;

/// The end of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: CallResult,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CallResult {
    /// The service answered.
    Answered(Answer),
    /// It did not, or not in a way that can be read.
    Failed {
        /// The kind of failure.
        class: ErrorClass,
        /// Whether the request may have reached the service.
        sent: bool,
        /// The layer that failed, for people; never what the service sent.
        message: String,
    },
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case; of repeated ones the first.
    pub headers: Vec<(String, String)>,
    /// Its body: parsed when it is JSON, text otherwise.
    pub body: Value,
}

impl Answer {
    /// Whether it is what the step expects: any 2xx when nothing is named.
    #[must_use]
    pub fn is_expected(&self, expected: &[u16]) -> bool {
        if expected.is_empty() { (200..300).contains(&self.status) } else { expected.contains(&self.status) }
    }

    /// The kind of failure that an unexpected status is (RFC 9110 §15; RFC 6585 §4 for 429).
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self.status {
            429 | 503 => ErrorClass::Overloaded,
            500..=599 => ErrorClass::ServerError,
            _ => ErrorClass::Rejected,
        }
    }

    /// What expressions see as `result`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
        serde_json::json!({ "status": self.status, "headers": headers, "body": self.body })
    }
}
