//! Did a plan end as it should? What must hold of any outcome, and what of one besides that of the same scenario undisturbed.

use std::collections::{BTreeMap, BTreeSet};

use harness::simulated::Version;
use medley::api::{
    WorkflowRun, WorkflowRunStatus,
    workflow_run::{RunPhase, StepPhase},
};
use serde_json::Value;

use super::{
    super::follows::goes_back,
    effects::{Effect, step_of},
    plan::Plan,
    quiet::restless,
    runner::Outcome,
    scenario::{Act, Fare, Order, Scenario, Step},
    slots::misgranted,
    troubles::{Trouble, counts},
};

/// All that is wrong with an outcome in itself.
pub(crate) fn judge(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    if outcome.out_of_hand {
        wrong.push("reconcile storm: far too many calls".to_owned());
    } else if !outcome.rested {
        wrong.push("it does not come to rest".to_owned());
    }
    if outcome.panics > 0 {
        wrong.push(format!("{} looks panicked", outcome.panics));
    }
    wrong.extend(restless(outcome));
    wrong.extend(steps_back(&outcome.runs));
    wrong.extend(misgranted(plan, outcome));
    wrong.extend(doubled_effects(plan, outcome));
    wrong.extend(doubled_objects(plan, outcome));
    if outcome.rested {
        let runs = ended(&outcome.runs);
        wrong.extend(left_behind(plan, outcome, &runs));
        runs.values().for_each(|run| wrong.extend(untrue(plan, outcome, run)));
    }
    wrong
}

/// All that is wrong with an outcome, given that of the same scenario without troubles.
pub(crate) fn compare(plan: &Plan, expected: &Outcome, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let writes = |o: &Outcome| o.calls.iter().filter(|r| r.at < o.quiet && counts(&r.call)).count();
    let (usual, now) = (writes(expected), writes(outcome));
    let bound = 3 * usual + 60 + 30 * plan.troubles.len();
    if now > bound {
        wrong.push(format!("reconcile storm: {now} writes, {usual} undisturbed"));
    }
    if !outcome.rested || !expected.rested {
        return wrong;
    }
    let (before, after) = (ended(&expected.runs), ended(&outcome.runs));
    let takes_over = plan.troubles.iter().any(Trouble::ends_terms);
    let mut alike = true;
    for (name, was) in &before {
        // a child run is made or not as its parent goes
        let parent = was.metadata.owner_references.iter().flatten().find_map(|o| before.get(&o.name));
        let exact =
            is_exact(plan, expected, outcome, was) && parent.is_none_or(|p| is_exact(plan, expected, outcome, p));
        alike &= exact;
        let Some(is) = after.get(name) else {
            if exact {
                wrong.push(format!("run {name} was never made"));
            }
            continue;
        };
        if exact {
            let pick = |o: &Outcome| {
                let mut status = find(&o.state, "WorkflowRun", name)["status"].take();
                // how often people have changed a spec, and which of that was seen
                without(&mut status, "observedGeneration");
                if !plan.scenario.orders.is_empty() {
                    // a run that was suspended when its steps were over has told how it would end
                    without(&mut status, "ending");
                }
                if plan.troubles.iter().any(Trouble::is_behind) {
                    // nobody can go by a policy that he has not heard of
                    without(&mut status, "decidedBy");
                }
                if takes_over {
                    // what a former leader has sent is not known to have failed
                    without(&mut status, "knownFailures");
                    without(&mut status, "resent");
                }
                each_step(&mut status, abridge);
                status
            };
            let (was, is) = (pick(expected), pick(outcome));
            if was != is {
                wrong.push(format!("run {name} ended otherwise: {}", difference(&was, &is)));
            }
        } else if !may_differ(&plan.scenario) && !had_unknown(outcome) && phase(was) != phase(is) {
            wrong.push(format!("run {name} ended {:?}, undisturbed {:?}", phase(is), phase(was)));
        }
    }
    if alike {
        if before.len() != after.len() {
            wrong.push(format!("{} runs, undisturbed {}", after.len(), before.len()));
        }
        for kind in ["Pod", "PersistentVolumeClaim", "ControllerRevision", "Service", "EndpointSlice", "MedicalService"]
        {
            if kind == "PersistentVolumeClaim" && has_late_writes(plan) {
                continue;
            }
            let (was, is) = (&expected.state[kind], &outcome.state[kind]);
            if was != is {
                wrong.push(format!("{kind}: {}", difference(was, is)));
            }
        }
        let keys = |o: &Outcome, runs: &BTreeMap<String, WorkflowRun>| {
            let of =
                |uid: &str| runs.iter().find(|(_, r)| r.metadata.uid.as_deref() == Some(uid)).map(|(name, _)| name);
            let key = |e: &Effect| {
                let key = e.key.replace(&e.run, of(&e.run).map_or("?", String::as_str));
                // its last part counts known failures
                if takes_over {
                    key.rsplit_once('-').map(|(request, _)| request.to_owned()).unwrap_or(key)
                } else {
                    key
                }
            };
            o.effects.iter().filter(|e| e.took).map(key).collect::<BTreeSet<_>>()
        };
        let (was, is) = (keys(expected, &before), keys(outcome, &after));
        if was != is {
            wrong.push(format!("effects: {is:?}, undisturbed {was:?}"));
        }
    }
    wrong
}

fn has_late_writes(plan: &Plan) -> bool {
    plan.troubles.iter().any(|t| matches!(t, Trouble::Late { .. }))
}

/// Whether a run must end exactly as it did undisturbed: nothing that legitimately depends on time, or on what nobody knows,
/// plays a part in it.
fn is_exact(plan: &Plan, expected: &Outcome, outcome: &Outcome, was: &WorkflowRun) -> bool {
    let settled = phase(was) == RunPhase::Succeeded
        // which of two steps side by side is stopped by the other's failure depends on which is quicker
        || (plan.scenario.is_chain() && !plan.scenario.every_step().any(|s| s.each.is_some()));
    settled && !may_differ(&plan.scenario) && !had_unknown(expected) && !had_unknown(outcome)
}

/// Whether nobody knew of some step or item, for a while at least: what a person makes of it decides then.
fn had_unknown(outcome: &Outcome) -> bool {
    outcome.runs.iter().any(|v| {
        let steps = v.object()["status"]["steps"].as_object().into_iter().flatten();
        steps.into_iter().any(|(_, s)| s["phase"] == "Unknown" || s["items"]["indexes"]["unknown"].is_string())
    })
}

/// Whether even the phase of a run depends on how quick everything is, or on a person.
fn may_differ(scenario: &Scenario) -> bool {
    let canceled = scenario.orders.iter().any(|o| matches!(o, Order::Cancel { .. }));
    let unknown = !scenario.person && scenario.every_step().any(|s| s.once);
    // a person cannot tell of items apart, nor of what undoes a step
    let mixed = scenario.every_step().any(|s| s.once && s.each.is_some());
    scenario.deadline > 0 || canceled || unknown || mixed
}

/// The last version of each run.
fn ended(versions: &[Version]) -> BTreeMap<String, WorkflowRun> {
    let last: BTreeMap<String, &Version> = versions.iter().map(|v| (text(v.object(), "name"), v)).collect();
    let parse = |(name, v): (String, &Version)| (name, serde_json::from_value(v.object().clone()).unwrap());
    last.into_iter().map(parse).collect()
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn phase(run: &WorkflowRun) -> RunPhase {
    run.status.as_ref().and_then(|s| s.phase).unwrap_or(RunPhase::Pending)
}

fn find(state: &Value, kind: &str, name: &str) -> Value {
    let all = state[kind].as_array().into_iter().flatten();
    all.into_iter().find(|o| o["metadata"]["name"] == name).cloned().unwrap_or_default()
}

/// Takes a field out wherever it stands.
fn without(value: &mut Value, field: &str) {
    match value {
        Value::Object(map) => {
            map.remove(field);
            map.values_mut().for_each(|v| without(v, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| without(v, field)),
        _ => {}
    }
}

/// Does something to each step of a status.
fn each_step(status: &mut Value, change: fn(&mut Value)) {
    status["steps"].as_object_mut().into_iter().flatten().for_each(|(_, step)| change(step));
}

/// Which items of a fan-out fail first depends on which are quicker, and so does what is listed when more fail than can be.
fn abridge(step: &mut Value) {
    let all = step["items"]["failed"].as_u64();
    if let Some(listed) = step["items"]["failures"].as_array_mut() {
        listed.sort_by_key(|f| f["index"].as_u64());
        if all > u64::try_from(listed.len()).ok() {
            listed.clear();
        }
    }
}

/// The first place where two values differ.
fn difference(was: &Value, is: &Value) -> String {
    fn walk(path: &str, was: &Value, is: &Value) -> Option<String> {
        match (was, is) {
            _ if was == is => None,
            (Value::Object(a), Value::Object(b)) => {
                let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                names.into_iter().find_map(|n| walk(&format!("{path}.{n}"), &was[n], &is[n]))
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                (0..a.len()).find_map(|i| walk(&format!("{path}[{i}]"), &a[i], &b[i]))
            }
            _ => Some(format!("{path} is {is}, undisturbed {was}")),
        }
    }
    walk("", was, is).unwrap_or_default()
}

/// Statuses that do not follow from those before them.
fn steps_back(versions: &[Version]) -> Vec<String> {
    let mut last: BTreeMap<String, WorkflowRunStatus> = BTreeMap::new();
    let mut wrong = Vec::new();
    for version in versions.iter().filter(|v| !v.deleted && !v.object()["status"].is_null()) {
        let object = version.object();
        let after: WorkflowRunStatus = serde_json::from_value(object["status"].clone()).unwrap();
        if let Some(problem) = last.get(object["metadata"]["uid"].as_str().unwrap()).and_then(|b| goes_back(b, &after))
        {
            wrong.push(format!("run {}: {problem}", text(object, "name")));
        }
        last.insert(text(object, "uid"), after);
    }
    wrong
}

/// Requests that took effect twice, or were made again although nothing had happened to their sender.
fn doubled_effects(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut effects: BTreeMap<(&str, &str, Option<u32>), Vec<&Effect>> = BTreeMap::new();
    for effect in &outcome.effects {
        effects.entry((&effect.run, &effect.path, effect.item)).or_default().push(effect);
    }
    let steady = !plan.troubles.iter().any(Trouble::ends_terms);
    for ((_, path, item), all) in effects {
        let what = || format!("{path}{}", item.map(|i| format!(" item {i}")).unwrap_or_default());
        let keys: BTreeSet<&str> = all.iter().filter(|e| e.took).map(|e| e.key.as_str()).collect();
        if keys.len() > 1 {
            wrong.push(format!("{} took effect {} times: {keys:?}", what(), keys.len()));
        }
        let step = plan.scenario.step(step_of(path));
        let once = step.is_some_and(|s| s.once) && !path.ends_with("/undo");
        let took = all.iter().filter(|e| e.took).count();
        if once && took > 1 {
            wrong.push(format!("{} may take effect once at most, and did {took} times", what()));
        }
        let attempts: BTreeSet<u32> = all.iter().map(|e| e.attempt).collect();
        if steady && attempts.len() != all.len() {
            wrong.push(format!(
                "{}: {} requests for {} attempts by a leader that was not disturbed",
                what(),
                all.len(),
                attempts.len()
            ));
        }
    }
    wrong
}

/// Pods, Jobs and child runs that were made again.
fn doubled_objects(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    for (kind, versions) in [("Pod", &outcome.pods), ("Job", &outcome.jobs), ("WorkflowRun", &outcome.runs)] {
        let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for version in versions {
            made.entry(text(version.object(), "name")).or_default().insert(text(version.object(), "uid"));
        }
        for (name, uids) in made.iter().filter(|(_, uids)| uids.len() > 1) {
            let step =
                versions.iter().find(|v| text(v.object(), "name") == *name).and_then(|v| step_of_object(plan, v));
            // a pod that went away while no leader knew of it is made once more for each leader, where that does no harm
            let vanishes = step.is_some_and(|s| !s.once && s.fares.iter().any(|f| matches!(f, Fare::Vanish(_))));
            let terms = if plan.troubles.iter().any(Trouble::ends_terms) { terms(outcome) } else { 1 };
            // or for each creation whose reply was lost
            let unheard = plan.troubles.iter().filter(|t| matches!(t, Trouble::Lost { .. })).count();
            let usual = if kind == "Pod" && vanishes { terms + unheard } else { 1 };
            // and once more when a creation lands that nobody waits for any more, after the object of its repetition has gone
            let late = usize::from(has_late_writes(plan) && kind != "WorkflowRun");
            if uids.len() > usual + late {
                wrong.push(format!("{kind} {name} was made {} times", uids.len()));
            }
        }
    }
    wrong
}

/// How many terms of leaders there were.
fn terms(outcome: &Outcome) -> usize {
    let leases = outcome.calls.iter().filter(|r| r.call.resource == "leases" && r.changed);
    let users: BTreeSet<&str> = leases.map(|r| r.call.user.as_str()).collect();
    // a term that lapsed may be taken up again by the same operator
    let lapses = outcome.struck.len().min(3);
    users.len() + lapses
}

fn step_of_object<'a>(plan: &'a Plan, version: &Version) -> Option<&'a Step> {
    let label = version.object()["metadata"]["labels"][medley::render::STEP_LABEL].as_str()?;
    plan.scenario.step(label)
}

/// What is still at work although its run has ended.
fn left_behind(plan: &Plan, outcome: &Outcome, runs: &BTreeMap<String, WorkflowRun>) -> Vec<String> {
    let mut wrong = Vec::new();
    let over = |run: &str| runs.get(run).is_none_or(|r| phase(r).is_final());
    let owner =
        |object: &Value| object["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default().to_owned();
    for (kind, versions) in [("Pod", &outcome.pods), ("Job", &outcome.jobs), ("PersistentVolumeClaim", &outcome.claims)]
    {
        let last: BTreeMap<String, &Version> = versions.iter().map(|v| (text(v.object(), "name"), v)).collect();
        for (name, version) in last.iter().filter(|(_, v)| !v.deleted) {
            let object = version.object();
            let run = owner(object);
            let live = match kind {
                "Pod" => !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
                "Job" => object["status"]["conditions"].is_null(),
                // one whose creation lands after the end goes with the run's object: nobody watches claims
                _ => !has_late_writes(plan) && runs.get(&run).is_some_and(|r| phase(r) == RunPhase::Succeeded),
            };
            if live && over(&run) {
                wrong.push(format!("{kind} {name} is left behind by run {run}"));
            }
        }
    }
    for (name, run) in runs.iter().filter(|(_, run)| !phase(run).is_final()) {
        let reference = run.metadata.owner_references.iter().flatten().find(|r| r.kind == "WorkflowRun");
        if let Some(parent) = reference.filter(|r| over(&r.name)) {
            wrong.push(format!("run {name} is left behind by run {}", parent.name));
        }
    }
    wrong
}

/// What the end of a run says, and is not so.
fn untrue(plan: &Plan, outcome: &Outcome, run: &WorkflowRun) -> Vec<String> {
    let (Some(status), Some(uid), Some(name)) = (&run.status, &run.metadata.uid, &run.metadata.name) else {
        return vec!["a run has no status".to_owned()];
    };
    let mut wrong = Vec::new();
    let scenario = &plan.scenario;
    let steps = if run.spec.workflow == "part" { &scenario.part } else { &scenario.steps };
    for step in steps {
        let present = status.steps.get(&step.name).map(|s| s.phase);
        let done = present.is_some_and(StepPhase::is_done);
        if phase(run) == RunPhase::Succeeded && !done {
            wrong.push(format!("run {name} has succeeded, and its step {} is {present:?}", step.name));
        }
        if step.act == Act::Call && step.each.is_none() && present == Some(StepPhase::Succeeded) {
            let path = format!("/{}", step.name);
            if !outcome.effects.iter().any(|e| e.run == *uid && e.path == path && e.took) {
                wrong.push(format!("run {name}: step {} has succeeded without an effect", step.name));
            }
        }
        let undone = status.compensations.get(&step.name);
        // when `finally` fails after all steps are done, nothing is undone
        let only_finally = status.conditions.iter().any(|c| c.type_ == "Succeeded" && c.reason == "FinallyFailed");
        let wanted = phase(run).is_final() && phase(run) != RunPhase::Succeeded && !only_finally;
        if wanted && step.undo.is_some() && present == Some(StepPhase::Succeeded) && undone.is_none() {
            wrong.push(format!("run {name} ended {:?}, and step {} was not undone", phase(run), step.name));
        }
        if undone.is_some()
            && (!(wanted || phase(run) == RunPhase::Compensating) || present != Some(StepPhase::Succeeded))
        {
            wrong.push(format!("run {name}: step {} was undone without need", step.name));
        }
        let early = step.after.iter().find(|a| {
            let begun = status.steps.get(&step.name).and_then(|s| s.attempt).is_some();
            let before = status.steps.get(*a).map(|s| s.phase);
            begun && !before.is_some_and(StepPhase::is_done)
        });
        if let Some(before) = early {
            wrong.push(format!("run {name}: step {} began before {before} was done", step.name));
        }
    }
    if phase(run).is_final() && run.spec.workflow == "flow" && status.started_at.is_some() {
        for step in &scenario.finally {
            let blocked = step.after.iter().any(|a| !is_done(status, a));
            if !blocked
                && !status.steps.get(&step.name).is_some_and(|s| s.phase.is_final() || s.phase == StepPhase::Unknown)
            {
                wrong.push(format!("run {name} has ended, and {} of finally was not done", step.name));
            }
        }
    }
    wrong
}

fn is_done(status: &WorkflowRunStatus, step: &str) -> bool {
    status.steps.get(step).is_some_and(|s| s.phase.is_done())
}
