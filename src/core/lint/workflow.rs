//! What is wrong with one workflow: what the operator would say, and kinds of values that cannot fit.

use super::{
    activity::{self, Activity},
    deadlines,
    finding::{Findings, Severity},
    flow, items,
    object::Object,
    retries, templates,
    uses::{self, Use, Wants},
    variables::{self, Environment, of_type},
};
use crate::{
    api::workflow::WorkflowSpec,
    core::{
        coordination::Definition,
        expression::{
            Expression, TemplateKind,
            kinds::{Doubt, Kind, infer},
        },
    },
};

pub(super) fn check(object: &Object, spec: &WorkflowSpec, findings: &mut Findings) {
    let activities = activity::all(spec);
    if let Err(faults) = Definition::parse(spec) {
        // what the schema's rules have said is not said again
        let new: Vec<_> = faults.into_iter().filter(|f| !findings.names(object, &f.field)).collect();
        for fault in new {
            let message = fault.message + &templates::hint(&activities, &fault.field);
            findings.at(object, Severity::Error, "definition", &fault.field, message);
        }
    }
    let uses = uses::all(spec, &activities);
    let fates = flow::fates(&activities, &uses);
    let environment = Environment::new(spec, &activities, &fates);
    for one in &uses {
        // what cannot be read at all has been told
        if !findings.has_error(object, &one.path) {
            let activity = one.activity.and_then(|place| activities.get(place));
            kinds(object, activity, one, &environment, findings);
        }
    }
    flow::check(object, spec, &activities, &uses, &fates, findings);
    items::check(object, &activities, &uses, findings);
    retries::check(object, &activities, findings);
    deadlines::check(object, spec, findings);
    templates::workflow(object, &activities, findings);
}

/// The kinds of the values that a workflow gives to its child runs: path of the field, name of the child, parameter, kind.
pub(super) fn arguments(spec: &WorkflowSpec) -> Vec<(String, String, String, Kind)> {
    let activities = activity::all(spec);
    let uses = uses::all(spec, &activities);
    let fates = flow::fates(&activities, &uses);
    let environment = Environment::new(spec, &activities, &fates);
    let argument = |one: &Use| {
        let (Some(place), Wants::Argument(p)) = (one.activity, one.wants) else { return None };
        let activity = activities.get(place)?;
        let child = activity.child?;
        let variables = environment.of(Some(activity));
        let local = variables::local(activity, one.wants, &variables, &[]);
        let (kind, _) = infer(&one.expression, &variables, &local, &[]);
        Some((one.path.clone(), child.name.clone(), child.parameters.get(p)?.name.clone(), kind))
    };
    uses.iter().filter_map(argument).collect()
}

fn kinds(
    object: &Object,
    activity: Option<&Activity<'_>>,
    one: &Use,
    environment: &Environment,
    findings: &mut Findings,
) {
    let variables = environment.of(activity);
    let when = activity.and_then(|a| a.when).and_then(|w| Expression::compile(w).ok());
    let given: Vec<&Expression> = if one.wants == Wants::Condition { Vec::new() } else { when.iter().collect() };
    let local = activity.map_or_else(Vec::new, |a| variables::local(a, one.wants, &variables, &given));
    let (kind, doubts) = infer(&one.expression, &variables, &local, &given);
    for Doubt { certain, absent, message } in doubts {
        let severity = if certain { Severity::Error } else { Severity::Warning };
        findings.at(object, severity, if absent { "absent" } else { "kind-of-value" }, &one.path, message);
    }
    if let Some((severity, message)) = misfit(activity, one, &kind) {
        findings.at(object, severity, "kind-of-value", &one.path, message);
    }
}

/// What is wrong with an expression's kind in its place.
fn misfit(activity: Option<&Activity<'_>>, one: &Use, kind: &Kind) -> Option<(Severity, String)> {
    let has_no_json = matches!(kind, Kind::Other(name) if *name != "an unsigned number");
    match one.wants {
        Wants::Condition if kind.differs(&Kind::Bool) || has_no_json => {
            Some((Severity::Error, format!("when must be true or false, and this is {}", kind.name())))
        }
        Wants::Condition => None,
        Wants::Items => items::misfit(kind).map(|message| (Severity::Error, message)),
        Wants::Output(o) => {
            let output = activity?.outputs.get(o)?;
            let declared = of_type(output.type_);
            let message = |advice: &str| {
                format!("the output is declared as {:?}, and this is {}{advice}", output.type_, kind.name())
            };
            if kind.differs(&declared) || has_no_json {
                return Some((Severity::Error, message(": change one of the two")));
            }
            match (declared, kind) {
                (Kind::Int, Kind::Double) => Some((Severity::Error, message(": write int(…), or declare Number"))),
                (Kind::Int, Kind::Number) => {
                    Some((Severity::Warning, message(", which may have a fraction: write int(…), or declare Number")))
                }
                _ => None,
            }
        }
        _ if has_no_json => {
            Some((Severity::Error, format!("this is {}, which cannot be stored or sent: write string(…)", kind.name())))
        }
        Wants::Text(_) if *kind == Kind::Null => Some((Severity::Error, "null cannot be put into a text".to_owned())),
        Wants::Text(TemplateKind::Url) if matches!(kind, Kind::Map(_) | Kind::List(_)) => Some((
            Severity::Warning,
            format!("this is {}, and goes into the path as encoded JSON: name one of its parts", kind.name()),
        )),
        Wants::Key if matches!(kind, Kind::Map(_) | Kind::List(_) | Kind::Null) => {
            Some((Severity::Error, format!("must be a text, a number or a boolean, and this is {}", kind.name())))
        }
        Wants::Text(_) | Wants::Result | Wants::RunOutput | Wants::Argument(_) | Wants::Key => None,
    }
}
