//! A service as one value, for a store that knows nothing but values: JSON with the mark of who wrote it.

use serde::Serialize;
use serde_json::Value;

use super::{
    content::{MANAGED_BY, MANAGER},
    holder::Holder,
};

/// What a value of the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// medley's, written in this term.
    Ours(Holder),
    /// Somebody else's: it is never overwritten and never removed.
    Foreign,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Marked<'a, T> {
    managed_by: &'static str,
    lease: &'a str,
    epoch: i64,
    #[serde(flatten)]
    what: &'a T,
}

/// The value: what is told, marked with who tells it. Empty where it cannot be JSON, which no record is.
#[must_use]
pub fn encode<T: Serialize>(what: &T, holder: &Holder) -> Vec<u8> {
    let marked = Marked { managed_by: MANAGER, lease: &holder.lease, epoch: holder.epoch, what };
    serde_json::to_vec(&marked).unwrap_or_default()
}

/// Whose value it is.
#[must_use]
pub fn read(value: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(value) else { return Answer::Foreign };
    let lease = value.get("lease").and_then(Value::as_str);
    match (value.get(MANAGED_BY).and_then(Value::as_str), lease, value.get("epoch").and_then(Value::as_i64)) {
        (Some(MANAGER), Some(lease), Some(epoch)) => Answer::Ours(Holder { lease: lease.to_owned(), epoch }),
        _ => Answer::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_tells_whose_it_is_and_what_is_not_marked_is_foreign() {
        let holder = Holder { lease: "uid".to_owned(), epoch: 7 };
        let value = encode(&json!({"name": "pacs"}), &holder);
        assert_eq!(read(&value), Answer::Ours(holder));
        assert_eq!(
            String::from_utf8(value).unwrap(),
            r#"{"managedBy":"medley.health","lease":"uid","epoch":7,"name":"pacs"}"#
        );
        for foreign in
            ["", "pacs", "{}", r#"{"managedBy":"medley.health"}"#, r#"{"managedBy":"x","lease":"u","epoch":1}"#]
        {
            assert_eq!(read(foreign.as_bytes()), Answer::Foreign, "{foreign}");
        }
    }
}
