//! What came of a call.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    api::vocabulary::ErrorClass,
    core::{
        dicom::find::Found,
        dispatch::{Chosen, Ended},
        hl7::ack::{Ack, Code},
    },
};

/// The end of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: CallResult,
    /// The endpoint, where the request went to another one than its step's status tells.
    pub moved: Option<Chosen>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CallResult {
    /// The service answered in HTTP.
    Answered(Answer),
    /// The service acknowledged an HL7 message.
    Acknowledged(Ack),
    /// The service answered C-ECHO.
    Echoed {
        /// With this status (PS3.7 annex C); 0 is success.
        status: u16,
    },
    /// The service answered C-FIND.
    Found(Found),
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

impl CallResult {
    /// What it tells of the service, when it took so many seconds; `None` where nothing reached it.
    #[must_use]
    pub fn tells(&self, seconds: f64) -> Option<Ended> {
        match self {
            Self::Answered(answer) => {
                let well = !matches!(answer.class(), ErrorClass::Overloaded | ErrorClass::ServerError);
                Some(Ended { well, seconds: Some(seconds) })
            }
            Self::Acknowledged(ack) => {
                let well = !(ack.code == Code::Error && matches!(ack.error, Some(206 | 207)));
                Some(Ended { well, seconds: Some(seconds) })
            }
            Self::Echoed { .. } => Some(Ended { well: true, seconds: Some(seconds) }),
            Self::Found(found) => {
                let failed = matches!(found.class(), ErrorClass::Overloaded | ErrorClass::ServerError);
                Some(Ended { well: !failed, seconds: Some(seconds) })
            }
            // it has said so by taking no association
            Self::Failed { class: ErrorClass::Overloaded, .. } => Some(Ended { well: false, seconds: Some(seconds) }),
            Self::Failed { class: ErrorClass::Connection, .. } => Some(Ended { well: false, seconds: None }),
            Self::Failed { class: ErrorClass::Timeout, .. } => Some(Ended { well: false, seconds: Some(seconds) }),
            Self::Failed { class: ErrorClass::InvalidResult, .. } => Some(Ended { well: true, seconds: Some(seconds) }),
            Self::Failed { .. } => None,
        }
    }
}

/// Why a call that was answered has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub class: ErrorClass,
    /// Whether it is known that the request had no effect, or which one.
    pub known: bool,
    /// For people: fields, statuses and codes, never what else the service sent.
    pub message: String,
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

    /// The failure that an unexpected status is. The service has answered, so it is known what came of the request.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure { class: self.class(), known: true, message: format!("the service answered HTTP {}", self.status) }
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What expressions see as `result`: `status`, `headers`, and the body under this name.
    #[must_use]
    pub fn to_value(&self, body: &str) -> Value {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
        serde_json::json!({ "status": self.status, "headers": headers, body: self.body })
    }
}
