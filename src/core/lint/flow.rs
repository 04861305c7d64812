//! Which steps are never reached, and which values does nobody use?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    activity::Activity,
    finding::{Findings, Severity},
    object::Object,
    uses::{Use, Wants},
};
use crate::{
    api::workflow::WorkflowSpec,
    core::{
        coordination::definition::Role,
        expression::{Expression, Variables, kinds::outputs_read},
    },
};

/// What becomes of a step in every run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// It depends.
    Open,
    /// Its `when` is always true.
    Always,
    /// Its `when` is always false.
    Never,
    /// It always fails; why.
    Fails(String),
    /// A step that it waits for always fails; its name.
    Cut(String),
}

/// The value of an expression that depends on nothing.
pub(super) fn constant(expression: &Expression) -> Option<Result<Value, String>> {
    expression
        .references()
        .variables
        .is_empty()
        .then(|| expression.evaluate(&Variables::new()).map_err(|e| e.to_string()))
}

/// The fate of each activity.
pub(super) fn fates(activities: &[Activity<'_>], uses: &[Use]) -> Vec<Fate> {
    let mut own: BTreeMap<usize, Vec<&Use>> = BTreeMap::new();
    for one in uses {
        own.entry(one.activity.unwrap_or(usize::MAX)).or_default().push(one);
    }
    let mut fates: Vec<Fate> = Vec::with_capacity(activities.len());
    let mut places: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for (place, activity) in activities.iter().enumerate() {
        let list = activity.role == Role::Finally;
        let dead = activity.after.iter().find(|name| {
            let before = places.get(&(list, name.as_str())).and_then(|p| fates.get(*p));
            matches!(before, Some(Fate::Fails(_) | Fate::Cut(_)))
        });
        let fate = match dead {
            Some(name) => Fate::Cut(name.clone()),
            None => own.get(&place).map_or(Fate::Open, |uses| alone(activity, uses)),
        };
        fates.push(fate);
        if activity.role != Role::Compensation {
            places.entry((list, &activity.step.name)).or_insert(place);
        }
    }
    fates
}

/// The fate that a step's own expressions give it.
fn alone(activity: &Activity<'_>, uses: &[&Use]) -> Fate {
    let mut fate = Fate::Open;
    // what fails for each item need not fail the step
    let tolerant = activity.for_each().is_some_and(|each| each.tolerate.is_some());
    let of_item = |wants: Wants| matches!(wants, Wants::Result | Wants::Text(_) | Wants::Argument(_));
    for one in uses.iter().filter(|u| !(tolerant && of_item(u.wants))) {
        match (one.wants, constant(&one.expression)) {
            (_, Some(Err(problem))) => return Fate::Fails(problem),
            (Wants::Condition, Some(Ok(Value::Bool(true)))) => fate = Fate::Always,
            (Wants::Condition, Some(Ok(Value::Bool(false)))) => return Fate::Never,
            _ => {}
        }
    }
    fate
}

/// Reports steps that are never reached, steps that always fail, and values that nobody uses.
pub(super) fn check(
    object: &Object,
    spec: &WorkflowSpec,
    activities: &[Activity<'_>],
    uses: &[Use],
    fates: &[Fate],
    findings: &mut Findings,
) {
    for (activity, fate) in activities.iter().zip(fates) {
        let path = &activity.at;
        let when = format!("{path}.when");
        let cut = |name: &str| format!("never starts, since the step `{name}` that it waits for never ends well");
        match fate {
            Fate::Open => {}
            Fate::Always => findings.at(object, Severity::Note, "constant", &when, "is always true: remove it"),
            Fate::Never => {
                findings.at(object, Severity::Warning, "unreachable", &when, "is always false: the step never runs");
            }
            Fate::Fails(problem) if !findings.has_error(object, path) => {
                findings.at(object, Severity::Error, "constant", path, format!("always fails: {problem}"));
            }
            Fate::Fails(_) => {}
            Fate::Cut(name) => {
                findings.at(object, Severity::Warning, "unreachable", &format!("{path}.after"), cut(name));
            }
        }
    }
    unused(object, spec, activities, uses, findings);
}

fn unused(object: &Object, spec: &WorkflowSpec, activities: &[Activity<'_>], uses: &[Use], findings: &mut Findings) {
    let mut read: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    let mut parameters: BTreeSet<&String> = BTreeSet::new();
    let mut whole = false;
    for one in uses {
        read.extend(outputs_read(&one.expression));
        parameters.extend(&one.expression.references().parameters);
        whole |= one.expression.references().computed;
    }
    // what does not compile may use anything
    if whole || findings.has_error(object, "spec") {
        return;
    }
    for (p, parameter) in spec.parameters.iter().enumerate() {
        if !parameters.contains(&parameter.name) {
            let message = format!("no step uses the parameter `{}`", parameter.name);
            findings.at(object, Severity::Note, "unused", &format!("spec.parameters[{p}].name"), message);
        }
    }
    for activity in activities {
        let step = &activity.step.name;
        for (o, output) in activity.outputs.iter().enumerate() {
            let all = read.contains(&(step.clone(), None));
            if !all && !read.contains(&(step.clone(), Some(output.name.clone()))) {
                let message = format!("nobody uses the output `{}`; it is only shown in the run's status", output.name);
                let path = format!("{}.outputs[{o}].name", activity.at);
                findings.at(object, Severity::Note, "unused", &path, message);
            }
        }
    }
}
