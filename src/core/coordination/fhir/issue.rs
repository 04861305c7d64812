//! `OperationOutcome`: why a FHIR server did not do it. Codes and severities are read, and nothing else: diagnostics, texts and
//! expressions may tell of the patient.

use std::fmt;

use serde_json::Value;

use crate::api::vocabulary::ErrorClass;

/// Most issues that are read, and that a message names.
const MAX_READ: usize = 100;
const MAX_NAMED: usize = 5;

/// What a code means for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The same request fails again.
    Final,
    /// It may succeed later: the kind of failure that it is.
    Passing(ErrorClass),
    /// The code says nothing of it: the HTTP status decides.
    Open,
}

/// FHIR R4 value set `issue-type`, all codes, and `success` and `limited-filter` of R5. A code outside of it is never repeated
/// to anybody.
const CODES: [(&str, Meaning); 33] = [
    ("invalid", Meaning::Final),
    ("structure", Meaning::Final),
    ("required", Meaning::Final),
    ("value", Meaning::Final),
    ("invariant", Meaning::Final),
    ("security", Meaning::Final),
    ("login", Meaning::Final),
    ("unknown", Meaning::Final),
    ("expired", Meaning::Final),
    ("forbidden", Meaning::Final),
    ("suppressed", Meaning::Final),
    ("processing", Meaning::Open),
    ("not-supported", Meaning::Final),
    ("duplicate", Meaning::Final),
    ("multiple-matches", Meaning::Final),
    ("not-found", Meaning::Final),
    ("deleted", Meaning::Final),
    ("too-long", Meaning::Final),
    ("code-invalid", Meaning::Final),
    ("extension", Meaning::Final),
    ("too-costly", Meaning::Final),
    ("business-rule", Meaning::Final),
    ("conflict", Meaning::Final),
    ("transient", Meaning::Passing(ErrorClass::Overloaded)),
    ("lock-error", Meaning::Passing(ErrorClass::Overloaded)),
    ("no-store", Meaning::Passing(ErrorClass::Overloaded)),
    ("exception", Meaning::Passing(ErrorClass::ServerError)),
    ("timeout", Meaning::Passing(ErrorClass::Timeout)),
    ("incomplete", Meaning::Passing(ErrorClass::ServerError)),
    ("throttled", Meaning::Passing(ErrorClass::Overloaded)),
    ("informational", Meaning::Open),
    ("success", Meaning::Open),
    ("limited-filter", Meaning::Open),
];

/// FHIR R4 value set `issue-severity`, worst first.
const SEVERITIES: [&str; 4] = ["fatal", "error", "warning", "information"];

/// One issue: severity and code in the words of the value sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Issue {
    severity: &'static str,
    code: &'static str,
    meaning: Meaning,
}

/// The issues of an `OperationOutcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issues(Vec<Issue>);

impl Issues {
    /// Reads a body; nothing where it is no `OperationOutcome`.
    pub(super) fn of(body: &Value) -> Self {
        if body.get("resourceType").and_then(Value::as_str) != Some("OperationOutcome") {
            return Self(Vec::new());
        }
        let list = body.get("issue").and_then(Value::as_array);
        let mut issues: Vec<Issue> = Vec::new();
        for issue in list.into_iter().flatten().take(MAX_READ) {
            let text = |field: &str| issue.get(field).and_then(Value::as_str);
            let severity = SEVERITIES.into_iter().find(|s| Some(*s) == text("severity")).unwrap_or("error");
            let known = CODES.into_iter().find(|(c, _)| Some(*c) == text("code"));
            let (code, meaning) = known.unwrap_or(("of an unknown code", Meaning::Open));
            let issue = Issue { severity, code, meaning };
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        }
        Self(issues)
    }

    /// The kind of failure that the issues speak of; `None` where they leave it to the HTTP status. What fails again in any
    /// case outweighs what may pass.
    pub(super) fn class(&self) -> Option<ErrorClass> {
        let severe = || self.0.iter().filter(|i| matches!(i.severity, "fatal" | "error"));
        if severe().any(|i| i.meaning == Meaning::Final) {
            return Some(ErrorClass::Rejected);
        }
        severe().find_map(|i| if let Meaning::Passing(class) = i.meaning { Some(class) } else { None })
    }
}

/// ` (error required, error value)`; empty without issues.
impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = self.0.iter().take(MAX_NAMED).map(|i| format!("{} {}", i.severity, i.code)).collect();
        let more = self.0.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        write!(f, " ({}{more})", named.join(", "))
    }
}
