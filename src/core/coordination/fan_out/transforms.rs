//! Items that are computed: all in one go.

use serde_json::{Value, json};

use super::{Fan, fail_beyond};
use crate::{
    api::vocabulary::ErrorClass,
    core::{
        coordination::step::{conclude, fail_for_good},
        expression::{Budget, Expression},
    },
};

/// Largest sum of what the items give, in bytes of JSON: outputs are taken from it, and are smaller.
const MAX_VALUES: usize = 1 << 20;

/// Computes all items and ends the step. All together may take what one expression may.
pub(super) fn compute(mut fan: Fan<'_, '_>, expression: &Expression) {
    let mut variables = fan.flow.variables(expression.references());
    let (uses_item, uses_index) = ["item", "index"].map(|name| expression.references().variables.contains(name)).into();
    let mut budget = Budget::default();
    let mut results = Vec::with_capacity(fan.work.total as usize);
    let mut size = 0;
    for index in 0..fan.work.total {
        if uses_item {
            // the values are known since the step began, just before
            variables.insert("item".to_owned(), fan.item(index).unwrap_or_default());
        }
        if uses_index {
            variables.insert("index".to_owned(), index.into());
        }
        match expression.evaluate_within(&variables, &mut budget) {
            Ok(value) => {
                size += value.to_string().len() + 1;
                fan.work.succeed(index);
                results.push(value);
            }
            Err(e) => {
                fan.work.fail(index, ErrorClass::Configuration, &e.to_string());
                results.push(Value::Null);
            }
        }
        if fan.is_beyond() {
            break;
        }
        if size > MAX_VALUES {
            let message = format!("the values of all items together may have {} MiB of JSON", MAX_VALUES >> 20);
            fan.status.items = Some(fan.work.status());
            return fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::InvalidResult, message);
        }
    }
    fan.status.items = Some(fan.work.status());
    if fan.is_beyond() {
        let limit = fan.limit();
        return fail_beyond(fan.flow, fan.step, fan.status, &fan.work, limit);
    }
    let (total, succeeded, failed) = (fan.work.total, fan.work.succeeded.len(), fan.work.failed.len());
    let result = json!({ "total": total, "succeeded": succeeded, "failed": failed, "items": results });
    conclude(fan.flow, fan.step, fan.status, result);
}
