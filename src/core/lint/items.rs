//! What a step with `forEach` is done for: the kinds of `item` and `index`, and items that are always the same.

use serde_json::Value;

use super::{
    activity::Activity,
    finding::{Findings, Severity},
    flow::constant,
    object::Object,
    uses::{Use, Wants},
    variables::Variables,
};
use crate::{
    api::fan_out::ForEach,
    core::{
        coordination::fan_out::indexes::MAX_ITEMS,
        expression::{
            Expression,
            kinds::{Kind, infer},
        },
    },
};

/// The variables that the action of a step with `forEach` sees besides; `given` holds when the items are computed.
pub(super) fn variables(each: &ForEach, others: &Variables, given: &[&Expression]) -> Vec<(String, Kind)> {
    let items = each.items.as_ref().and_then(|text| Expression::compile(text).ok());
    let item = match (items.map(|e| infer(&e, others, &[], given).0), each.count) {
        (Some(Kind::List(item)), _) => *item,
        // a number says how many: each item is its index
        (Some(Kind::Int), _) | (None, Some(_)) => Kind::Int,
        _ => Kind::Any,
    };
    vec![("item".to_owned(), item), ("index".to_owned(), Kind::Int)]
}

/// What is wrong with what `forEach.items` gives.
pub(super) fn misfit(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Any | Kind::List(_) | Kind::Int | Kind::Number | Kind::Other("an unsigned number") => None,
        other => Some(format!("must give a list, or a whole number of items, and this is {}", other.name())),
    }
}

/// Reports items that no run can use.
pub(super) fn check(object: &Object, activities: &[Activity<'_>], uses: &[Use], findings: &mut Findings) {
    for one in uses.iter().filter(|u| u.wants == Wants::Items) {
        if findings.names(object, &one.path) {
            continue;
        }
        // an expression that always fails is told of its step
        let Some(Ok(value)) = constant(&one.expression) else { continue };
        let Some(count) = (match &value {
            Value::Array(items) => u64::try_from(items.len()).ok(),
            Value::Number(n) => n.as_u64(),
            _ => None,
        }) else {
            let message = format!("always gives {value}, and must give a list or a whole number from 0");
            findings.at(object, Severity::Error, "constant", &one.path, message);
            continue;
        };
        let step = one.activity.and_then(|place| activities.get(place)).map_or("", |a| a.step.name.as_str());
        if count == 0 {
            let message = format!("always gives no items: the step `{step}` does nothing");
            findings.at(object, Severity::Warning, "constant", &one.path, message);
        } else if count > u64::from(MAX_ITEMS) {
            let message = format!("always gives {count} items, and at most {MAX_ITEMS} are allowed: divide the work");
            findings.at(object, Severity::Error, "constant", &one.path, message);
        }
    }
}
