//! Every expression of a workflow, with its place and what it must give. A new field with an expression is added here.

use super::activity::Activity;
use crate::{
    api::workflow::WorkflowSpec,
    core::expression::{Expression, Template, TemplateKind},
};

/// What an expression must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// true or false: `when`.
    Condition,
    /// The items of the step, or how many there are.
    Items,
    /// The step's result.
    Result,
    /// The output of this number, over `result`.
    Output(usize),
    /// An output of the run.
    RunOutput,
    /// Text, or something that becomes part of one.
    Text(TemplateKind),
    /// The parameter of this number of a child run.
    Argument(usize),
    /// Something short to tell runs apart.
    Key,
}

/// One expression.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// Path of its field.
    pub(super) path: String,
    /// Place of its activity; none for what is about the run.
    pub(super) activity: Option<usize>,
    pub(super) wants: Wants,
    pub(super) expression: Expression,
}

/// All expressions that compile.
pub(super) fn all(spec: &WorkflowSpec, activities: &[Activity<'_>]) -> Vec<Use> {
    let mut uses = Vec::new();
    if let Some(key) = spec.concurrency.as_ref().and_then(|c| c.key.as_deref()) {
        add(&mut uses, "spec.concurrency.key".to_owned(), None, Wants::Key, key);
    }
    for (place, activity) in activities.iter().enumerate() {
        of(place, activity, &mut uses);
    }
    for (o, output) in spec.outputs.iter().enumerate() {
        add(&mut uses, format!("spec.outputs[{o}].value"), None, Wants::RunOutput, &output.value);
    }
    uses
}

fn add(uses: &mut Vec<Use>, path: String, activity: Option<usize>, wants: Wants, text: &str) {
    if let Ok(expression) = Expression::compile(text) {
        uses.push(Use { path, activity, wants, expression });
    }
}

fn of(place: usize, activity: &Activity<'_>, uses: &mut Vec<Use>) {
    let at = |field: &str| format!("{}.{field}", activity.at);
    if let Some(when) = activity.when {
        add(uses, at("when"), Some(place), Wants::Condition, when);
    }
    if let Some(items) = activity.for_each().and_then(|each| each.items.as_deref()) {
        add(uses, at("forEach.items"), Some(place), Wants::Items, items);
    }
    if let Some(transform) = activity.transform {
        add(uses, at("transform.expression"), Some(place), Wants::Result, &transform.expression);
    }
    for (p, argument) in activity.child.iter().flat_map(|c| c.parameters.iter().enumerate()) {
        add(uses, at(&format!("workflow.parameters[{p}].value")), Some(place), Wants::Argument(p), &argument.value);
    }
    let declared = activity.environment();
    for (path, kind, text) in activity.templates() {
        if let Ok(template) = Template::compile(text, kind, &declared) {
            uses.extend(template.expressions().map(|e| Use {
                path: at(&path),
                activity: Some(place),
                wants: Wants::Text(kind),
                expression: e.clone(),
            }));
        }
    }
    for (o, output) in activity.outputs.iter().enumerate() {
        let plain = format!("result.{}", output.name);
        let text = output.value.as_deref().unwrap_or(&plain);
        add(uses, at(&format!("outputs[{o}].value")), Some(place), Wants::Output(o), text);
    }
}
