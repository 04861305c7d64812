//! Which objects are there? Lists with selectors and consistent pages.

use super::{
    error::ApiError,
    route::Query,
    selector::Selector,
    store::{State, Stored, Table},
};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// The objects a request means, before pages are cut.
pub(super) fn selector(state: &State, table: usize, query: &Query) -> Result<Selector, ApiError> {
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    Selector::parse(&state.tables[table].info, text("labelSelector"), text("fieldSelector"))
}

/// A version given in a query; `None` if absent or empty.
pub(super) fn version(query: &Query) -> Result<Option<u64>, ApiError> {
    match query.get("resourceVersion").map(String::as_str) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            ApiError::bad_request(format!("invalid resource version: resourceVersion: Invalid value: {text:?}: {why}"))
        }),
    }
}

/// 504 for a version that this server has not reached.
pub(super) fn not_from_the_future(state: &State, asked: u64) -> Result<(), ApiError> {
    if asked <= state.rv {
        return Ok(());
    }
    let mut error =
        ApiError::new(504, "Timeout", format!("Timeout: Too large resource version: {asked}, current: {}", state.rv));
    error.details =
        Some(json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}));
    error.retry_after = Some(1);
    Err(error)
}

/// A list as JSON text.
pub(super) fn list(
    state: &State,
    table_no: usize,
    namespace: &str,
    query: &Query,
    partial: bool,
) -> Result<Bytes, ApiError> {
    let table = &state.tables[table_no];
    let selector = selector(state, table_no, query)?;
    let limit = match query.get("limit") {
        None => usize::MAX,
        Some(text) => {
            match text.parse().map_err(|_| ApiError::bad_request(format!("invalid limit {text:?}: not a number")))? {
                0 => usize::MAX,
                n => n,
            }
        }
    };
    let token = query.get("continue").filter(|t| !t.is_empty());
    let (rv, after, past) = match token {
        Some(token) => {
            let (rv, after) = read_token(token)?;
            let past = table.snapshot(rv).ok_or_else(|| {
                ApiError::gone("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter")
            })?;
            (rv, Some(after), Some(past))
        }
        None => match version(query)? {
            Some(asked) if query.get("resourceVersionMatch").is_some_and(|m| m == "Exact") => {
                not_from_the_future(state, asked)?;
                let past = table.snapshot(asked).ok_or_else(|| {
                    ApiError::gone(format!("The resourceVersion for the provided list is too old: {asked}"))
                })?;
                (asked, None, Some(past))
            }
            Some(asked) => {
                not_from_the_future(state, asked)?;
                (state.rv, None, None)
            }
            None => (state.rv, None, None),
        },
    };
    let objects = past.as_ref().unwrap_or(&table.objects);
    let mut found =
        Table::range(objects, namespace, after.as_deref()).filter(|(_, object)| selector.matches(&object.value));
    let page: Vec<(&String, &Arc<Stored>)> = found.by_ref().take(limit).collect();
    let rest = found.count();
    let mut metadata = json!({"resourceVersion": rv.to_string()});
    if rest > 0
        && let Some((last, _)) = page.last()
    {
        metadata["continue"] = format!("{rv}:{last}").into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = rest.into();
        }
    }
    let (api_version, kind) = if partial {
        ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
    } else {
        (table.info.api_version(), format!("{}List", table.info.kind))
    };
    let mut text =
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#).into_bytes();
    for (i, (_, object)) in page.iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&shown(object, partial));
    }
    text.extend_from_slice(b"]}");
    Ok(Bytes::from(text))
}

fn read_token(token: &str) -> Result<(u64, String), ApiError> {
    let parts = token.split_once(':').and_then(|(rv, key)| Some((rv.parse().ok()?, key.to_owned())));
    parts.ok_or_else(|| ApiError::bad_request("continue key is not valid: not a token of this server"))
}

/// An object as the caller wants it: whole, or its metadata alone.
pub(super) fn shown(object: &Stored, partial: bool) -> Bytes {
    if !partial {
        return object.bytes();
    }
    let metadata: Value = object.json()["metadata"].take();
    Bytes::from(
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}).to_string(),
    )
}
