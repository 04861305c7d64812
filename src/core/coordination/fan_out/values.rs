//! What the items of a step are.

use serde_json::Value;

use super::indexes::MAX_ITEMS;
use crate::core::coordination::{
    definition::{FanOut, Items},
    run::Flow,
};

/// What the items are.
pub(super) enum Values {
    /// These.
    Listed(Vec<Value>),
    /// So many, each its own index.
    Count(u32),
}

pub(super) fn values(flow: &Flow<'_>, fan_out: &FanOut) -> Result<Values, String> {
    let expression = match &fan_out.items {
        Items::Of(expression) => expression,
        Items::Count(count) => return Ok(Values::Count(*count)),
    };
    let too_many =
        |n: String| format!("forEach.items: {n} items, and at most {MAX_ITEMS} are allowed: divide the work");
    match expression.evaluate(&flow.variables(expression.references())).map_err(|e| format!("forEach.items: {e}"))? {
        Value::Array(items) if items.len() <= MAX_ITEMS as usize => Ok(Values::Listed(items)),
        Value::Array(items) => Err(too_many(items.len().to_string())),
        Value::Number(n) => match n.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) if n <= MAX_ITEMS => Ok(Values::Count(n)),
            Some(n) => Err(too_many(n.to_string())),
            None => Err(format!("forEach.items: `{}` must give a whole number from 0", expression.source())),
        },
        _ => Err(format!("forEach.items: `{}` must give a list, or how many items there are", expression.source())),
    }
}
