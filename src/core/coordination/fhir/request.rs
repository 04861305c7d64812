//! An interaction becomes an HTTP request. Values are checked for the place where they stand; messages name fields only.

use serde_json::Value;

use super::{FhirDefinition, MEDIA_TYPE, Parameters};
use crate::core::{
    coordination::request::Request,
    expression::{ExpressionError, Template},
};

/// Largest body that is sent, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Longest path with its query, in bytes: what recipients should support at least (RFC 9112 §3).
const MAX_PATH: usize = 8000;

type Fill<'a> = &'a dyn Fn(&Template) -> Result<String, ExpressionError>;

impl FhirDefinition {
    /// The request with its values.
    ///
    /// # Errors
    /// The field and what is wrong with what stands there: an id that is none, a text that is not the resource that it must
    /// be, an expression that fails.
    pub(in crate::core::coordination) fn request(&self, fill: Fill<'_>) -> Result<Request, String> {
        let request = match self {
            Self::Read { type_, id } => get(format!("/{type_}/{}", self::id("call.fhir.read.id", id, fill)?)),
            Self::Search { type_, parameters } => {
                let query = query("call.fhir.search.parameters", parameters, fill)?;
                // without it a server may leave out a parameter that it does not know, and find what was not asked for
                get(format!("/{type_}{query}")).with("Prefer", "handling=strict".to_owned())
            }
            Self::Create { resource, if_none_exist } => {
                let (text, json) = self::resource("call.fhir.create.resource", resource, fill)?;
                let request =
                    send("POST", format!("/{}", type_of(&json)), text).with("Prefer", REPRESENTATION.to_owned());
                let condition = query("call.fhir.create.ifNoneExist", if_none_exist, fill)?;
                match condition.strip_prefix('?') {
                    Some(condition) => request.with("If-None-Exist", condition.to_owned()),
                    None => request,
                }
            }
            Self::Update { type_, id, resource, if_match } => {
                let id = self::id("call.fhir.update.id", id, fill)?;
                let text = update(type_, &id, resource, fill)?;
                let request = send("PUT", format!("/{type_}/{id}"), text).with("Prefer", REPRESENTATION.to_owned());
                match if_match {
                    Some(version) => request.with("If-Match", format!("W/\"{}\"", self::version(version, fill)?)),
                    None => request,
                }
            }
            Self::Transaction { bundle } => {
                let field = "call.fhir.transaction.bundle";
                let (text, json) = self::resource(field, bundle, fill)?;
                if type_of(&json) != "Bundle" || json["type"] != "transaction" {
                    return Err(format!("{field}: must be a Bundle of the type transaction"));
                }
                send("POST", String::new(), text)
            }
            Self::Operation { name, type_, id, parameters, body, affects_state } => {
                let mut path = String::new();
                if let Some(type_) = type_ {
                    path = format!("/{type_}");
                    if let Some(id) = id {
                        path = format!("{path}/{}", self::id("call.fhir.operation.id", id, fill)?);
                    }
                }
                path = format!("{path}/{name}{}", query("call.fhir.operation.parameters", parameters, fill)?);
                match body {
                    Some(body) => send("POST", path, self::resource("call.fhir.operation.body", body, fill)?.0),
                    None if *affects_state => send("POST", path, r#"{"resourceType":"Parameters"}"#.to_owned()),
                    None => get(path),
                }
            }
        };
        if request.path.len() > MAX_PATH {
            return Err(format!("call.fhir: the path with its parameters has more than {MAX_PATH} bytes"));
        }
        Ok(request)
    }
}

/// The changed resource comes back (FHIR R4, http.html "Managing Return Content"): the id and version that it got are in it.
const REPRESENTATION: &str = "return=representation";

impl Request {
    fn with(mut self, header: &str, value: String) -> Self {
        self.headers.push((header.to_owned(), value));
        self
    }
}

fn get(path: String) -> Request {
    Request { method: "GET", path, headers: vec![("Accept".to_owned(), MEDIA_TYPE.to_owned())], body: None }
}

fn send(method: &'static str, path: String, body: String) -> Request {
    let mut request = get(path).with("Content-Type", MEDIA_TYPE.to_owned());
    request.method = method;
    request.body = Some(body);
    request
}

fn filled(field: &str, template: &Template, fill: Fill<'_>) -> Result<String, String> {
    fill(template).map_err(|e| format!("{field}: {e}"))
}

/// FHIR R4 §2.24.0 `id`: `[A-Za-z0-9\-\.]{1,64}`. A segment `.` or `..` of a path would lead somewhere else (RFC 3986 §5.2.4).
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        && !matches!(text, "." | "..")
}

fn id(field: &str, template: &Template, fill: Fill<'_>) -> Result<String, String> {
    let id = filled(field, template, fill)?;
    if is_id(&id) {
        Ok(id)
    } else {
        Err(format!("{field}: what is put in is not an id of a resource: 1 to 64 letters, digits, - and ."))
    }
}

/// A version id, given as such or as an ETag (FHIR R4 §3.1.0.5).
fn version(template: &Template, fill: Fill<'_>) -> Result<String, String> {
    let field = "call.fhir.update.ifMatch";
    let text = filled(field, template, fill)?;
    let tag = text.strip_prefix("W/").unwrap_or(&text);
    let version = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(tag);
    if is_id(version) {
        Ok(version.to_owned())
    } else {
        Err(format!("{field}: what is put in is neither a version id, such as 3, nor an ETag, such as W/\"3\""))
    }
}

/// A resource as text and as JSON. The text is what is sent: numbers keep the digits that they were written with, since the
/// precision of a decimal has a meaning (FHIR R4 §2.24.0 `decimal`).
fn resource(field: &str, template: &Template, fill: Fill<'_>) -> Result<(String, Value), String> {
    let text = filled(field, template, fill)?;
    if text.len() > MAX_BODY {
        return Err(format!("{field}: with its values it has more than {MAX_BODY} bytes"));
    }
    let json: Value = serde_json::from_str(&text)
        .map_err(|e| format!("{field}: with its values it is not JSON (line {}, column {})", e.line(), e.column()))?;
    if is_type(type_of(&json)) {
        Ok((text, json))
    } else {
        Err(format!("{field}: must be a JSON object with a resourceType, such as {{\"resourceType\": \"Task\"}}"))
    }
}

/// The resource of an update, with its id.
fn update(type_: &str, id: &str, template: &Template, fill: Fill<'_>) -> Result<String, String> {
    let field = "call.fhir.update.resource";
    let (text, json) = resource(field, template, fill)?;
    if type_of(&json) != type_ {
        return Err(format!("{field}: its resourceType must be {type_}, as call.fhir.update.type says"));
    }
    match json.get("id") {
        Some(given) if given == id => Ok(text),
        Some(_) => {
            Err(format!("{field}: its id must be the one of call.fhir.update.id: make them equal, or remove it"))
        }
        // a resource has at least its resourceType, so another field follows
        None => Ok(text.replacen('{', &format!("{{\"id\":\"{id}\","), 1)),
    }
}

fn type_of(json: &Value) -> &str {
    json.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

fn is_type(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// `?name=value&…`; empty when there is no parameter. Names come from the schema; of values only what RFC 3986 §2.3 calls
/// unreserved stays as it is, and `:`, `/` and `,`, which mean nothing in a query.
fn query(field: &str, parameters: &Parameters, fill: Fill<'_>) -> Result<String, String> {
    use std::fmt::Write as _;
    let mut query = String::new();
    for (i, (name, value)) in parameters.iter().enumerate() {
        query.push(if i == 0 { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        for byte in filled(&format!("{field}[{i}].value"), value, fill)?.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
                query.push(char::from(byte));
            } else {
                let _ = write!(query, "%{byte:02X}");
            }
        }
    }
    if query.len() > MAX_PATH {
        return Err(format!("{field}: together they have more than {MAX_PATH} bytes"));
    }
    Ok(query)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
