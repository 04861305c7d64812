//! What would happen to runs, as far as capacity decides it: from a picture of the cluster, with the passes that the operator makes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Namespace, Node},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use kube::Resource;

use crate::{
    api::{
        CapacityPool, ServicePolicy, Workflow, WorkflowRun, WorkflowSpec, vocabulary::Urgency, workflow_run::RunPhase,
    },
    core::{
        coordination::{
            Definition, asks,
            capacity::{SchedulingView, key_of},
            definition::{Action, StepDefinition},
            holdings,
        },
        name::Key,
        scheduling::{Book, Claimant, Course, Rules, Ruling, Standing, definition, share_of},
    },
};

/// No further than this is looked ahead.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long a pod that gives way may take to end, and its step waits before it asks again, where nothing else is known.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// A picture of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Pools.
    pub pools: Vec<CapacityPool>,
    /// Policies.
    pub policies: Vec<ServicePolicy>,
    /// Namespaces with their labels.
    pub namespaces: Vec<Namespace>,
    /// Nodes, where a pool has what they bring along.
    pub nodes: Vec<Node>,
    /// Workflows.
    pub workflows: Vec<Workflow>,
    /// Stored definitions.
    pub revisions: Vec<ControllerRevision>,
    /// Runs.
    pub runs: Vec<WorkflowRun>,
}

/// One step that waits for capacity.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// Its run.
    pub run: Key,
    /// Its id.
    pub step: String,
    /// The urgency that it has.
    pub urgency: Urgency,
    /// What it needs of each resource, in thousandths.
    pub needs: BTreeMap<String, i64>,
    /// The pool and the share of it that it asks.
    pub asks: (String, String),
    /// Since when.
    pub since: Timestamp,
    /// Where it stands now; `None` when it is admitted at once.
    pub standing: Option<Standing>,
    /// When it will be admitted, should nothing else come; `None` when that is not to be seen.
    pub admitted: Option<Timestamp>,
    /// Steps that give way to it, with their runs.
    pub displaces: Vec<(Key, String)>,
}

impl Picture {
    /// All steps that wait now, and what becomes of them, in the order in which they are admitted.
    ///
    /// # Errors
    /// When a run follows a definition that is not there or not valid.
    pub fn waits(&self, now: Timestamp) -> Result<Vec<Wait>, String> {
        let name = |p: &CapacityPool| p.metadata.name.clone().unwrap_or_default();
        if let Some(pool) = self.pools.iter().find(|p| p.spec.nodes.is_some() && self.nodes.is_empty()) {
            return Err(format!(
                "CapacityPool `{}` has what nodes bring along, and there are no nodes to see",
                name(pool)
            ));
        }
        let pools = self.pools.iter().map(|p| definition(&name(p), &p.spec, &self.nodes, now));
        let mut book = Book::new(pools);
        let mut definitions: HashMap<Key, Arc<Definition>> = HashMap::new();
        let mut waits: BTreeMap<Arc<Claimant>, Wait> = BTreeMap::new();
        let mut asked = Vec::new();
        for run in &self.runs {
            let status = run.status.as_ref();
            if status.is_some_and(|s| s.phase.is_some_and(RunPhase::is_final)) {
                continue;
            }
            for holding in status.map(|s| holdings(run, s, &self.scheduling(run).rules)).unwrap_or_default() {
                book.hold(&holding);
            }
            let (revision, found) = self.definition_of(run)?;
            definitions.insert(key_of(run), Arc::clone(&found));
            asked.extend(asks::demands(run, &revision, &found, self.scheduling(run), now));
        }
        for demand in asked {
            let wait = Wait {
                run: demand.claimant.run.clone(),
                step: demand.claimant.step.clone(),
                urgency: demand.urgency,
                needs: demand.unit.clone(),
                asks: (demand.pool.clone(), demand.share.clone()),
                since: demand.since,
                standing: None,
                admitted: None,
                displaces: Vec::new(),
            };
            waits.insert(Arc::clone(&demand.claimant), wait);
            book.ask(demand, now);
        }
        let takes = |claimant: &Claimant| self.takes(claimant, &definitions);
        let until = now.saturating_add(HORIZON).unwrap_or(now);
        let foreseen = book.foresee(now, &Course { takes: &takes, grace: GRACE, pause: PAUSE, until });
        for event in foreseen {
            match event.ruling {
                Ruling::Granted { claimant, .. } => {
                    if let Some(wait) = waits.get_mut(&claimant) {
                        wait.admitted.get_or_insert(event.at);
                    }
                }
                Ruling::Preempted { victim, by } => {
                    if let Some(wait) = waits.get_mut(&by) {
                        wait.displaces.push((victim.run.clone(), victim.step.clone()));
                    }
                }
            }
        }
        // where they stand is known after a pass
        let mut present = book.clone();
        present.pass(now);
        for (claimant, wait) in &mut waits {
            wait.standing = present.standing(claimant, now);
        }
        let mut waits: Vec<Wait> = waits.into_values().collect();
        waits.sort_by(|a, b| {
            let order = |w: &Wait| (w.admitted.is_none(), w.admitted, std::cmp::Reverse(w.urgency), w.since);
            order(a).cmp(&order(b)).then_with(|| (&a.run, &a.step).cmp(&(&b.run, &b.step)))
        });
        Ok(waits)
    }

    /// Adds runs as if they were made now, with the workflows, policies, pools and namespaces that come along.
    pub fn apply(&mut self, other: Self, namespace: &str, now: Timestamp) {
        let mut number = 0;
        let mut place = |meta: &mut ObjectMeta| {
            number += 1;
            meta.namespace.get_or_insert_with(|| namespace.to_owned());
            meta.uid = Some(format!("planned-{number}"));
            meta.creation_timestamp = Some(Time(now));
        };
        for mut pool in other.pools {
            pool.metadata.namespace = None;
            put(&mut self.pools, pool);
        }
        for mut namespace in other.namespaces {
            // the API server gives it this label
            let label = ("kubernetes.io/metadata.name".to_owned(), namespace.metadata.name.clone().unwrap_or_default());
            namespace.metadata.labels.get_or_insert_default().extend([label]);
            put(&mut self.namespaces, namespace);
        }
        for node in other.nodes {
            put(&mut self.nodes, node);
        }
        for mut policy in other.policies {
            place(&mut policy.metadata);
            put(&mut self.policies, policy);
        }
        for mut workflow in other.workflows {
            place(&mut workflow.metadata);
            workflow.status = None;
            put(&mut self.workflows, workflow);
        }
        for mut run in other.runs {
            place(&mut run.metadata);
            run.status = None;
            put(&mut self.runs, run);
        }
    }

    fn workflow(&self, namespace: Option<&String>, name: &str) -> Option<&Workflow> {
        let of = |w: &&Workflow| w.metadata.namespace.as_ref() == namespace && w.metadata.name.as_deref() == Some(name);
        self.workflows.iter().find(of)
    }

    fn definition_of(&self, run: &WorkflowRun) -> Result<(String, Arc<Definition>), String> {
        let namespace = run.metadata.namespace.as_ref();
        let pinned = run.status.as_ref().and_then(|s| s.revision.as_ref());
        let spec: WorkflowSpec = match pinned {
            Some(revision) => {
                let of = |r: &&ControllerRevision| {
                    r.metadata.namespace.as_ref() == namespace && r.metadata.name.as_ref() == Some(revision)
                };
                let stored = self.revisions.iter().find(of).and_then(|r| r.data.as_ref()?.0.get("spec")).cloned();
                let stored =
                    stored.ok_or_else(|| format!("{}: the ControllerRevision `{revision}` is missing", key_of(run)))?;
                serde_json::from_value(stored).map_err(|e| format!("ControllerRevision `{revision}`: {e}"))?
            }
            None => {
                let name = &run.spec.workflow;
                let found = self.workflow(namespace, name);
                found
                    .map(|w| w.spec.clone())
                    .ok_or_else(|| format!("{}: there is no Workflow `{name}` in its namespace", key_of(run)))?
            }
        };
        let read = Definition::parse(&spec).map_err(|faults| {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            format!("{}: its workflow is not valid: {first}", key_of(run))
        })?;
        Ok((pinned.cloned().unwrap_or_else(|| "planned".to_owned()), Arc::new(read)))
    }

    /// What policies say of a run; nothing is granted and nothing told.
    #[must_use]
    pub fn scheduling(&self, run: &WorkflowRun) -> SchedulingView {
        let namespace = run.metadata.namespace.as_ref();
        let policies = self.policies.iter().filter(|p| p.metadata.namespace.as_ref() == namespace);
        let named = policies.map(|p| (p.metadata.name.as_deref().unwrap_or_default(), &p.spec));
        let empty = BTreeMap::new();
        let labels = self.workflow(namespace, &run.spec.workflow).map(|w| w.metadata.labels.as_ref().unwrap_or(&empty));
        let rules = Rules::for_run(named, labels, run.status.as_ref().map(|s| &s.decided_by));
        let share = rules.pool.as_ref().and_then(|pool| {
            let pool = self.pools.iter().find(|p| p.metadata.name.as_ref() == Some(pool))?;
            let namespace = self.namespaces.iter().find(|n| n.metadata.name.as_ref() == namespace)?;
            share_of(&pool.spec, namespace.metadata.labels.as_ref().unwrap_or(&empty)).map(str::to_owned)
        });
        SchedulingView { rules, share: share.unwrap_or_default(), ..SchedulingView::default() }
    }

    /// How long a step has its capacity: a wait as long as it says, another step as long as half of the runs before; one that never
    /// ran as long as its timeout. A run that counts against a limit takes as long as its steps one after the other.
    fn takes(&self, claimant: &Claimant, definitions: &HashMap<Key, Arc<Definition>>) -> SignedDuration {
        let Some(definition) = definitions.get(&claimant.run) else { return GRACE };
        let of = |step: &StepDefinition| self.step_takes(claimant, step);
        if claimant.step.is_empty() {
            return definition.steps.iter().map(of).fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        }
        definition.every_step().find(|s| s.id() == claimant.step).map_or(GRACE, of)
    }

    fn step_takes(&self, claimant: &Claimant, step: &StepDefinition) -> SignedDuration {
        let run = self.runs.iter().find(|r| key_of(r) == claimant.run);
        let median = run.and_then(|run| {
            let workflow = self.workflow(run.metadata.namespace.as_ref(), &run.spec.workflow)?;
            workflow.status.as_ref()?.flow.as_ref()?.steps.get(&step.name)?.median
        });
        let length = match (&step.action, median) {
            (Action::Wait(length), _) => *length,
            (_, Some(median)) => median.duration(),
            _ => step.timeout,
        };
        SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
    }
}

/// Adds an object, in the place of that of its name.
fn put<K: Resource>(all: &mut Vec<K>, object: K) {
    let (name, namespace) = (object.meta().name.clone(), object.meta().namespace.clone());
    all.retain(|o| o.meta().name != name || o.meta().namespace != namespace);
    all.push(object);
}
