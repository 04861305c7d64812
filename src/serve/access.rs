//! Who asks, may they, and what do they get when not?

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    cluster::review::{Deed, Reviews, Unavailable, User},
    core::registry::{Problem, fhir},
};

/// A problem as an answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    /// As FHIR's own kind of answer.
    pub(super) fhir: bool,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, fhir: false }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = if self.fhir {
            (fhir::MEDIA_TYPE, self.problem.outcome().to_string())
        } else {
            ("application/problem+json", serde_json::to_string(&self.problem).unwrap_or_default())
        };
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        match self.problem.status {
            401 => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            503 => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"))),
            _ => {}
        }
        response
    }
}

/// The token that a request carries (RFC 6750, section 2.1).
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|t| scheme.eq_ignore_ascii_case("bearer") && !t.is_empty())
}

const fn unavailable(_: Unavailable) -> &'static str {
    "the cluster does not say who asks and what they may"
}

/// The user of a token.
pub(super) async fn known(reviews: &Reviews, token: Option<&str>) -> Result<Arc<User>, Problem> {
    let token = token.ok_or_else(Problem::unauthenticated)?;
    let user = reviews.user(token).await.map_err(|e| Problem::unavailable(unavailable(e)))?;
    user.ok_or_else(Problem::unauthenticated)
}

/// The user of a token, if they may do it.
pub(super) async fn allowed(reviews: &Reviews, token: Option<&str>, deed: &Deed) -> Result<Arc<User>, Problem> {
    let user = known(reviews, token).await?;
    if reviews.may(&user, deed).await.map_err(|e| Problem::unavailable(unavailable(e)))? {
        return Ok(user);
    }
    Err(Problem::forbidden(&match deed {
        Deed::Objects { kind, verb, namespace: None, .. } => {
            let what = kind.resource();
            format!("{verb} {what}.medley.health in all namespaces, or to do so in one and ask with `namespace`")
        }
        Deed::Objects { kind, verb, .. } => format!("{verb} {}.medley.health in this namespace", kind.resource()),
        Deed::Path(path) => format!("get the path {path}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_a_bearer_header_only() {
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            token(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc").as_deref(), Some("abc"));
        for none in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }
}
