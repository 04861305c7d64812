//! What is watched, and whose turn it is when something has changed.

use std::sync::Arc;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Node},
};
use kube::{Api, Resource, ResourceExt, core::DeserializeGuard};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Operator, Queues};
use crate::{
    api::{CapacityPool, MedicalService, ServiceQuery, WorkflowRun},
    cluster::{
        cache::{Cache, Change, Kept, Object, Scope, key},
        gates::prune_gated_pod,
        jobs::prune_job,
        observe::{prune_namespace, prune_node, prune_nothing, prune_pod, workflow_of},
        watch::{Watch, watch},
    },
    core::{name::Key, registry::Item, scheduling::nodes},
    loops::{
        concerned::{by_service, by_slice},
        gates::by_gated_pod,
        prober::ProbeIo,
        resolver::LookupIo,
        runs::tell_others,
        turns::{all_runs, by_label, by_run, pending_runs, touched, waiting_runs},
        workflows::RUNS_WAIT,
    },
    medical::calls::CallIo,
    render::{QUERY_LABEL, RUN_LABEL, SERVICE_LABEL, WORKFLOW_LABEL, gate},
};

impl<C: CallIo, P: ProbeIo, L: LookupIo> Operator<C, P, L> {
    pub(super) fn watch_all(&self, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let Queues { services, queries, workflows, runs, .. } = self.queues.clone();
        self.watch_capacity(stop, tasks);
        self.watch(&self.caches.services, None, prune_nothing, stop, tasks, {
            let (services, waiting) = (services.clone(), waiting_runs(&self.caches, &runs));
            let (lanes, mirrors, news) = (Arc::clone(&self.lanes), self.mirrors.clone(), self.caches.changes.clone());
            let asking = by_service(&self.caches, &queries);
            move |change: &Change<MedicalService>| {
                touched(change, &services);
                asking(change);
                if let Some(service) = change.after.as_ref().or(change.before.as_ref()) {
                    let item = Item::service(key(service.as_ref()));
                    mirrors.changed(&item);
                    news.tell(&item);
                    lanes.refresh(&service.namespace().unwrap_or_default(), Some(&service.name_any()));
                }
                if let Some(service) = change.after.as_ref() {
                    waiting(&service.namespace().unwrap_or_default());
                }
            }
        });
        self.watch_queries(stop, tasks);
        self.watch(&self.caches.workflows, None, prune_nothing, stop, tasks, {
            let (workflows, pending) = (workflows.clone(), pending_runs(&self.caches, &runs));
            move |change| {
                touched(change, &workflows);
                if let Some(workflow) = change.after.as_ref().or(change.before.as_ref()) {
                    pending(&key(workflow.as_ref()));
                }
            }
        });
        self.watch(&self.caches.runs, None, prune_nothing, stop, tasks, {
            let (workflows, runs, dispatcher) = (workflows.clone(), runs.clone(), Arc::clone(&self.dispatcher));
            let lanes = Arc::clone(&self.lanes);
            let caches = self.caches.clone();
            move |change: &Change<WorkflowRun>| {
                touched(change, &runs);
                caches.note_loss(change);
                caches.forget_losses(change);
                let Some(run) = change.after.as_ref().or(change.before.as_ref()) else { return };
                let uid = |run: &Option<Arc<WorkflowRun>>| run.as_ref().and_then(|r| r.uid());
                if let Some(gone) = uid(&change.before).filter(|gone| uid(&change.after).as_ref() != Some(gone)) {
                    dispatcher.forget(&gone);
                    lanes.forget(&gone);
                }
                tell_others(&caches, &runs, change.before.as_deref(), change.after.as_deref());
                let phase = |run: Option<&Arc<WorkflowRun>>| run.and_then(|r| r.status.as_ref()?.phase);
                if change.before.is_none()
                    || change.after.is_none()
                    || phase(change.before.as_ref()) != phase(change.after.as_ref())
                {
                    let workflow = Key::new(run.namespace().unwrap_or_default(), &run.spec.workflow);
                    workflows.add_within(workflow, RUNS_WAIT);
                }
            }
        });
        self.watch(&self.caches.pods, Some(RUN_LABEL), prune_pod, stop, tasks, by_run(&self.caches, &runs));
        self.watch(&self.caches.jobs, Some(RUN_LABEL), prune_job, stop, tasks, by_run(&self.caches, &runs));
        self.watch(&self.caches.revisions, Some(WORKFLOW_LABEL), prune_nothing, stop, tasks, {
            let (workflows, pending) = (workflows.clone(), pending_runs(&self.caches, &runs));
            move |change| {
                if let Some(key) = change.after.as_ref().or(change.before.as_ref()).and_then(|r| workflow_of(r)) {
                    // the workflow may have been known to be stored before its revision was
                    pending(&key);
                    workflows.add(key, false);
                }
            }
        });
        let (gated, to_service) = (&self.caches.gated_pods, by_gated_pod(&services));
        self.watch(gated, Some(gate::LABEL), prune_gated_pod, stop, tasks, to_service);
        let label = Some(SERVICE_LABEL);
        self.watch(&self.caches.deployments, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.stateful_sets, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.autoscalers, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.core_services, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.budgets, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.slices, label, prune_nothing, stop, tasks, {
            let (to_service, waiting) = (by_label(SERVICE_LABEL, &services), waiting_runs(&self.caches, &runs));
            let (lanes, mirrors, news) = (Arc::clone(&self.lanes), self.mirrors.clone(), self.caches.changes.clone());
            let asking = by_slice(&self.caches, &queries);
            move |change: &Change<k8s_openapi::api::discovery::v1::EndpointSlice>| {
                to_service(change);
                asking(change);
                if let Some(slice) = change.after.as_ref().or(change.before.as_ref())
                    && let Some(service) = slice.labels().get(SERVICE_LABEL)
                {
                    let namespace = slice.namespace().unwrap_or_default();
                    lanes.refresh(&namespace, Some(service));
                    let key = Key::new(namespace, service);
                    mirrors.endpoints_changed(&key);
                    news.tell(&Item::service(key));
                }
                if let Some(slice) = change.after.as_ref() {
                    waiting(&slice.namespace().unwrap_or_default());
                }
            }
        });
    }

    /// Queries and what they own.
    fn watch_queries(&self, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let queries = &self.queues.queries;
        self.watch(&self.caches.queries, None, prune_nothing, stop, tasks, {
            let (queries, waiting) = (Arc::clone(queries), waiting_runs(&self.caches, &self.queues.runs));
            let (mirrors, news) = (self.mirrors.clone(), self.caches.changes.clone());
            move |change: &Change<ServiceQuery>| {
                touched(change, &queries);
                if let Some(query) = change.after.as_ref().or(change.before.as_ref()) {
                    let item = Item::query(key(query.as_ref()));
                    mirrors.changed(&item);
                    news.tell(&item);
                }
                if let Some(query) = change.after.as_ref() {
                    waiting(&query.namespace().unwrap_or_default());
                }
            }
        });
        let (label, caches) = (Some(QUERY_LABEL), &self.caches);
        self.watch(&caches.query_services, label, prune_nothing, stop, tasks, by_label(QUERY_LABEL, queries));
        self.watch(&caches.query_slices, label, prune_nothing, stop, tasks, by_label(QUERY_LABEL, queries));
    }

    /// Pools, policies, and the namespaces that shares select.
    fn watch_capacity(&self, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let runs = self.queues.runs.clone();
        self.watch(&self.caches.policies, None, prune_nothing, stop, tasks, {
            let all = all_runs(&self.caches, &runs);
            let (lanes, caches, services) =
                (Arc::clone(&self.lanes), self.caches.clone(), Arc::clone(&self.queues.services));
            move |change| {
                if let Some(policy) = change.after.as_ref().or(change.before.as_ref()) {
                    let namespace = policy.namespace().unwrap_or_default();
                    all(&namespace);
                    lanes.refresh(&namespace, None);
                    // their statuses name the policies that decide
                    for service in caches.services.in_namespace(&namespace) {
                        services.add(key(service.as_ref()), false);
                    }
                }
            }
        });
        if !self.settings.pools {
            self.caches.pools.leave_empty();
            self.caches.namespaces.leave_empty();
            self.caches.nodes.leave_empty();
            return;
        }
        self.watch_cluster(&self.caches.pools, prune_nothing, stop, tasks, {
            let (pools, admitter) = (self.queues.pools.clone(), Arc::clone(&self.admitter));
            let (caches, asking) = (self.caches.clone(), all_runs(&self.caches, &runs));
            move |change: &Change<CapacityPool>| {
                touched(change, &pools);
                let spec = |pool: Option<&Arc<CapacityPool>>| pool.map(|p| p.spec.clone());
                if spec(change.before.as_ref()) == spec(change.after.as_ref()) {
                    return;
                }
                admitter.pools_changed();
                // its shares may be for other namespaces now
                for namespace in caches.namespaces.keys() {
                    asking(&namespace.name);
                }
            }
        });
        self.watch_cluster(&self.caches.nodes, prune_node, stop, tasks, {
            let (caches, pools, admitter) =
                (self.caches.clone(), self.queues.pools.clone(), Arc::clone(&self.admitter));
            move |change: &Change<Node>| {
                let same = change.before.as_ref().zip(change.after.as_ref()).is_some_and(|(b, a)| !nodes::differ(b, a));
                let concerned: Vec<_> =
                    caches.pools.all().into_iter().filter(|(_, pool)| pool.spec.nodes.is_some()).collect();
                if same || concerned.is_empty() {
                    return;
                }
                admitter.pools_changed();
                concerned.iter().for_each(|(key, _)| pools.add(Key::clone(key), false));
            }
        });
        self.watch_cluster(&self.caches.namespaces, prune_namespace, stop, tasks, {
            let all = all_runs(&self.caches, &runs);
            move |change: &Change<Namespace>| {
                let labels = |n: Option<&Arc<Namespace>>| n.map(|n| n.labels().clone());
                if labels(change.before.as_ref()) != labels(change.after.as_ref())
                    && let Some(namespace) = change.after.as_ref()
                {
                    all(&namespace.name_any());
                }
            }
        });
    }

    fn watch_cluster<K>(
        &self,
        cache: &Arc<Cache<K>>,
        prune: fn(&mut K),
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
        changed: impl Fn(&Change<K>) + Send + Sync + 'static,
    ) where
        K: Object + DeserializeOwned + std::fmt::Debug,
    {
        cache.on_change(Some(Box::new(changed)));
        let api = Api::all(self.client.clone());
        self.begin_watch(api, None, None, cache, prune, stop, tasks);
    }

    fn watch<K, S: Kept<K>>(
        &self,
        cache: &Arc<Cache<K, S>>,
        labels: Option<&'static str>,
        prune: fn(&mut K),
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
        changed: impl Fn(&Change<K>) + Send + Sync + 'static,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + std::fmt::Debug,
    {
        cache.on_change(Some(Box::new(changed)));
        let scopes: Vec<Scope> = if self.settings.namespaces.is_empty() {
            vec![None]
        } else {
            self.settings.namespaces.iter().cloned().map(Some).collect()
        };
        for scope in scopes {
            let api = match &scope {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            self.begin_watch(api, scope, labels, cache, prune, stop, tasks);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of them make up one watch")]
    fn begin_watch<K, S: Kept<K>>(
        &self,
        api: Api<DeserializeGuard<K>>,
        scope: Scope,
        labels: Option<&'static str>,
        cache: &Arc<Cache<K, S>>,
        prune: fn(&mut K),
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) where
        K: Object + DeserializeOwned + std::fmt::Debug,
    {
        cache.expect(&scope);
        let settings = Watch {
            client: self.client.clone(),
            api,
            scope,
            labels,
            cache: Arc::clone(cache),
            prune,
            metrics: self.metrics.clone(),
        };
        tasks.spawn(watch(settings, stop.clone()));
    }
}
