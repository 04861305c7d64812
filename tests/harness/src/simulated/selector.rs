//! Which objects does a list or watch mean? Label and field selectors.

use super::{error::ApiError, kinds::KindInfo};
use serde_json::Value;

/// Both selectors of a request, parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    labels: Vec<(String, Test)>,
    /// JSON pointer, wanted value, whether equality is wanted.
    fields: Vec<(String, String, bool)>,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Selector {
    /// # Errors
    /// 400 with what cannot be read or is not supported for this kind.
    pub(super) fn parse(info: &KindInfo, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let mut selector = Selector::default();
        for term in split_terms(labels) {
            selector.labels.push(label_test(&term)?);
        }
        for term in fields.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (label, value, equal) = if let Some((l, v)) = term.split_once("!=") {
                (l, v, false)
            } else if let Some((l, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (l, v, true)
            } else {
                return Err(ApiError::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")));
            };
            let pointer = match label {
                "metadata.name" => "/metadata/name".to_owned(),
                "metadata.namespace" => "/metadata/namespace".to_owned(),
                _ => match info.selectable.iter().find(|(known, _)| known == label) {
                    Some((_, pointer)) => pointer.clone(),
                    None => return Err(ApiError::bad_request(format!("field label not supported: {label}"))),
                },
            };
            selector.fields.push((pointer, value.to_owned(), equal));
        }
        Ok(selector)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|(key, test)| holds(test, labels.get(key).and_then(Value::as_str)))
            && self.fields.iter().all(|(pointer, wanted, equal)| {
                let found = match object.pointer(pointer) {
                    Some(Value::String(s)) => s.clone(),
                    None | Some(Value::Null) => String::new(),
                    Some(other) => other.to_string(),
                };
                (found == *wanted) == *equal
            })
    }
}

fn holds(test: &Test, value: Option<&str>) -> bool {
    match test {
        Test::Exists => value.is_some(),
        Test::Missing => value.is_none(),
        Test::In(set) => value.is_some_and(|v| set.iter().any(|s| s == v)),
        Test::NotIn(set) => value.is_none_or(|v| set.iter().all(|s| s != v)),
        Test::Above(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *bound),
        Test::Below(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *bound),
    }
}

/// Splits at commas outside parentheses.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms.into_iter().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()
}

fn label_test(term: &str) -> Result<(String, Test), ApiError> {
    let unreadable = || ApiError::bad_request(format!("unable to parse requirement: {term}"));
    if let Some((head, list)) = term.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(unreadable)?;
        let values: Vec<String> = list.split(',').map(|v| v.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next()) {
            (Some(key), Some("in")) => Ok((key.to_owned(), Test::In(values))),
            (Some(key), Some("notin")) => Ok((key.to_owned(), Test::NotIn(values))),
            _ => Err(unreadable()),
        };
    }
    let pair = |key: &str, value: &str, test: fn(Vec<String>) -> Test| {
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || value.contains(['=', '!']) {
            Err(unreadable())
        } else {
            Ok((key.to_owned(), test(vec![value.to_owned()])))
        }
    };
    if let Some((key, value)) = term.split_once("!=") {
        return pair(key, value, Test::NotIn);
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return pair(key, value, Test::In);
    }
    if let Some((key, value)) = term.split_once('>') {
        return Ok((key.trim().to_owned(), Test::Above(value.trim().parse().map_err(|_| unreadable())?)));
    }
    if let Some((key, value)) = term.split_once('<') {
        return Ok((key.trim().to_owned(), Test::Below(value.trim().parse().map_err(|_| unreadable())?)));
    }
    match term.strip_prefix('!') {
        Some(key) => Ok((key.trim().to_owned(), Test::Missing)),
        None if term.contains(char::is_whitespace) => Err(unreadable()),
        None => Ok((term.to_owned(), Test::Exists)),
    }
}
