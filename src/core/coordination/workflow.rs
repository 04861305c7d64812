//! What comes next for one workflow: its definition stored, its runs counted, its own run made.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        Workflow, WorkflowStatus,
        status::{LAST_RUN, READY, RECONCILING, STALLED},
        workflow::{LastRun, Start},
        workflow_run::RunPhase,
    },
    core::{
        condition::{Conditions, State},
        coordination::{
            definition::Definition,
            forecast::history::{self, News},
            retention,
        },
        name::{child, digest},
        note::Note,
        refusal::Refusal,
    },
};

/// Counts of runs are written this often at most: a workflow with a thousand runs must not cost a write for each.
const SUMMARY_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// So many revisions that no live run follows are kept.
const KEPT_REVISIONS: usize = 10;

/// Everything that matters for one workflow.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The workflow as it is stored.
    pub workflow: &'a Workflow,
    /// Its stored revisions.
    pub revisions: Vec<RevisionView>,
    /// Its runs, in short.
    pub runs: Vec<RunView>,
    /// When its status was last written by this process.
    pub written_at: Option<Timestamp>,
    /// What the API server refused to write for it.
    pub refused: Option<&'a Refusal>,
    /// The definition that its flow summary is about, where it is not the present one.
    pub learned: Option<Arc<Definition>>,
    /// What runs that have ended since have shown.
    pub news: News<'a>,
}

/// One stored revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionView {
    /// Its name.
    pub name: String,
    /// Generation of the workflow that it was made for.
    pub generation: i64,
}

/// One run, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is.
    pub phase: RunPhase,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The revision that it follows.
    pub revision: Option<String>,
    /// It is a child run: it goes with its parent.
    pub is_child: bool,
}

/// What is asked for: objects first, then the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The revision that must exist: its name and the spec's JSON.
    pub store: Option<(String, serde_json::Value)>,
    /// Revisions that nobody follows any more.
    pub drop_revisions: Vec<String>,
    /// Finished runs that are not kept.
    pub drop_runs: Vec<String>,
    /// The run that `start: OnApply` makes: its name.
    pub start_run: Option<String>,
    /// The next status, when it differs.
    pub status: Option<WorkflowStatus>,
    /// The status differs, but it is not yet time to write it again.
    pub held: bool,
    /// When to look again without an event.
    pub wake_at: Option<Timestamp>,
    /// What people should know.
    pub notes: Vec<Note>,
}

/// Name of the revision that holds this spec: the same spec gives the same name.
///
/// `start` and `retention` are left out: they say when runs are made and go, not what they do.
#[must_use]
pub fn revision(workflow: &Workflow) -> (String, serde_json::Value) {
    let mut spec = workflow.spec.clone();
    spec.start = None;
    spec.retention = None;
    // serialization of a value that came from JSON cannot fail; an empty object would only give another name
    let data = serde_json::to_value(&spec).unwrap_or_default();
    let name = workflow.metadata.name.as_deref().unwrap_or_default();
    let uid = workflow.metadata.uid.as_deref().unwrap_or_default();
    let hash = digest([uid.as_bytes(), data.to_string().as_bytes()]);
    (child(&[name, &hash[..10]]), data)
}

/// Decides what comes next.
#[must_use]
pub fn decide(view: &View<'_>, now: Timestamp) -> Decision {
    let workflow = view.workflow;
    if workflow.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let present = workflow.status.clone().unwrap_or_default();
    let generation = workflow.metadata.generation;
    let mut decision = Decision::default();
    let mut next = present.clone();
    let mut conditions = Conditions::from(&present.conditions, generation, now);
    next.observed_generation = generation;
    let mut valid = None;
    match Definition::parse(&workflow.spec) {
        Ok(definition) => {
            let (name, data) = revision(workflow);
            if !view.revisions.iter().any(|r| r.name == name) {
                decision.store = Some((name.clone(), data));
            }
            next.revision = Some(name);
            conditions.set(
                READY,
                State::True,
                "Stored",
                format!("{} steps, checked and stored", definition.steps.len()),
            );
            conditions.remove(STALLED);
            if workflow.spec.start == Some(Start::OnApply) && next.started_generation != generation {
                match crate::core::coordination::parameters::resolve(
                    &definition.parameters,
                    &std::collections::BTreeMap::new(),
                ) {
                    Ok(_) => {
                        let own = workflow.metadata.name.as_deref().unwrap_or_default();
                        decision.start_run = Some(child(&[own, &format!("g{}", generation.unwrap_or(0))]));
                        next.started_generation = generation;
                    }
                    Err(problem) => {
                        let message =
                            format!("spec.start: OnApply gives no parameters, so each needs a default: {problem}");
                        conditions.set(READY, State::False, "CannotStart", message.clone());
                        conditions.set(STALLED, State::True, "CannotStart", message);
                    }
                }
            }
            valid = Some(definition);
        }
        Err(faults) => {
            let mut message: Vec<String> = faults.iter().take(5).map(ToString::to_string).collect();
            if faults.len() > 5 {
                message.push(format!("and {} more", faults.len() - 5));
            }
            let message = message.join("; ");
            if present.observed_generation != generation {
                decision.notes.push(Note::warning("InvalidWorkflow", message.clone()));
            }
            conditions.set(READY, State::False, "InvalidWorkflow", message.clone());
            conditions.set(STALLED, State::True, "InvalidWorkflow", message);
        }
    }
    if let Some(refused) = view.refused {
        conditions.set(READY, State::False, refused.reason(), refused.message());
        conditions.set(STALLED, State::True, refused.reason(), refused.message());
        decision.notes.extend(refused.note(&present.conditions));
        // it may be the run that was refused: its generation has not been started
        next.started_generation = present.started_generation;
    }
    conditions.remove(RECONCILING);
    let urgent = next != present || !conditions.same_as(&present.conditions);
    summarize(view, &mut next, &mut conditions);
    if let Some(definition) = &valid {
        learn(view, &mut next, definition);
    }
    next.conditions = conditions.into_list();
    decision.drop_revisions = old_revisions(view, next.revision.as_deref());
    if let Some(bounds) = &workflow.spec.retention {
        let (old, next_end) = retention::old_runs(bounds, &view.runs, now);
        decision.drop_runs = old;
        decision.wake_at = next_end;
    }
    if next != present {
        // a moment that is still to come was told by a clock that somebody has set back since
        let written = view.written_at.filter(|t| *t <= now);
        let due = written.and_then(|t| t.checked_add(SUMMARY_EVERY).ok()).unwrap_or(now);
        if urgent || due <= now {
            next.leader_epoch = Some(view.news.epoch);
            decision.status = Some(next);
        } else {
            decision.held = true;
            decision.wake_at = Some(decision.wake_at.map_or(due, |w| w.min(due)));
        }
    }
    decision
}

/// Adds what runs have shown to the flow summary; a new revision begins a new one.
fn learn(view: &View<'_>, next: &mut WorkflowStatus, definition: &Definition) {
    let Some(revision) = next.revision.clone() else { return };
    let flow = match next.flow.take() {
        Some(flow) if flow.revision == revision => flow,
        Some(old) => history::begin(revision, definition, view.learned.as_deref().map(|before| (&old, before))),
        None if view.news.samples.iter().any(|(_, s)| s.revision == revision) => {
            history::begin(revision, definition, None)
        }
        None => return,
    };
    next.flow = Some(history::fold(flow, definition, view.news));
}

fn summarize(view: &View<'_>, next: &mut WorkflowStatus, conditions: &mut Conditions) {
    let active = view.runs.iter().filter(|r| !r.phase.is_final()).count();
    next.active = Some(u32::try_from(active).unwrap_or(u32::MAX));
    let last = view.runs.iter().max_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    // where none is left, the last one known stays told: GitOps tools judge the workflow by it
    if let Some(r) = last {
        next.last_run =
            Some(LastRun { name: r.name.clone(), phase: r.phase, at: r.finished_at.unwrap_or(r.created_at) });
    }
    match last {
        None if next.last_run.is_some() => {}
        None => conditions.remove(LAST_RUN),
        Some(run) => {
            let (state, reason) = match run.phase {
                RunPhase::Succeeded => (State::True, "Succeeded"),
                RunPhase::Failed => (State::False, "Failed"),
                RunPhase::Canceled => (State::False, "Canceled"),
                RunPhase::Running => (State::Unknown, "Running"),
                RunPhase::Suspended => (State::Unknown, "Suspended"),
                RunPhase::Compensating => (State::Unknown, "Compensating"),
                RunPhase::Pending => (State::Unknown, "Pending"),
            };
            conditions.set(LAST_RUN, state, reason, format!("run {}", run.name));
        }
    }
}

/// Revisions beyond the newest few that no live run follows.
fn old_revisions(view: &View<'_>, current: Option<&str>) -> Vec<String> {
    let mut idle: Vec<&RevisionView> = view
        .revisions
        .iter()
        .filter(|r| Some(r.name.as_str()) != current)
        .filter(|r| !view.runs.iter().any(|run| !run.phase.is_final() && run.revision.as_deref() == Some(&r.name)))
        .collect();
    idle.sort_by(|a, b| (b.generation, &b.name).cmp(&(a.generation, &a.name)));
    idle.into_iter().skip(KEPT_REVISIONS).map(|r| r.name.clone()).collect()
}
