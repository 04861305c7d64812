//! A write that the API server refuses until somebody changes something: how the object that it was for says so.
//!
//! What the server said goes to the log only: it may repeat values.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    api::status::STALLED,
    core::{condition, note::Note},
};

/// Reason of the conditions: the API server refuses a write.
const WRITE_REFUSED: &str = "WriteRefused";
/// Reason of the conditions: the name that is needed is somebody else's.
const NAME_TAKEN: &str = "NameTaken";
/// Most fields that a message names.
const MAX_FIELDS: usize = 3;

/// Why a write is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// RBAC does not grant it.
    Permission,
    /// The namespace's quota is used up.
    Quota,
    /// The namespace's pod security level forbids it.
    PodSecurity,
    /// Something else in the API server forbids it.
    Policy,
    /// The object is not valid; the fields that are wrong.
    Invalid(Vec<String>),
}

/// One refused write, in words for conditions and events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: &'static str,
    message: String,
}

impl Refusal {
    /// A write with this verb on this resource, such as `deployments.apps`.
    #[must_use]
    pub fn of_write(verb: &str, resource: &str, cause: &Cause) -> Self {
        let (word, advice) = match cause {
            Cause::Permission => {
                ("Forbidden", "grant the operator's ServiceAccount this verb in this namespace".to_owned())
            }
            Cause::Quota => {
                ("Forbidden", "the quota of the namespace is used up; raise it, or ask for less".to_owned())
            }
            Cause::PodSecurity => {
                ("Forbidden", "the pod security level of the namespace does not allow it; change the level".to_owned())
            }
            Cause::Policy => (
                "Forbidden",
                "a policy of the cluster or a missing permission; the operator's log has the answer".to_owned(),
            ),
            Cause::Invalid(fields) if fields.is_empty() => {
                ("Invalid", "correct the spec; the operator's log has the answer".to_owned())
            }
            Cause::Invalid(fields) => {
                let named: Vec<&str> = fields.iter().take(MAX_FIELDS).map(String::as_str).collect();
                ("Invalid", format!("correct what the spec gives for {}", named.join(", ")))
            }
        };
        let message = format!("{verb} {resource}: the API server refused it ({word}): {advice}");
        Self { reason: WRITE_REFUSED, message }
    }

    /// An object of this kind and name is needed and belongs to somebody else.
    #[must_use]
    pub fn name_taken(kind: &str, name: &str) -> Self {
        let message = format!("a {kind} named {name} exists that does not belong here: delete it");
        Self { reason: NAME_TAKEN, message }
    }

    /// What a status says of a refusal: a leader that takes over has no other memory of it.
    #[must_use]
    pub fn stored(conditions: &[Condition]) -> Option<Self> {
        let stalled = condition::find(conditions, STALLED)?;
        let reason = [WRITE_REFUSED, NAME_TAKEN].into_iter().find(|r| *r == stalled.reason)?;
        Some(Self { reason, message: stalled.message.clone() })
    }

    /// A word for machines.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// What was refused and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The event for it, unless these conditions have said it before.
    #[must_use]
    pub fn note(&self, present: &[Condition]) -> Option<Note> {
        let said = Self::stored(present).is_some_and(|stored| stored == *self);
        (!said).then(|| Note::warning(self.reason, self.message.clone()))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::core::condition::{Conditions, State};

    #[test]
    fn a_refusal_names_verb_resource_fields_and_what_to_do() {
        let text = |cause| Refusal::of_write("patch", "deployments.apps", &cause).message().to_owned();
        assert_eq!(
            text(Cause::Permission),
            "patch deployments.apps: the API server refused it (Forbidden): \
             grant the operator's ServiceAccount this verb in this namespace"
        );
        let fields = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert!(text(Cause::Invalid(fields)).ends_with("(Invalid): correct what the spec gives for a, b, c"));
        assert!(text(Cause::Quota).contains("quota"));
    }

    #[test]
    fn a_refusal_that_a_status_holds_is_known_again_and_told_once() {
        let refusal = Refusal::of_write("create", "pods", &Cause::Permission);
        let mut conditions = Conditions::from(&[], Some(1), Timestamp::UNIX_EPOCH);
        conditions.set(STALLED, State::True, refusal.reason(), refusal.message());
        let conditions = conditions.into_list();
        assert_eq!(Refusal::stored(&conditions).as_ref(), Some(&refusal));
        assert_eq!((refusal.note(&[]).is_some(), refusal.note(&conditions)), (true, None));
        let other = Refusal::of_write("create", "pods", &Cause::Quota);
        assert!(other.note(&conditions).is_some(), "another cause is news");
    }

    #[test]
    fn other_reasons_to_be_stalled_are_no_refusals() {
        let mut conditions = Conditions::from(&[], Some(1), Timestamp::UNIX_EPOCH);
        conditions.set(STALLED, State::True, "InvalidSpec", "");
        assert_eq!(Refusal::stored(&conditions.into_list()), None);
    }
}
