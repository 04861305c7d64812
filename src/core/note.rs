//! What a decision wants people to know: it becomes a Kubernetes event.

/// One event. Reasons come from closed sets; messages carry no patient data and no text that a service sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub warning: bool,
    /// CamelCase word for machines.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
}

impl Note {
    /// Something that went as it should.
    #[must_use]
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}
