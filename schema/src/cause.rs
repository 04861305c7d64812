//! One thing that is wrong with an object, in the API server's words.

use serde_json::Value;

/// One field that is wrong, as it appears among `details.causes` of an `Invalid` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    pub reason: &'static str,
    /// Path such as `spec.steps[2].name`; `<nil>` stands for the root.
    pub field: String,
    /// Message without the field path.
    pub message: String,
}

impl Cause {
    /// A cause at a field; an empty field is the root.
    #[must_use]
    pub fn new(reason: &'static str, field: &str, message: impl Into<String>) -> Self {
        let field = if field.is_empty() { "<nil>" } else { field };
        Self { reason, field: field.to_owned(), message: message.into() }
    }

    /// A value that is not allowed; the value is repeated in the message.
    #[must_use]
    pub fn invalid(field: &str, value: &Value, message: impl AsRef<str>) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {value}: {}", message.as_ref()))
    }

    /// A field that is not there.
    #[must_use]
    pub fn required(field: &str, message: &str) -> Self {
        let message =
            if message.is_empty() { "Required value".to_owned() } else { format!("Required value: {message}") };
        Self::new("FieldValueRequired", field, message)
    }

    /// Errors of these classes keep the server from evaluating CEL rules.
    #[must_use]
    pub fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueRequired" | "FieldValueTypeInvalid" | "FieldValueTooLong" | "FieldValueTooMany"
        )
    }
}
