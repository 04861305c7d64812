//! What holds for a run where several policies speak of it: of each field the most restrictive value.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::{
    CapacityPoolSpec, ServicePolicySpec,
    service_policy::{AboveMaxUrgency, Preemption, Queueing, Scheduling, WorkLimits},
    vocabulary::Urgency,
};
use crate::core::scheduling::bounds::{Bound, BoundKey, Work};

/// What holds for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The pool that its steps ask; they ask nobody when `None`.
    pub pool: Option<String>,
    /// Kueue's queue to which its containers are handed over.
    pub kueue_queue: Option<String>,
    /// Two policies that name different pools or queues.
    pub conflict: Option<(String, String)>,
    /// The highest urgency that it may have.
    pub max_urgency: Option<Urgency>,
    /// A run that asks for more is refused, not lowered.
    pub refuses: bool,
    /// After so long a step that waits rises one level; half of the run's deadline when `None`.
    pub aging: Option<SignedDuration>,
    /// Its steps displace nobody.
    pub never_preempts: bool,
    /// While one of its steps waits, nothing of its share that comes after it is admitted.
    pub strict: bool,
    /// How much may be at work, by each policy that limits it.
    pub limits: BTreeMap<String, WorkLimits>,
    /// The policy that decided each of these, by field.
    pub decided_by: BTreeMap<String, String>,
}

/// Who decides when a container starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authority<'a> {
    Pool(&'a str),
    Kueue(&'a str),
}

impl Rules {
    /// What these policies come to together, each with its name.
    #[must_use]
    pub fn of<'a>(policies: impl IntoIterator<Item = (&'a str, &'a Scheduling)>) -> Self {
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by_key(|(name, _)| *name);
        let mut rules = Self::default();
        let mut authority: Option<(&str, Authority<'_>)> = None;
        for (name, scheduling) in policies {
            let pool = scheduling.pool.as_deref().map(Authority::Pool);
            let queue = scheduling.kueue_queue.as_deref().map(Authority::Kueue);
            for wanted in pool.into_iter().chain(queue) {
                match (authority, wanted) {
                    (Some((first, before)), _) => {
                        if before != wanted && rules.conflict.is_none() {
                            rules.conflict = Some((first.to_owned(), name.to_owned()));
                        }
                        continue;
                    }
                    (None, Authority::Pool(pool)) => rules.decide("pool", name, |r| r.pool = Some(pool.to_owned())),
                    (None, Authority::Kueue(queue)) => {
                        rules.decide("kueueQueue", name, |r| r.kueue_queue = Some(queue.to_owned()));
                    }
                }
                authority = Some((name, wanted));
            }
            if let Some(max) = scheduling.max_urgency.filter(|max| rules.max_urgency.is_none_or(|m| *max < m)) {
                rules.decide("maxUrgency", name, |r| r.max_urgency = Some(max));
            }
            if scheduling.above_max_urgency == Some(AboveMaxUrgency::Refuse) && !rules.refuses {
                rules.decide("aboveMaxUrgency", name, |r| r.refuses = true);
            }
            let aging = scheduling.aging.and_then(|a| SignedDuration::try_from(a.duration()).ok());
            if let Some(aging) = aging.filter(|aging| rules.aging.is_none_or(|a| *aging > a)) {
                rules.decide("aging", name, |r| r.aging = Some(aging));
            }
            if scheduling.preemption == Some(Preemption::Never) && !rules.never_preempts {
                rules.decide("preemption", name, |r| r.never_preempts = true);
            }
            if scheduling.queueing == Some(Queueing::Strict) && !rules.strict {
                rules.decide("queueing", name, |r| r.strict = true);
            }
            rules.limits.extend(scheduling.limits.map(|limits| (name.to_owned(), limits)));
        }
        for work in [Work::Runs, Work::Pods, Work::Calls] {
            let of = |limits: &WorkLimits| limit(limits, work);
            let least = rules.limits.iter().filter_map(|(name, limits)| Some((of(limits)?, name.clone()))).min();
            if let Some((_, name)) = least {
                rules.decide(field(work), &name, |_| {});
            }
        }
        rules
    }

    /// The limits that hold for what is at work of a run of this namespace.
    #[must_use]
    pub fn bounds(&self, namespace: &str, work: Work) -> Vec<Bound> {
        let key = |policy: &String| BoundKey { namespace: namespace.to_owned(), policy: policy.clone(), work };
        let all = self.limits.iter();
        all.filter_map(|(policy, limits)| Some(Bound { key: key(policy), limit: limit(limits, work)? })).collect()
    }

    /// What holds for a run of a workflow with these labels. Of a workflow that is gone they are not known: then those policies
    /// hold that have no selector, or that the run's status names as having decided before.
    #[must_use]
    pub fn for_run<'a>(
        policies: impl IntoIterator<Item = (&'a str, &'a ServicePolicySpec)>,
        labels: Option<&BTreeMap<String, String>>,
        decided_by: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let hold = |(name, policy): &(&str, &ServicePolicySpec)| match (&policy.selector, labels) {
            (None, _) => true,
            (Some(selector), Some(labels)) => selector.matches(labels),
            (Some(_), None) => decided_by.is_some_and(|d| d.values().any(|by| by == name)),
        };
        Self::of(
            policies.into_iter().filter(hold).filter_map(|(name, policy)| Some((name, policy.scheduling.as_ref()?))),
        )
    }

    fn decide(&mut self, field: &str, policy: &str, set: impl FnOnce(&mut Self)) {
        self.decided_by.insert(field.to_owned(), policy.to_owned());
        set(self);
    }

    /// The urgency that a run has which asks for this one.
    #[must_use]
    pub fn urgency(&self, asked: Urgency) -> Urgency {
        self.max_urgency.map_or(asked, |max| asked.min(max))
    }
}

const fn limit(limits: &WorkLimits, work: Work) -> Option<u32> {
    match work {
        Work::Runs => limits.runs,
        Work::Pods => limits.pods,
        Work::Calls => limits.calls,
    }
}

const fn field(work: Work) -> &'static str {
    match work {
        Work::Runs => "limits.runs",
        Work::Pods => "limits.pods",
        Work::Calls => "limits.calls",
    }
}

/// The first share of a pool that is for a namespace with these labels.
#[must_use]
pub fn share_of<'a>(pool: &'a CapacityPoolSpec, labels: &BTreeMap<String, String>) -> Option<&'a str> {
    let mine = |s: &&crate::api::capacity_pool::Share| s.namespace_selector.as_ref().is_none_or(|s| s.matches(labels));
    pool.shares.iter().find(mine).map(|s| s.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(policies: &[(&str, Value)]) -> Rules {
        let read: Vec<(&str, Scheduling)> =
            policies.iter().map(|(name, v)| (*name, serde_json::from_value(v.clone()).unwrap())).collect();
        Rules::of(read.iter().map(|(name, s)| (*name, s)))
    }

    #[test]
    fn of_each_field_the_most_restrictive_value_holds_whatever_the_order() {
        let a = ("a", json!({"pool": "p", "maxUrgency": "asap", "aging": "1h"}));
        let b =
            ("b", json!({"maxUrgency": "urgent", "aboveMaxUrgency": "Refuse", "aging": "2h", "preemption": "Never"}));
        let c = ("c", json!({"pool": "p", "maxUrgency": "stat", "preemption": "LowerUrgency", "queueing": "Strict"}));
        let found = rules(&[a.clone(), b.clone(), c.clone()]);
        assert_eq!(found, rules(&[c, b, a]));
        assert_eq!((found.pool.as_deref(), found.max_urgency), (Some("p"), Some(Urgency::Urgent)));
        assert!(found.refuses && found.never_preempts && found.strict && found.conflict.is_none());
        assert_eq!(found.aging, Some(SignedDuration::from_hours(2)));
        let decided: Vec<(&str, &str)> = found.decided_by.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected = [
            ("aboveMaxUrgency", "b"),
            ("aging", "b"),
            ("maxUrgency", "b"),
            ("pool", "a"),
            ("preemption", "b"),
            ("queueing", "c"),
        ];
        assert_eq!(decided, expected);
        assert_eq!((found.urgency(Urgency::Stat), found.urgency(Urgency::Batch)), (Urgency::Urgent, Urgency::Batch));
    }

    #[test]
    fn every_limit_holds_and_the_lowest_is_named() {
        let found = rules(&[
            ("all", json!({"limits": {"runs": 100, "pods": 5}})),
            ("old", json!({"limits": {"runs": 2}, "maxUrgency": "urgent"})),
        ]);
        let runs: Vec<(String, u32)> =
            found.bounds("n", Work::Runs).into_iter().map(|b| (b.key.policy, b.limit)).collect();
        assert_eq!(runs, [("all".to_owned(), 100), ("old".to_owned(), 2)]);
        assert_eq!((found.bounds("n", Work::Pods).len(), found.bounds("n", Work::Calls)), (1, vec![]));
        let decided: Vec<(&str, &str)> = found.decided_by.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(decided, [("limits.pods", "all"), ("limits.runs", "old"), ("maxUrgency", "old")]);
    }

    #[test]
    fn policies_that_name_different_pools_are_a_conflict() {
        let found = rules(&[("b", json!({"pool": "q"})), ("a", json!({"pool": "p"})), ("c", json!({"pool": "p"}))]);
        assert_eq!(found.conflict, Some(("a".to_owned(), "b".to_owned())));
        let mixed = rules(&[("b", json!({"kueueQueue": "p"})), ("a", json!({"pool": "p"}))]);
        assert_eq!(mixed.conflict, Some(("a".to_owned(), "b".to_owned())), "a queue is no pool");
        let queued = rules(&[("b", json!({"kueueQueue": "q"})), ("a", json!({"kueueQueue": "q"}))]);
        assert_eq!((queued.conflict, queued.kueue_queue.as_deref(), queued.pool), (None, Some("q"), None));
        assert_eq!(rules(&[]), Rules::default());
    }

    #[test]
    fn a_namespace_has_the_first_share_that_selects_it() {
        let pool = json!({"resources": {"cpu": "1"}, "shares": [
            {"name": "ct", "namespaceSelector": {"matchLabels": {"team": "ct"}}},
            {"name": "lab", "namespaceSelector": {"matchExpressions": [
                {"key": "team", "operator": "In", "values": ["lab", "path"]}, {"key": "old", "operator": "DoesNotExist"}]}},
            {"name": "rest", "namespaceSelector": {"matchExpressions": [
                {"key": "team", "operator": "Exists"}, {"key": "team", "operator": "NotIn", "values": ["none"]}]}},
        ]});
        let pool: CapacityPoolSpec = serde_json::from_value(pool).unwrap();
        let share = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            share_of(&pool, &labels).map(str::to_owned)
        };
        assert_eq!(share(&[("team", "ct")]).as_deref(), Some("ct"));
        assert_eq!(share(&[("team", "path")]).as_deref(), Some("lab"));
        assert_eq!(share(&[("team", "path"), ("old", "yes")]).as_deref(), Some("rest"));
        assert_eq!(share(&[("team", "none")]), None);
        assert_eq!(share(&[]), None);
    }
}
