//! What the registry tells of the answer to a query.

use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        ServiceQuery,
        service_query::{QueryExclusion, QueryMatch},
        status::{EMPTY, PANIC},
    },
    core::{condition, discovery::query::answer::Answer, name::Key},
};

/// The answer to a query. Nothing in it is about a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// Namespace of the query, and of all services of the answer.
    pub namespace: String,
    /// Name of the query; absent where there is no object of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The answer's name in cluster DNS, once the query's status tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Whether the answer is to the query as it is now: false for the moment between a change of the query and the next answer.
    pub current: bool,
    /// None of its endpoints is ready: they are those of the last good answer.
    pub panic: bool,
    /// Why there is no endpoint in it; absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<String>,
    /// Its endpoints, best first.
    pub matches: Vec<QueryMatch>,
    /// Services of the namespace that are not in it, those first that came nearest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<QueryExclusion>,
}

impl Reply {
    /// The answer that a query's status holds.
    #[must_use]
    pub fn of(query: &ServiceQuery) -> Self {
        let namespace = query.namespace().unwrap_or_default();
        let Some(status) = &query.status else {
            return Self { namespace, name: Some(query.name_any()), ..Self::default() };
        };
        let holds = |type_| condition::find(&status.conditions, type_).filter(|c| c.status == "True");
        Self {
            namespace,
            name: Some(query.name_any()),
            dns_name: status.dns_name.clone(),
            current: status.observed_generation == query.metadata.generation,
            panic: holds(PANIC).is_some(),
            empty: holds(EMPTY).map(|c| c.reason.clone()),
            matches: status.matches.clone(),
            excluded: status.excluded.clone(),
        }
    }

    /// An answer that no object asks for.
    #[must_use]
    pub fn to_nobody(namespace: &str, answer: &Answer<'_>, tiered: bool) -> Self {
        Self {
            namespace: namespace.to_owned(),
            current: true,
            panic: answer.panic,
            empty: answer.why_empty().map(str::to_owned),
            matches: answer.told(tiered),
            excluded: answer.left_out(),
            ..Self::default()
        }
    }

    /// Without the services that are not in it: these are for people.
    #[must_use]
    pub fn short(mut self) -> Self {
        self.excluded.clear();
        self
    }

    /// Whose answer it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, self.name.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_what_the_status_says_and_old_once_the_query_has_changed() {
        let query = |observed: i64| -> ServiceQuery {
            serde_json::from_value(json!({
                "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery",
                "metadata": {"namespace": "radiology", "name": "reader", "generation": 2},
                "spec": {"capability": "ct", "port": 104},
                "status": {"observedGeneration": observed, "dnsName": "reader.radiology.svc.cluster.local", "matched": 0,
                    "conditions": [{"type": "Empty", "status": "True", "reason": "NoMatch", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                    "excluded": [{"service": "ehr", "reason": "Capability"}]}
            }))
            .unwrap()
        };
        assert_eq!(
            serde_json::to_value(Reply::of(&query(2))).unwrap(),
            json!({"namespace": "radiology", "name": "reader", "dnsName": "reader.radiology.svc.cluster.local", "current": true,
                "panic": false, "empty": "NoMatch", "matches": [], "excluded": [{"service": "ehr", "reason": "Capability"}]})
        );
        assert!(!Reply::of(&query(1)).current);
        assert!(Reply::of(&query(2)).short().excluded.is_empty());
        let mut new = query(2);
        new.status = None;
        assert!(!Reply::of(&new).current, "nobody has answered it yet");
    }
}
