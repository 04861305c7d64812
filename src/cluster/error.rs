//! What can go wrong when talking to the API server, and what follows.

use kube::core::Status;

use crate::core::refusal::{Cause, Refusal};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process is not the leader, or its lease may end before the call does.
    #[error("this process does not lead (any more): nothing was written")]
    NotLeader,
    /// The API server did not answer in time; the call may have taken effect.
    #[error("{verb} {kind}: no answer within {seconds} s")]
    Timeout {
        /// The verb.
        verb: &'static str,
        /// The kind of object.
        kind: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The API server said no, or could not be reached.
    #[error("{verb} {kind}: {source}")]
    Api {
        /// The verb.
        verb: &'static str,
        /// The kind of object.
        kind: String,
        /// The resource, with its group: `deployments.apps`.
        resource: String,
        /// What came.
        source: Box<kube::Error>,
    },
    /// An object of the name that is needed belongs to somebody else.
    #[error("{kind} {name} exists and is not ours: delete or rename it")]
    NameTaken {
        /// The kind of object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Somebody changes back what this process applies.
    #[error("{kind} {name} is changed back each time it is applied: find out who else writes it")]
    Contended {
        /// The kind of object.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again, later and later.
    Retry,
    /// The object has changed meanwhile: read it again and decide anew.
    Conflict,
    /// The object is gone: nothing to do.
    Gone,
    /// Only a change by somebody else helps; tried again rarely.
    User,
    /// Stop: this process may not write.
    NotLeader,
}

impl Error {
    /// What follows.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotLeader => Class::NotLeader,
            Self::Timeout { .. } | Self::Contended { .. } => Class::Retry,
            Self::NameTaken { .. } => Class::User,
            Self::Api { .. } => match self.status() {
                Some(s) if s.is_conflict() => Class::Conflict,
                Some(s) if s.is_not_found() => Class::Gone,
                // nothing can be made in a namespace that is being deleted, and what is in it goes too
                Some(s) if has_cause(s, "NamespaceTerminating") => Class::Gone,
                Some(s) if s.is_forbidden() || s.is_invalid() => Class::User,
                _ => Class::Retry,
            },
        }
    }

    /// A word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Timeout { .. } => "timeout",
            Self::NameTaken { .. } => "name_taken",
            Self::Contended { .. } => "contended",
            Self::Api { .. } => match self.status() {
                Some(s) if s.is_conflict() => "conflict",
                Some(s) if s.is_already_exists() => "already_exists",
                Some(s) if s.is_not_found() => "not_found",
                Some(s) if s.is_forbidden() => "forbidden",
                Some(s) if s.is_invalid() => "invalid",
                Some(_) => "api",
                None => "transport",
            },
        }
    }

    /// What the API server said.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the object that the call was for says, when only a change by somebody else helps.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::NameTaken { kind, name } => Some(Refusal::name_taken(kind, name)),
            Self::Api { verb, resource, .. } if self.class() == Class::User => {
                Some(Refusal::of_write(verb, resource, &cause(self.status()?)))
            }
            _ => None,
        }
    }

    /// Whether the call may have taken effect all the same: no answer came, or one that does not tell.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Api { source, .. } => match self.status() {
                Some(status) => status.code >= 500,
                None => !was_never_sent(source.as_ref()),
            },
            Self::NotLeader | Self::NameTaken { .. } | Self::Contended { .. } => false,
        }
    }

    /// Whether an object of this name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}

/// Whether nobody took the connection.
fn was_never_sent(error: &kube::Error) -> bool {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    chain.into_iter().any(|e| e.downcast_ref::<std::io::Error>().is_some_and(refused))
}

fn has_cause(status: &Status, cause: &str) -> bool {
    status.details.iter().flat_map(|d| &d.causes).any(|c| c.reason == cause)
}

/// Nothing in the answer but its text tells why it is forbidden (the words of Kubernetes' RBAC authorizer and of its
/// admission plugins); the text itself may hold values and goes no further.
fn cause(status: &Status) -> Cause {
    let says = |words: &str| status.message.contains(words);
    if status.is_invalid() {
        let fields = status.details.iter().flat_map(|d| &d.causes).map(|c| c.field.clone());
        Cause::Invalid(fields.filter(|f| !f.is_empty() && f != "<nil>").collect())
    } else if says(" cannot ") && says(" resource ") {
        Cause::Permission
    } else if says("exceeded quota") {
        Cause::Quota
    } else if says("violates PodSecurity") {
        Cause::PodSecurity
    } else {
        Cause::Policy
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: serde_json::Value) -> String {
        let source = Box::new(kube::Error::Api(serde_json::from_value(status).unwrap()));
        let error = Error::Api { verb: "create", kind: "Pod".to_owned(), resource: "pods".to_owned(), source };
        error.refusal().unwrap().message().to_owned()
    }

    #[test]
    fn a_refusal_tells_permission_quota_and_fields_apart_and_repeats_no_value() {
        let forbidden =
            |message: &str| json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": message});
        let rbac = "pods is forbidden: User \"system:serviceaccount:m:m\" cannot create resource \"pods\" in API group \"\" in the namespace \"n\"";
        assert!(refused(forbidden(rbac)).ends_with("grant the operator's ServiceAccount this verb in this namespace"));
        let quota = "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
        assert!(refused(forbidden(quota)).contains("the quota of the namespace is used up"));
        let invalid = json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "env: Invalid value: \"secret\"",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: \"secret\"", "field": "spec.containers[0].env[0].name"}]}});
        let text = refused(invalid);
        assert!(text.contains("spec.containers[0].env[0].name") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn only_what_no_answer_rules_out_may_have_taken_effect() {
        let api = |source: kube::Error| Error::Api {
            verb: "create",
            kind: "Pod".to_owned(),
            resource: "pods".to_owned(),
            source: Box::new(source),
        };
        let answer = |code: u16| {
            let status = json!({"status": "Failure", "code": code, "reason": "r", "message": "m"});
            api(kube::Error::Api(serde_json::from_value(status).unwrap()))
        };
        let broken = |kind: std::io::ErrorKind| api(kube::Error::Service(Box::new(std::io::Error::from(kind))));
        assert!(answer(500).is_in_doubt() && answer(504).is_in_doubt());
        assert!(!answer(403).is_in_doubt() && !answer(429).is_in_doubt());
        assert!(broken(std::io::ErrorKind::ConnectionReset).is_in_doubt());
        assert!(!broken(std::io::ErrorKind::ConnectionRefused).is_in_doubt());
        assert!(!Error::NotLeader.is_in_doubt());
    }

    #[test]
    fn what_passes_by_itself_is_no_refusal() {
        let status = json!({"status": "Failure", "code": 500, "reason": "InternalError", "message": "m"});
        let source = Box::new(kube::Error::Api(serde_json::from_value(status).unwrap()));
        let error = Error::Api { verb: "create", kind: "Pod".to_owned(), resource: "pods".to_owned(), source };
        assert_eq!(error.refusal(), None);
        assert_eq!(Error::NotLeader.refusal(), None);
    }
}
