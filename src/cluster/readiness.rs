//! When is all known? Nothing is decided before every cache has been filled once.

use crate::cluster::observe::Caches;

impl Caches {
    /// Waits for the first complete list of every kind.
    pub async fn wait_ready(&self) {
        futures::join!(
            self.services.wait_ready(),
            self.queries.wait_ready(),
            self.query_services.wait_ready(),
            self.query_slices.wait_ready(),
            self.workflows.wait_ready(),
            self.runs.wait_ready(),
            self.pods.wait_ready(),
            self.gated_pods.wait_ready(),
            self.jobs.wait_ready(),
            self.revisions.wait_ready(),
            self.deployments.wait_ready(),
            self.stateful_sets.wait_ready(),
            self.autoscalers.wait_ready(),
            self.core_services.wait_ready(),
            self.slices.wait_ready(),
            self.budgets.wait_ready(),
            self.pools.wait_ready(),
            self.policies.wait_ready(),
            self.namespaces.wait_ready(),
        );
    }

    /// Whether every kind's first list has been read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.services.is_ready()
            && self.queries.is_ready()
            && self.query_services.is_ready()
            && self.query_slices.is_ready()
            && self.workflows.is_ready()
            && self.runs.is_ready()
            && self.pods.is_ready()
            && self.gated_pods.is_ready()
            && self.jobs.is_ready()
            && self.revisions.is_ready()
            && self.deployments.is_ready()
            && self.stateful_sets.is_ready()
            && self.autoscalers.is_ready()
            && self.core_services.is_ready()
            && self.slices.is_ready()
            && self.budgets.is_ready()
            && self.pools.is_ready()
            && self.policies.is_ready()
            && self.namespaces.is_ready()
    }

    /// Nothing but services is watched: all other caches stay empty, and are ready.
    pub fn leave_empty_but_services(&self) {
        self.queries.leave_empty();
        self.query_services.leave_empty();
        self.query_slices.leave_empty();
        self.workflows.leave_empty();
        self.runs.leave_empty();
        self.pods.leave_empty();
        self.gated_pods.leave_empty();
        self.jobs.leave_empty();
        self.revisions.leave_empty();
        self.deployments.leave_empty();
        self.stateful_sets.leave_empty();
        self.autoscalers.leave_empty();
        self.core_services.leave_empty();
        self.slices.leave_empty();
        self.budgets.leave_empty();
        self.pools.leave_empty();
        self.policies.leave_empty();
        self.namespaces.leave_empty();
    }
}
