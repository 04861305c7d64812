//! What expressions see at each place of a workflow: kinds, and what may be absent.

use std::collections::BTreeMap;

use super::{activity::Activity, flow::Fate, items, uses::Wants};
use crate::{
    api::{
        dicom::DicomFind,
        step::Step,
        workflow::{ValueType, WorkflowSpec},
    },
    core::{
        coordination::definition::Role,
        dicom::attribute::{Form, Scope, form},
        expression::{
            Expression,
            kinds::{Absence, Field, Fields, Kind, infer},
        },
    },
};

/// Variables by name.
pub(super) type Variables = BTreeMap<String, Kind>;

/// The variables of each part of a run. Names that are not declared are the operator's business, so these objects are open.
pub(super) struct Environment {
    main: Variables,
    finally: Variables,
}

impl Environment {
    pub(super) fn new(spec: &WorkflowSpec, activities: &[Activity<'_>], fates: &[Fate]) -> Self {
        let fate_of = |role: Role| activities.iter().zip(fates).filter(move |(a, _)| a.role == role);
        let main = fate_of(Role::Main).map(|(a, fate)| (a.step.name.clone(), step(a.step, fate, false)));
        let finally = fate_of(Role::Main)
            .map(|(a, fate)| (a.step.name.clone(), step(a.step, fate, true)))
            .chain(fate_of(Role::Finally).map(|(a, fate)| (a.step.name.clone(), step(a.step, fate, false))));
        Self { main: variables(spec, main.collect(), false), finally: variables(spec, finally.collect(), true) }
    }

    /// What an activity sees, or the run's outputs; what undoes a step sees that it has succeeded.
    pub(super) fn of(&self, activity: Option<&Activity<'_>>) -> std::borrow::Cow<'_, Variables> {
        match activity.map(|a| (a.role, a)) {
            Some((Role::Finally, _)) => std::borrow::Cow::Borrowed(&self.finally),
            Some((Role::Compensation, activity)) => {
                let mut own = self.main.clone();
                if let Some(Kind::Map(steps)) = own.get_mut("steps") {
                    let there = step(activity.step, &Fate::Always, false);
                    steps.known.insert(activity.step.name.clone(), there);
                }
                own.insert("run".to_owned(), run(true));
                std::borrow::Cow::Owned(own)
            }
            _ => std::borrow::Cow::Borrowed(&self.main),
        }
    }
}

/// The kind of a declared value.
pub(super) const fn of_type(declared: ValueType) -> Kind {
    match declared {
        ValueType::String => Kind::String,
        ValueType::Integer => Kind::Int,
        ValueType::Number => Kind::Number,
        ValueType::Boolean => Kind::Bool,
        ValueType::Object => Kind::object(),
    }
}

/// The variables that one expression of an activity sees besides.
pub(super) fn local(
    activity: &Activity<'_>,
    wants: Wants,
    variables: &Variables,
    given: &[&Expression],
) -> Vec<(String, Kind)> {
    match (wants, activity.for_each()) {
        (Wants::Output(_), _) => vec![("result".to_owned(), result(activity, variables, given))],
        (Wants::Result | Wants::Text(_) | Wants::Argument(_), Some(each)) => items::variables(each, variables, given),
        _ => Vec::new(),
    }
}

/// What `result` is in the outputs of a step.
fn result(activity: &Activity<'_>, variables: &Variables, given: &[&Expression]) -> Kind {
    if let Some(each) = activity.for_each() {
        let counts = ["total", "succeeded", "failed"].map(|n| (n.to_owned(), Kind::Int));
        let one = activity.transform.map(|transform| {
            let local = items::variables(each, variables, given);
            let value = Expression::compile(&transform.expression).map(|e| infer(&e, variables, &local, given).0);
            // an item that failed gives null
            value.ok().filter(|_| each.tolerate.is_none()).unwrap_or(Kind::Any)
        });
        let items = one.map(|value| ("items".to_owned(), Kind::List(Box::new(value))));
        return Kind::Map(Fields::of(counts.into_iter().chain(items)));
    }
    if let Some(transform) = activity.transform {
        let expression = Expression::compile(&transform.expression);
        return expression.map_or(Kind::Any, |e| infer(&e, variables, &[], given).0);
    }
    if let Some(call) = activity.call {
        if call.hl7v2.is_some() {
            return Kind::Map(Fields::of([("code".to_owned(), Kind::String)]));
        }
        if let Some(dicom) = &call.dicom {
            return dicom
                .find
                .as_ref()
                .map_or_else(|| Kind::Map(Fields::of([("status".to_owned(), Kind::Int)])), found);
        }
        let body = if call.fhir.is_some() { "resource" } else { "body" };
        return Kind::Map(Fields::of([
            ("status".to_owned(), Kind::Int),
            ("headers".to_owned(), Kind::object()),
            (body.to_owned(), Kind::Any),
        ]));
    }
    if activity.container.is_some() || activity.child.is_some() { Kind::object() } else { Kind::Any }
}

/// What `result` is of a query.
fn found(find: &DicomFind) -> Kind {
    let unique = Scope::of(find.model, find.level).unique_keys();
    let known = find.return_keys.iter().map(|attribute| {
        let kind = match form(*attribute) {
            Form::Integer => Kind::Int,
            Form::Codes | Form::Uids => Kind::List(Box::new(Kind::String)),
            Form::Uid | Form::Code | Form::Title | Form::Date => Kind::String,
        };
        // each match has the keys that are unique (PS3.4 §C.2.2.1.1)
        let absence = (!unique.contains(attribute)).then(|| Absence {
            why: format!("the service need not tell {}", attribute.as_str()),
            certain: false,
            present_if: None,
            asked_by: None,
        });
        (attribute.as_str().to_owned(), Field { kind, absence })
    });
    let one = Kind::Map(Fields { known: known.collect(), open: false });
    Kind::Map(Fields::of([
        ("count".to_owned(), Kind::Int),
        ("complete".to_owned(), Kind::Bool),
        ("matches".to_owned(), Kind::List(Box::new(one))),
    ]))
}

fn variables(spec: &WorkflowSpec, steps: BTreeMap<String, Field>, ended: bool) -> Variables {
    let parameters = spec.parameters.iter().map(|p| {
        // where a sensitive one is used and not given, its variable is left out
        let given = p.required == Some(true) || p.default.is_some() || p.sensitive == Some(true);
        let absence = (!given).then(|| Absence {
            why: format!("a run need not give the parameter `{}`, and it has no default", p.name),
            certain: false,
            present_if: None,
            asked_by: None,
        });
        (p.name.clone(), Field { kind: of_type(p.type_), absence })
    });
    BTreeMap::from([
        ("params".to_owned(), Kind::Map(Fields { known: parameters.collect(), open: true })),
        ("steps".to_owned(), Kind::Map(Fields { known: steps, open: true })),
        ("run".to_owned(), run(ended)),
    ])
}

/// `run`; how it ends is known to what undoes steps and to `finally`.
fn run(ended: bool) -> Kind {
    let outcome = ended.then_some("outcome");
    Kind::Map(Fields::of(
        ["name", "namespace", "urgency"].into_iter().chain(outcome).map(|n| (n.to_owned(), Kind::String)),
    ))
}

/// One of `steps`; `perhaps` where the run may have ended before it.
fn step(step: &Step, fate: &Fate, perhaps: bool) -> Field {
    let succeeded = "run.outcome == \"Succeeded\"";
    let condition = match (&step.when, perhaps) {
        (Some(when), true) => Some(format!("{succeeded} && ({when})")),
        (None, true) => Some(succeeded.to_owned()),
        (when, false) => when.clone(),
    };
    let present_if = condition.and_then(|c| Expression::compile(&c).ok());
    let name = &step.name;
    let never = matches!(fate, Fate::Never);
    let skipped = step.when.is_some() && !matches!(fate, Fate::Always);
    let why = match (never, perhaps, skipped) {
        (true, ..) => Some(format!("the step `{name}` never runs")),
        (_, true, _) => Some(format!("the run may end before the step `{name}` has succeeded")),
        (_, _, true) => Some(format!("the step `{name}` is skipped where its `when` is false")),
        _ => None,
    };
    let asked_by = Some(format!("steps.{name}.phase"));
    let absence = why.map(|why| Absence { why, certain: never, present_if, asked_by });
    let outputs = step.outputs.iter().map(|o| {
        let field = Field { kind: of_type(o.type_), absence: absence.clone() };
        (o.name.clone(), field)
    });
    let outputs = Kind::Map(Fields { known: outputs.collect(), open: false });
    let fields = Fields::of([("phase".to_owned(), Kind::String), ("outputs".to_owned(), outputs)]);
    let begun = perhaps.then(|| Absence {
        why: format!("the run may end before the step `{name}` begins"),
        certain: false,
        present_if: Expression::compile(succeeded).ok(),
        asked_by: None,
    });
    Field { kind: Kind::Map(fields), absence: begun }
}
