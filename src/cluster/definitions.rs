//! Which definition does a run follow, and what has its workflow learned of it? Stored revisions, each parsed once.

use std::sync::{Arc, PoisonError};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;

use crate::{
    api::{Workflow, WorkflowRun, WorkflowSpec, status::STALLED},
    cluster::{cache::key, observe::Caches},
    core::{
        condition,
        coordination::{
            Definition,
            forecast::Model,
            risk,
            view::{DefinitionView, OriginView},
        },
        name::Key,
    },
};

/// A parsed definition: UID of its revision, and what came of parsing.
pub(super) type Parsed = (String, Result<Arc<Definition>, String>);

impl Caches {
    /// The definition that a run follows: the one it has pinned, that of the run it takes up, or the workflow's present one.
    #[must_use]
    pub fn definition(&self, run: &WorkflowRun, origin: Option<&OriginView>) -> DefinitionView {
        let namespace = run.namespace().unwrap_or_default();
        if let Some(pinned) = pinned_revision(run, origin) {
            return match self.revisions.get(&Key::new(namespace, pinned)) {
                None => DefinitionView::Lost,
                Some(revision) => self.definition_in(&revision),
            };
        }
        let Some(workflow) = self.workflows.get(&Key::new(&namespace, &run.spec.workflow)) else {
            return DefinitionView::NotFound;
        };
        let status = workflow.status.clone().unwrap_or_default();
        if status.observed_generation != workflow.metadata.generation {
            return DefinitionView::NotStored;
        }
        if let Some(stalled) = condition::find(&status.conditions, STALLED)
            && stalled.reason == "InvalidWorkflow"
        {
            return DefinitionView::Invalid(stalled.message.clone());
        }
        let Some(revision) = status.revision else { return DefinitionView::NotStored };
        match self.parsed(&Key::new(namespace, &revision)) {
            None => DefinitionView::NotStored,
            Some(Ok(definition)) => DefinitionView::Found { revision, definition },
            Some(Err(problem)) => DefinitionView::Invalid(problem),
        }
    }

    /// The definition that a revision holds.
    #[must_use]
    pub fn definition_in(&self, revision: &ControllerRevision) -> DefinitionView {
        match self.parse(&key(revision), revision) {
            Ok(definition) => DefinitionView::Found { revision: revision.name_any(), definition },
            Err(problem) => DefinitionView::Invalid(problem),
        }
    }

    /// A revision's definition, parsed once: a revision's data never changes.
    fn parsed(&self, key: &Key) -> Option<Result<Arc<Definition>, String>> {
        let revision = self.revisions.get(key)?;
        Some(self.parse(key, &revision))
    }

    fn parse(&self, key: &Key, revision: &ControllerRevision) -> Result<Arc<Definition>, String> {
        let uid = revision.uid().unwrap_or_default();
        let mut definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, parsed)) = definitions.get(key)
            && *known == uid
        {
            return parsed.clone();
        }
        let spec = revision.data.as_ref().and_then(|d| d.0.get("spec")).cloned().unwrap_or_default();
        let parsed = serde_json::from_value::<WorkflowSpec>(spec)
            .map_err(|e| format!("the stored revision cannot be read: {e}"))
            .and_then(|spec| {
                let parsed = Definition::parse(&spec);
                parsed.map(Arc::new).map_err(|f| f.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            });
        if definitions.len() >= 10_000 {
            definitions.retain(|k, _| self.revisions.get(k).is_some());
        }
        definitions.insert(key.clone(), (uid, parsed.clone()));
        parsed
    }

    /// The definition that a workflow's flow summary is about, where the revision is still there.
    #[must_use]
    pub fn learned(&self, workflow: &Workflow) -> Option<Arc<Definition>> {
        let flow = workflow.status.as_ref()?.flow.as_ref()?;
        self.parsed(&Key::new(workflow.namespace()?, &flow.revision))?.ok()
    }

    /// What a run's workflow has learned of the revision that the run follows, where the run has a deadline.
    #[must_use]
    pub fn model_of(&self, run: &WorkflowRun, definition: &DefinitionView) -> Option<Arc<Model>> {
        let DefinitionView::Found { revision, definition } = definition else { return None };
        risk::span(run, Some(definition))?;
        let key = Key::new(run.namespace()?, &run.spec.workflow);
        let workflow = self.workflows.get(&key)?;
        self.models.of(&key, &workflow, revision, definition)
    }
}

/// Name of the revision that a run follows, or is about to: its own, or that of the run it takes up.
#[must_use]
pub fn pinned_revision(run: &WorkflowRun, origin: Option<&OriginView>) -> Option<String> {
    let pinned = |run: &WorkflowRun| run.status.as_ref().and_then(|s| s.revision.clone());
    pinned(run).or_else(|| match origin {
        Some(OriginView::Found(other)) if other.spec.workflow == run.spec.workflow => pinned(other),
        _ => None,
    })
}
