//! From caches to views: plain values for `core` to decide on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Namespace, Node, NodeCondition, NodeSpec, NodeStatus, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use crate::{
    api::{
        CapacityPool, MedicalService, ServicePolicy, ServiceQuery, Workflow, WorkflowRun,
        medical_service::EndpointReason, tls::Tls,
    },
    cluster::{
        cache::{Cache, Object},
        definitions::Parsed,
        family::{group, group_of_run},
        feed::Feed,
        kept_run::KeptRun,
        lost::Lost,
        models::Models,
    },
    core::{
        coordination::{
            definition::{Action, Callee},
            view::{DefinitionView, InterfaceView, ServiceShare, ServiceView, TlsView},
            workflow::{RevisionView, RunView},
        },
        discovery::{guard::AddressGuard, target::ClientName},
        name::Key,
        registry::{self, Item, Record, Reply, Told},
    },
    render::{self, QUERY_LABEL, RUN_LABEL, SERVICE_LABEL, WORKFLOW_LABEL, endpoint_slice::service_of},
};

/// All caches.
#[derive(Clone, Debug)]
pub struct Caches {
    /// `MedicalService`s.
    pub services: Arc<Cache<MedicalService>>,
    /// `ServiceQuery`s.
    pub queries: Arc<Cache<ServiceQuery>>,
    /// Kubernetes Services of queries.
    pub query_services: Arc<Cache<Service>>,
    /// Endpoints of queries' answers.
    pub query_slices: Arc<Cache<EndpointSlice>>,
    /// Workflows.
    pub workflows: Arc<Cache<Workflow>>,
    /// Runs; of finished ones only what counts.
    pub runs: Arc<Cache<WorkflowRun, KeptRun>>,
    /// Pods of runs.
    pub pods: Arc<Cache<Pod>>,
    /// Pods of services with a readiness gate.
    pub gated_pods: Arc<Cache<Pod>>,
    /// Jobs of runs.
    pub jobs: Arc<Cache<Job>>,
    /// Stored definitions.
    pub revisions: Arc<Cache<ControllerRevision>>,
    /// Deployments of services.
    pub deployments: Arc<Cache<Deployment>>,
    /// `StatefulSet`s of services.
    pub stateful_sets: Arc<Cache<StatefulSet>>,
    /// `HorizontalPodAutoscaler`s of services.
    pub autoscalers: Arc<Cache<HorizontalPodAutoscaler>>,
    /// Kubernetes Services of services, and of their instances.
    pub core_services: Arc<Cache<Service>>,
    /// Endpoints of services.
    pub slices: Arc<Cache<EndpointSlice>>,
    /// Disruption budgets of services.
    pub budgets: Arc<Cache<PodDisruptionBudget>>,
    /// Pools; of the cluster.
    pub pools: Arc<Cache<CapacityPool>>,
    /// Policies.
    pub policies: Arc<Cache<ServicePolicy>>,
    /// Namespaces with their labels; of the cluster.
    pub namespaces: Arc<Cache<Namespace>>,
    /// Nodes: what they bring along; of the cluster. Nobody waits for them: who may not see them has pools without.
    pub nodes: Arc<Cache<Node>>,
    /// What runs had and have no more.
    pub lost: Arc<Lost>,
    /// Tells which services, and which answers to queries, have changed.
    pub changes: Feed,
    pub(super) definitions: Arc<Mutex<HashMap<Key, Parsed>>>,
    pub(super) models: Arc<Models>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            services: Arc::default(),
            queries: Arc::default(),
            query_services: Arc::default(),
            query_slices: Arc::new(Cache::grouped(|s: &Arc<EndpointSlice>| s.labels().get(QUERY_LABEL).cloned())),
            workflows: Arc::default(),
            runs: Arc::new(Cache::grouped(group_of_run)),
            pods: Arc::new(Cache::grouped(|p: &Arc<Pod>| p.labels().get(RUN_LABEL).cloned())),
            gated_pods: Arc::new(Cache::grouped(|p: &Arc<Pod>| p.labels().get(SERVICE_LABEL).cloned())),
            jobs: Arc::new(Cache::grouped(|j: &Arc<Job>| j.labels().get(RUN_LABEL).cloned())),
            revisions: Arc::new(Cache::grouped(|r: &Arc<ControllerRevision>| r.labels().get(WORKFLOW_LABEL).cloned())),
            deployments: Arc::default(),
            stateful_sets: Arc::default(),
            autoscalers: Arc::default(),
            core_services: Arc::default(),
            slices: Arc::new(Cache::grouped(|s: &Arc<EndpointSlice>| s.labels().get(SERVICE_LABEL).cloned())),
            budgets: Arc::default(),
            pools: Arc::default(),
            policies: Arc::default(),
            namespaces: Arc::default(),
            nodes: Arc::default(),
            lost: Arc::default(),
            changes: Feed::default(),
            definitions: Arc::default(),
            models: Arc::default(),
        }
    }
}

impl Caches {
    /// Tells nobody of changes any more.
    pub fn tell_nobody(&self) {
        self.services.on_change(None);
        self.queries.on_change(None);
        self.query_services.on_change(None);
        self.query_slices.on_change(None);
        self.workflows.on_change(None);
        self.runs.on_change(None);
        self.pods.on_change(None);
        self.gated_pods.on_change(None);
        self.jobs.on_change(None);
        self.revisions.on_change(None);
        self.deployments.on_change(None);
        self.stateful_sets.on_change(None);
        self.autoscalers.on_change(None);
        self.core_services.on_change(None);
        self.slices.on_change(None);
        self.budgets.on_change(None);
        self.pools.on_change(None);
        self.policies.on_change(None);
        self.namespaces.on_change(None);
        self.nodes.on_change(None);
    }

    /// The pods that a run owns, by name, those of former attempts too: whoever was to stop one may have died before. Only those
    /// whose owner is this very run count.
    #[must_use]
    pub fn pods_of(&self, run: &WorkflowRun) -> BTreeMap<String, Arc<Pod>> {
        of_run(&self.pods, run)
    }

    /// The services that a definition's calls go to, those in the answers of queries included.
    #[must_use]
    pub fn services_of(
        &self,
        namespace: &str,
        definition: &DefinitionView,
        answers: &BTreeMap<String, Vec<ServiceShare>>,
        guard: &AddressGuard,
    ) -> BTreeMap<String, ServiceView> {
        let DefinitionView::Found { definition, .. } = definition else { return BTreeMap::new() };
        let of_answers = answers.values().flatten().map(|share| share.service.as_str());
        let names: BTreeSet<&str> = definition
            .every_step()
            .filter_map(|s| match &s.action {
                Action::Call(call) => match &call.callee {
                    Callee::Service { name, .. } => Some(name.as_str()),
                    Callee::Query(_) => None,
                },
                _ => None,
            })
            .chain(of_answers)
            .collect();
        names.into_iter().filter_map(|name| Some((name.to_owned(), self.service(namespace, name, guard)?))).collect()
    }

    /// A service as callers see it; nothing is known here of how its endpoints do.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str, guard: &AddressGuard) -> Option<ServiceView> {
        let service = self.services.get(&Key::new(namespace, name))?;
        let slices = self.slices_of(namespace, name);
        let limits = self.limits_of(&service);
        let interfaces = service
            .spec
            .interfaces
            .iter()
            .filter(|i| i.protocol.takes_calls())
            .map(|i| {
                let ready = ready_endpoints(&slices, &i.name);
                let refused =
                    ready.iter().find_map(|e| guard.refuse(e.ip())).or_else(|| refused_host(&service, &i.name, guard));
                (i, ready.into_iter().filter(|e| guard.refusal(e.ip()).is_none()).collect(), refused)
            })
            .map(|(i, endpoints, refused)| InterfaceView {
                name: i.name.clone(),
                port: i.port,
                protocol: i.protocol,
                base_path: i
                    .http
                    .as_ref()
                    .and_then(|h| h.base_path.clone())
                    .or_else(|| i.fhir.as_ref().and_then(|f| f.base_path.clone()))
                    .unwrap_or_default(),
                dicom: i.dicom.clone(),
                tls: i.tls.as_ref().map(|tls| tls_view(&service, tls, format!("{name}.{namespace}.svc"))),
                endpoints,
                limits: limits.clone(),
                loads: BTreeMap::new(),
                refused,
            })
            .collect();
        // its status knows the cluster's domain; it is written before any endpoint of it is ready
        let known = service.status.as_ref().and_then(|s| s.dns_name.clone());
        Some(ServiceView { dns_name: known.unwrap_or_else(|| format!("{name}.{namespace}.svc")), interfaces })
    }

    /// A service as the registry tells of it.
    #[must_use]
    pub fn record(&self, key: &Key) -> Option<Record> {
        let service = self.services.get(key)?;
        let beyond = registry::needs_slices(&service);
        let slices = if beyond { self.slices_of(&key.namespace, &key.name) } else { Vec::new() };
        Some(Record::of(&service, &slices))
    }

    /// What the registry tells of a service or a query.
    #[must_use]
    pub fn told(&self, item: &Item) -> Option<Told> {
        match item.kind {
            registry::Kind::Service => self.record(&item.key).map(Told::Service),
            registry::Kind::Query => self.queries.get(&item.key).map(|query| Told::Answer(Reply::of(&query))),
        }
    }

    /// All that the registry tells of.
    #[must_use]
    pub fn items(&self, kind: registry::Kind) -> Vec<Item> {
        let keys = match kind {
            registry::Kind::Service => self.services.keys(),
            registry::Kind::Query => self.queries.keys(),
        };
        keys.into_iter().map(|key| Item { kind, key: Key::clone(&key) }).collect()
    }

    /// The slices of a service, whoever made them; those of the headless Service of its instances hold the same pods once more.
    #[must_use]
    pub fn slices_of(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let all = self.slices.in_group(namespace, service).into_iter().map(|(_, slice)| slice);
        all.filter(|slice| service_of(slice).is_none_or(|of| of == service)).collect()
    }

    /// The stored revisions of a workflow.
    #[must_use]
    pub fn revisions_of(&self, workflow: &Workflow) -> Vec<RevisionView> {
        let owner = owner_of_workflow(workflow);
        self.revisions
            .in_group(&workflow.namespace().unwrap_or_default(), &workflow.name_any())
            .iter()
            .filter(|(_, r)| owner.controls(&r.metadata))
            .map(|(_, r)| RevisionView { name: r.name_any(), generation: r.revision })
            .collect()
    }

    /// The runs of a workflow, in short.
    #[must_use]
    pub fn runs_of(&self, namespace: &str, workflow: &str) -> Vec<RunView> {
        [false, true]
            .into_iter()
            .flat_map(|ended| self.runs.in_group(namespace, &group(workflow, ended)))
            .map(|(key, run)| run.view(&key))
            .collect()
    }
}

/// The objects of this cache that bear a run's label and that it owns, by name.
pub(super) fn of_run<K: Object>(cache: &Cache<K>, run: &WorkflowRun) -> BTreeMap<String, Arc<K>> {
    let owner = owner_of(run);
    let all = cache.in_group(&owner.namespace, &owner.name).into_iter();
    all.filter(|(_, o)| owner.controls(o.meta())).map(|(key, o)| (key.name.clone(), o)).collect()
}

/// The owner of a run's pods.
#[must_use]
pub fn owner_of(run: &WorkflowRun) -> render::Owner {
    owner("WorkflowRun", run)
}

/// The owner of a workflow's revisions and of the runs that it starts by itself.
#[must_use]
pub fn owner_of_workflow(workflow: &Workflow) -> render::Owner {
    owner("Workflow", workflow)
}

/// The owner of a service's objects.
#[must_use]
pub fn owner_of_service(service: &MedicalService) -> render::Owner {
    owner("MedicalService", service)
}

/// The owner of the objects of a query's answer.
#[must_use]
pub fn owner_of_query(query: &ServiceQuery) -> render::Owner {
    owner("ServiceQuery", query)
}

fn owner<K: ResourceExt>(kind: &'static str, object: &K) -> render::Owner {
    render::Owner {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// Keeps of a pod only its metadata and status.
pub fn prune_pod(pod: &mut Pod) {
    pod.spec = None;
}

/// Keeps of a namespace only its metadata.
pub fn prune_namespace(namespace: &mut Namespace) {
    (namespace.spec, namespace.status) = (None, None);
}

/// Keeps of a node what it brings along, and whether pods can come to it.
pub fn prune_node(node: &mut Node) {
    node.metadata.annotations = None;
    let unschedulable = node.spec.take().and_then(|s| s.unschedulable);
    node.spec = Some(NodeSpec { unschedulable, ..NodeSpec::default() });
    if let Some(status) = node.status.take() {
        let ready = |c: &NodeCondition| c.type_ == "Ready";
        let conditions = status.conditions.map(|all| all.into_iter().filter(ready).collect());
        node.status = Some(NodeStatus { allocatable: status.allocatable, conditions, ..NodeStatus::default() });
    }
}

/// Keeps all.
pub fn prune_nothing<K>(_: &mut K) {}

/// The workflow that a revision belongs to.
#[must_use]
pub fn workflow_of(revision: &ControllerRevision) -> Option<Key> {
    Some(Key::new(revision.namespace()?, revision.labels().get(WORKFLOW_LABEL)?))
}

/// TLS of an interface. Hosts outside the cluster have certificates for their own names, pods for the Service's.
fn tls_view(service: &MedicalService, tls: &Tls, dns_name: String) -> TlsView {
    let ca_bundle = tls.ca_bundle.clone();
    let namespace = service.namespace().unwrap_or_default();
    let client = tls.client_certificate.clone().map(|name| ClientName { namespace, name });
    if let Some(name) = &tls.server_name {
        return TlsView { ca_bundle, client, name: name.clone(), names: BTreeMap::new() };
    }
    let told = service.status.iter().flat_map(|s| &s.endpoints).filter(|_| service.spec.external.is_some());
    let names =
        told.filter_map(|e| Some((e.address.parse().ok()?, e.host.clone().unwrap_or_else(|| e.address.clone()))));
    TlsView { ca_bundle, client, name: dns_name, names: names.collect() }
}

/// Why a registered host of this interface is neither probed nor published: that its address may not be reached.
fn refused_host(service: &MedicalService, interface: &str, guard: &AddressGuard) -> Option<String> {
    let endpoints = service.status.iter().flat_map(|s| &s.endpoints);
    endpoints
        .filter(|e| e.reason == EndpointReason::AddressRefused)
        .filter(|e| e.interface.as_deref().is_none_or(|i| i == interface))
        .find_map(|e| match e.address.parse() {
            Ok(address) => guard.refuse(address),
            Err(_) => Some(format!("medley does not connect to the addresses of {}", e.address)),
        })
}

/// Endpoints that are ready, of the port of this name, in order.
fn ready_endpoints(slices: &[Arc<EndpointSlice>], port: &str) -> Vec<SocketAddr> {
    let mut found = BTreeSet::new();
    for slice in slices {
        let number = slice.ports.iter().flatten().find(|p| p.name.as_deref() == Some(port)).and_then(|p| p.port);
        let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            // no word about readiness means ready (discovery.k8s.io/v1)
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            for address in endpoint.addresses.iter().filter(|_| ready) {
                if let Ok(ip) = address.parse::<IpAddr>() {
                    found.insert(SocketAddr::new(ip, number));
                }
            }
        }
    }
    found.into_iter().collect()
}
