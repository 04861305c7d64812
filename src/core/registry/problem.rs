//! What was wrong with a request, in the form of RFC 9457 (`application/problem+json`), and as an `OperationOutcome` of FHIR.

use serde::Serialize;
use serde_json::{Value, json};

/// A problem. Nothing of the request is repeated in it, but what an expression got wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem it is.
    pub title: &'static str,
    /// The parameter or header that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// The rule that it breaks, and what to do.
    pub detail: String,
}

impl Problem {
    /// A parameter that breaks a rule.
    #[must_use]
    pub fn parameter(field: &'static str, rule: impl Into<String>) -> Self {
        Self { status: 400, title: "Bad Request", field: Some(field), detail: rule.into() }
    }

    /// Nobody is known by what the request carries.
    #[must_use]
    pub fn unauthenticated() -> Self {
        let detail = "must be `Bearer` and a token of the cluster for the audience medley.health: make one with `kubectl create token NAME --audience=medley.health`";
        Self { status: 401, title: "Unauthorized", field: Some("Authorization"), detail: detail.to_owned() }
    }

    /// The user may not do it; `right` is what a Role or ClusterRole must grant.
    #[must_use]
    pub fn forbidden(right: &str) -> Self {
        Self {
            status: 403,
            title: "Forbidden",
            field: None,
            detail: format!("the user needs the right to {right}: bind a role that grants it"),
        }
    }

    /// There is nothing of this name.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self { status: 404, title: "Not Found", field: None, detail: format!("there is no {what}: look at its name") }
    }

    /// It can be answered later.
    #[must_use]
    pub fn unavailable(why: &str) -> Self {
        Self {
            status: 503,
            title: "Service Unavailable",
            field: None,
            detail: format!("{why}: try again in some seconds"),
        }
    }

    /// The user has as many streams as one may have.
    #[must_use]
    pub fn too_many_streams() -> Self {
        let detail =
            "so many streams are open that no further one can be: close some, or follow more services with one";
        Self { status: 429, title: "Too Many Requests", field: None, detail: detail.to_owned() }
    }

    /// The user asks as many questions at a time as one may.
    #[must_use]
    pub fn too_many_questions() -> Self {
        let detail = "so many questions are being asked that no further one can be: wait for an answer, or make a ServiceQuery of what is asked often";
        Self { status: 429, title: "Too Many Requests", field: None, detail: detail.to_owned() }
    }

    /// The same as an `OperationOutcome`. Source: HL7 FHIR R4, value set `issue-type`.
    #[must_use]
    pub fn outcome(&self) -> Value {
        let code = match self.status {
            400 => "invalid",
            401 => "login",
            403 => "forbidden",
            404 => "not-found",
            429 => "throttled",
            _ => "transient",
        };
        let mut issue = json!({"severity": "error", "code": code, "diagnostics": self.detail});
        if let Some(field) = self.field {
            issue["expression"] = json!([format!("http.{field}")]);
        }
        json!({"resourceType": "OperationOutcome", "issue": [issue]})
    }
}
