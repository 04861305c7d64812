//! Asks a Prometheus, or what answers like one, for an instant vector.

use std::time::Duration;

use reqwest::{Certificate, Client, Url, header, redirect};

use super::{
    credentials::Credentials,
    signals::{Evaluate, Reading, Unread},
};
use crate::core::monitoring::signal::{Problem, samples};

/// Longest answer that is read: some forty thousand samples.
const MOST: usize = 4 << 20;
/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without `/api/v1`.
    pub url: Url,
    /// Who asks.
    pub credentials: Credentials,
    /// Certificates in PEM of the authority that vouches for the server; those of the system where there are none.
    pub authority: Option<Vec<u8>>,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Prometheus {
    client: Client,
    url: Url,
    credentials: Credentials,
}

impl Prometheus {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the authority's certificates cannot be read, or no HTTP client can be made.
    pub fn new(settings: Settings) -> reqwest::Result<Self> {
        let Settings { mut url, credentials, authority } = settings;
        let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = authority {
            client = client.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Self { client: client.build()?, url, credentials })
    }

    async fn ask(&self, expression: &str) -> Result<Vec<u8>, Unread> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("query", expression).append_pair("timeout", "10s");
        let request = self.client.get(url).header(header::ACCEPT, "application/json");
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::Password(user, password) => request.basic_auth(user, Some(password)),
            Credentials::Token(token) => request.bearer_auth(token),
        };
        // the error would name the URL, and with it the expression
        let mut answer = request.send().await.map_err(|_| Unread::Unreachable)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| Unread::Unreachable)? {
            if body.len() + part.len() > MOST {
                return Err(Unread::TooLong(MOST));
            }
            body.extend_from_slice(&part);
        }
        if answer.status().is_success() {
            return Ok(body);
        }
        // Prometheus says in the body what is wrong with the expression, whoever is between says nothing
        match samples(&body) {
            Err(problem @ Problem::Failed(_)) => Err(problem.into()),
            _ => Err(Unread::Refused(answer.status().as_u16())),
        }
    }
}

impl Evaluate for Prometheus {
    fn evaluate<'r>(&'r self, expression: &'r str) -> Reading<'r> {
        Box::pin(self.ask(expression))
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
