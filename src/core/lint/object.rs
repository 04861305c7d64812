//! Which object is it: one of medley's, somebody else's, or one that was meant to be medley's?

use std::collections::BTreeMap;

use medley_schema::Schema;
use serde_json::Value;

use super::{
    finding::{Findings, Severity},
    place::{Content, Node, Place},
};
use crate::{
    api::{
        API_VERSION, CapacityPoolSpec, GROUP, MedicalServiceSpec, ServicePolicySpec, ServiceQuerySpec, WorkflowRunSpec,
        WorkflowSpec, schema::crds,
    },
    core::suggest::{distance, nearest},
};

/// The schema of each kind.
#[derive(Debug)]
pub(super) struct Kinds {
    schemas: BTreeMap<String, Schema>,
}

impl Default for Kinds {
    fn default() -> Self {
        let mut schemas = BTreeMap::new();
        for crd in crds() {
            let schema = crd.spec.versions.first().and_then(|v| v.schema.as_ref()).map(|s| &s.open_api_v3_schema);
            // a schema is plain data, so it always has a JSON form
            let tree = serde_json::to_value(schema).unwrap_or_default();
            schemas.insert(crd.spec.names.kind, Schema::lenient(tree));
        }
        Self { schemas }
    }
}

impl Kinds {
    pub(super) fn schema(&self, kind: &str) -> Option<&Schema> {
        self.schemas.get(kind)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.schemas.keys().map(String::as_str)
    }
}

/// One object of medley's group.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: usize,
    pub(super) node: Node,
    /// Where its last part stands.
    pub(super) last: Place,
    pub(super) value: Value,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) spec: Spec,
}

/// What an object says, once its structure is known to fit.
#[derive(Debug)]
pub(super) enum Spec {
    CapacityPool(Box<CapacityPoolSpec>),
    MedicalService(Box<MedicalServiceSpec>),
    ServicePolicy(Box<ServicePolicySpec>),
    ServiceQuery(Box<ServiceQuerySpec>),
    Workflow(Box<WorkflowSpec>),
    WorkflowRun(Box<WorkflowRunSpec>),
    Unreadable,
}

/// The object that a document holds; nothing when it is none of medley's.
pub(super) fn identify(file: usize, node: Node, kinds: &Kinds, findings: &mut Findings) -> Option<Object> {
    let value = node.value();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let is_ours = kinds.names().any(|k| k == kind);
    let mut complain = |field: &str, message: String| {
        findings.add((file, node.find(field)), Severity::Error, "kind", field, message);
    };
    let group = version.split('/').next().unwrap_or_default();
    if version != API_VERSION {
        let near = distance(&version.to_lowercase(), API_VERSION) <= 3;
        if group == GROUP || near {
            complain("apiVersion", format!("there is no `{version}`: write {API_VERSION}"));
        } else if version.is_empty() && is_ours {
            complain("apiVersion", format!("is required: add apiVersion: {API_VERSION}"));
        } else {
            if version.is_empty() && kind.is_empty() && node.get("spec").is_some() {
                let message = "this has neither apiVersion nor kind, so it is no object and was not looked at";
                findings.add((file, node.place), Severity::Warning, "kind", "", message);
            }
            return None;
        }
    }
    let kind = if is_ours {
        kind
    } else {
        let meant = nearest(&kind, kinds.names()).map(str::to_owned);
        let all = kinds.names().collect::<Vec<_>>().join(", ");
        match (&meant, kind.is_empty()) {
            (_, true) => complain("kind", format!("is required: add one of {all}")),
            (Some(meant), _) => complain("kind", format!("there is no kind `{kind}`; did you mean `{meant}`?")),
            (None, _) => complain("kind", format!("there is no kind `{kind}`; {API_VERSION} has {all}")),
        }
        meant?
    };
    let meta = |key: &str| value["metadata"][key].as_str().map(str::to_owned);
    Some(Object {
        file,
        last: last(&node),
        name: meta("name").unwrap_or_default(),
        namespace: meta("namespace"),
        kind,
        node,
        value,
        spec: Spec::Unreadable,
    })
}

fn last(node: &Node) -> Place {
    let below = match &node.content {
        Content::Scalar(_) => None,
        Content::List(items) => items.last().map(last),
        Content::Map(entries) => entries.last().map(|e| last(&e.value).max(e.place)),
    };
    below.unwrap_or(node.place).max(node.place)
}
