//! Pools and policies: what holds for a run and for a service, and what there is.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{MedicalService, WorkflowRun, call_limits::CallLimits},
    cluster::observe::Caches,
    core::{
        dispatch::Limits,
        name::Key,
        scheduling::{PoolDefinition, Rules, definition, share_of},
    },
};

impl Caches {
    /// All pools, as they are now.
    #[must_use]
    pub fn pool_definitions(&self, now: Timestamp) -> Vec<PoolDefinition> {
        let nodes = self.nodes.all();
        let nodes = || nodes.values().map(AsRef::as_ref);
        self.pools.all().iter().map(|(key, pool)| definition(&key.name, &pool.spec, nodes(), now)).collect()
    }

    /// Whether any policy limits what is at work.
    #[must_use]
    pub fn limits_work(&self) -> bool {
        self.policies.all().values().any(|p| p.spec.scheduling.as_ref().is_some_and(|s| s.limits.is_some()))
    }

    /// What the policies of a run's namespace come to for it, and the share of the pool that is for the namespace; empty when there
    /// is none. Of a workflow that is gone the labels are not known: then those policies hold that have decided before.
    #[must_use]
    pub fn rules_of(&self, run: &WorkflowRun) -> (Rules, String) {
        let namespace = run.namespace().unwrap_or_default();
        let policies = self.policies.in_namespace(&namespace);
        if policies.is_empty() {
            return Default::default();
        }
        let workflow = self.workflows.get(&Key::new(&namespace, &run.spec.workflow));
        let named: Vec<(String, _)> = policies.into_iter().map(|p| (p.name_any(), p)).collect();
        let rules = Rules::for_run(
            named.iter().map(|(name, policy)| (name.as_str(), &policy.spec)),
            workflow.as_ref().map(|w| w.labels()),
            run.status.as_ref().map(|s| &s.decided_by),
        );
        let share = rules.pool.as_ref().and_then(|pool| self.share_of(pool, &namespace));
        (rules, share.unwrap_or_default())
    }

    /// What a service and the policies of its namespace say of calls to it.
    #[must_use]
    pub fn limits_of(&self, service: &MedicalService) -> Limits {
        let policies = self.policies.in_namespace(&service.namespace().unwrap_or_default());
        let labels = service.labels();
        let hold = policies.iter().filter(|p| p.spec.selector.as_ref().is_none_or(|s| s.matches(labels)));
        let named: Vec<(String, &CallLimits)> =
            hold.filter_map(|p| Some((p.name_any(), p.spec.calls.as_ref()?))).collect();
        Limits::of(service.spec.capacity.as_ref(), named.iter().map(|(name, calls)| (name.as_str(), *calls)))
    }

    fn share_of(&self, pool: &str, namespace: &str) -> Option<String> {
        let pool = self.pools.get(&Key::new("", pool))?;
        let namespace = self.namespaces.get(&Key::new("", namespace))?;
        share_of(&pool.spec, namespace.labels()).map(str::to_owned)
    }
}
