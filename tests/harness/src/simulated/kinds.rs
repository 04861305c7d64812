//! Which kinds does the server serve, and what is particular about each?

use super::shape::Shape;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use medley_schema::Schema;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A served kind.
#[derive(Debug)]
pub(super) struct KindInfo {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// Has a `/status` subresource.
    pub(super) has_status: bool,
    /// `metadata.generation` counts changes of the desired state.
    pub(super) has_generation: bool,
    /// A replace without resourceVersion is accepted.
    pub(super) unconditional_update: bool,
    /// A replace of something that does not exist creates it.
    pub(super) create_on_update: bool,
    pub(super) custom: bool,
    pub(super) shape: Shape,
    /// Only for custom resources.
    pub(super) schema: Option<Schema>,
    /// Field selectors besides `metadata.name` and `metadata.namespace`: (label, JSON pointer).
    pub(super) selectable: Vec<(String, String)>,
}

impl KindInfo {
    /// `v1` or `group/version`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `leases.coordination.k8s.io`.
    pub(super) fn resource_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether that is its resource's name.
    pub(super) fn is_resource(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.plural.as_str());
        rest.is_some_and(|rest| rest.strip_prefix('.').unwrap_or(rest) == self.group)
    }

    /// `Pod` or `Lease.coordination.k8s.io`.
    pub(super) fn kind_name(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Status that a new object of a built-in kind starts with.
    pub(super) fn first_status(&self) -> Option<Value> {
        match self.kind.as_str() {
            "Pod" => Some(json!({"phase": "Pending"})),
            "Namespace" => Some(json!({"phase": "Active"})),
            _ => None,
        }
    }
}

const STATUS: u8 = 1;
const GENERATION: u8 = 2;
const CLUSTER: u8 = 4;
/// A replace needs the resourceVersion.
const STRICT: u8 = 8;
const CREATE_ON_UPDATE: u8 = 16;

/// (group, version, kind, plural, traits), as Kubernetes 1.36 serves them.
const BUILTIN: &[(&str, &str, &str, &str, u8)] = &[
    ("", "v1", "Pod", "pods", STATUS | GENERATION),
    ("", "v1", "Service", "services", STATUS),
    ("", "v1", "ConfigMap", "configmaps", 0),
    ("", "v1", "Secret", "secrets", 0),
    ("", "v1", "ServiceAccount", "serviceaccounts", 0),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", STATUS),
    ("", "v1", "Event", "events", CREATE_ON_UPDATE),
    ("", "v1", "Namespace", "namespaces", STATUS | CLUSTER),
    ("", "v1", "Node", "nodes", STATUS | CLUSTER),
    ("apps", "v1", "Deployment", "deployments", STATUS | GENERATION),
    ("apps", "v1", "StatefulSet", "statefulsets", STATUS | GENERATION),
    ("apps", "v1", "ReplicaSet", "replicasets", STATUS | GENERATION),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", 0),
    ("batch", "v1", "Job", "jobs", STATUS | GENERATION),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", STATUS | GENERATION | STRICT),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", GENERATION),
    ("coordination.k8s.io", "v1", "Lease", "leases", STRICT | CREATE_ON_UPDATE),
    ("events.k8s.io", "v1", "Event", "events", CREATE_ON_UPDATE),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", CLUSTER | GENERATION),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", STATUS),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", GENERATION),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        STATUS | GENERATION | CLUSTER,
    ),
];

/// The built-in kinds, made once for all servers of the process.
pub(super) fn builtin() -> &'static [Arc<KindInfo>] {
    static KINDS: OnceLock<Vec<Arc<KindInfo>>> = OnceLock::new();
    KINDS.get_or_init(|| described().map(Arc::new).collect())
}

fn described() -> impl Iterator<Item = KindInfo> {
    BUILTIN.iter().map(|&(group, version, kind, plural, traits)| KindInfo {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: traits & CLUSTER == 0,
        has_status: traits & STATUS != 0,
        has_generation: traits & GENERATION != 0,
        unconditional_update: traits & STRICT == 0,
        create_on_update: traits & CREATE_ON_UPDATE != 0,
        custom: false,
        shape: Shape::builtin(kind),
        schema: None,
        selectable: selectable(kind),
    })
}

fn selectable(kind: &str) -> Vec<(String, String)> {
    let labels: &[&str] = match kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "Event" => &[
            "reason",
            "type",
            "regarding.name",
            "regarding.namespace",
            "regarding.kind",
            "regarding.uid",
            "involvedObject.name",
        ],
        "Job" => &["status.successful"],
        "Secret" => &["type"],
        _ => &[],
    };
    labels.iter().map(|label| ((*label).to_owned(), format!("/{}", label.replace('.', "/")))).collect()
}

/// A custom resource, compiled: many servers can be built with it.
#[derive(Debug, Clone)]
pub struct Definition(pub(super) Arc<KindInfo>);

impl Definition {
    /// Compiles a definition.
    ///
    /// # Errors
    /// A sentence that says what the simulated server cannot serve in this definition.
    pub fn new(crd: &CustomResourceDefinition) -> Result<Self, String> {
        custom(crd).map(Self)
    }
}

/// The kind that a CustomResourceDefinition defines. Compiled once for all servers of the process: a simulation
/// builds thousands of them.
///
/// # Errors
/// A sentence that says what the simulated server cannot serve in this definition.
pub(super) fn custom(crd: &CustomResourceDefinition) -> Result<Arc<KindInfo>, String> {
    static COMPILED: Mutex<BTreeMap<String, Arc<KindInfo>>> = Mutex::new(BTreeMap::new());
    let text = serde_json::to_string(&crd.spec).map_err(|e| e.to_string())?;
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(info) = compiled.get(&text) {
        return Ok(info.clone());
    }
    let info = Arc::new(compile(crd)?);
    compiled.insert(text, info.clone());
    Ok(info)
}

fn compile(crd: &CustomResourceDefinition) -> Result<KindInfo, String> {
    let names = &crd.spec.names;
    let served: Vec<_> = crd.spec.versions.iter().filter(|version| version.served).collect();
    let [version] = served.as_slice() else {
        return Err(format!(
            "{}: the simulated server serves exactly one version of a kind, {} are marked served",
            names.plural,
            served.len()
        ));
    };
    let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    let Some(schema) = schema else {
        return Err(format!("{}: version {} has no schema.openAPIV3Schema", names.plural, version.name));
    };
    let schema = serde_json::to_value(schema).map_err(|e| format!("{}: schema is not JSON: {e}", names.plural))?;
    Ok(KindInfo {
        group: crd.spec.group.clone(),
        version: version.name.clone(),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
        namespaced: crd.spec.scope == "Namespaced",
        has_status: version.subresources.as_ref().is_some_and(|s| s.status.is_some()),
        has_generation: true,
        unconditional_update: false,
        create_on_update: false,
        custom: true,
        shape: Shape::from_schema(&schema),
        schema: Some(Schema::new(schema)?),
        selectable: version
            .selectable_fields
            .iter()
            .flatten()
            .map(|field| (field.json_path.trim_start_matches('.').to_owned(), field.json_path.replace('.', "/")))
            .collect(),
    })
}
