//! What workflows have learned, made ready for predictions once for each change of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    api::{Workflow, flow::Counted},
    core::{
        coordination::{Definition, forecast::Model},
        name::Key,
    },
};

/// So many models are kept at most: those of workflows whose runs have deadlines.
const MOST: usize = 1000;

/// Models by workflow.
#[derive(Debug, Default)]
pub struct Models(Mutex<HashMap<Key, Known>>);

#[derive(Debug)]
struct Known {
    /// The workflow's UID, the revision and the last run counted: what a model follows from.
    mark: (Option<String>, String, Counted),
    model: Option<Arc<Model>>,
}

impl Models {
    /// The model of this revision; `None` while too little is known of it.
    #[must_use]
    pub fn of(&self, key: &Key, workflow: &Workflow, revision: &str, definition: &Definition) -> Option<Arc<Model>> {
        let flow = workflow.status.as_ref()?.flow.as_ref().filter(|f| f.revision == revision)?;
        let mark = (workflow.metadata.uid.clone(), flow.revision.clone(), flow.last);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = known.get(key)
            && present.mark == mark
        {
            return present.model.clone();
        }
        let model = Model::new(flow, definition).map(Arc::new);
        if known.len() >= MOST && !known.contains_key(key) {
            known.clear();
        }
        known.insert(key.clone(), Known { mark, model: model.clone() });
        model
    }
}
