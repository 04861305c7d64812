//! HTTP requests of workflow steps: bounded in size, no redirects, no proxy from the environment.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use futures::StreamExt;
use reqwest::{Client, ClientBuilder, Method, Url, header, redirect};
use serde_json::Value;

use super::{
    calls::{CONNECT, failed, unconnected},
    tls,
    verdict::refusal,
};
use crate::{
    api::{medical_service::EndpointReason, vocabulary::ErrorClass},
    core::coordination::{
        outcome::{Answer, CallResult},
        view::HttpRequest,
    },
};

/// Largest answer that is read, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// A client with a pool of connections.
///
/// # Errors
/// When the TLS library cannot be set up.
pub(super) fn client() -> reqwest::Result<Client> {
    builder().build()
}

pub(super) fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")))
}

/// Sends a request to an address, which the client reaches by scheme and `authority`, and reads the answer. `host` stands in the Host
/// header in place of the authority. `shows` says whether there is a client certificate. The caller bounds the time.
pub(super) async fn send(
    client: &Client,
    authority: &str,
    host: Option<&str>,
    endpoint: SocketAddr,
    call: &HttpRequest,
    key: &str,
    shows: bool,
) -> CallResult {
    let url = match Url::parse(&format!("{authority}{}", call.path)) {
        Ok(url) => url,
        Err(error) => return failed(ErrorClass::Configuration, false, format!("the path is not valid: {error}")),
    };
    // methods come from a closed set
    let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
    let mut request = client.request(method, url).header("idempotency-key", key);
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => {
            return failed(ErrorClass::Configuration, false, "a header's value is not valid in HTTP".to_owned());
        }
        Err(error) => {
            if let Some(reason) = certificate(&error, shows) {
                return unconnected(reason, endpoint);
            }
            let connected = !error.is_connect();
            let message = if connected { "the connection broke before the answer" } else { "cannot connect" };
            return failed(ErrorClass::Connection, connected, format!("{message} (to {endpoint})"));
        }
    };
    let status = response.status().as_u16();
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in response.headers() {
        if let Ok(text) = value.to_str()
            && !headers.iter().any(|(n, _)| n == name.as_str())
            && headers.len() < 64
        {
            headers.push((name.as_str().to_owned(), text.chars().take(1024).collect()));
        }
    }
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
            Ok(_) => {
                return failed(ErrorClass::InvalidResult, true, format!("the answer has more than {MAX_BODY} bytes"));
            }
            Err(_) => return failed(ErrorClass::Connection, true, "the connection broke during the answer".to_owned()),
        }
    }
    let is_json = headers.iter().any(|(n, v)| n == "content-type" && v.to_ascii_lowercase().contains("json"));
    // nested more than 128 levels deep, or not UTF-8, it is no JSON that anybody here could use
    let json = if is_json { serde_json::from_slice(&body).ok() } else { None };
    let body = json.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&body).into_owned()));
    CallResult::Answered(Answer { status, headers, body })
}

/// What is wrong with a certificate, if that is why there is no connection; `shows` says whether there is a client certificate.
fn certificate(error: &reqwest::Error, shows: bool) -> Option<EndpointReason> {
    let mut source = error.source();
    while let Some(cause) = source {
        let reason = match cause.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(why)) => Some(tls::certificate(why)),
            why => why.and_then(|why| refusal(why, shows)),
        };
        if reason.is_some() {
            return reason;
        }
        // an I/O error does not name what it holds as its source
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        source = held.map(|e| e as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    None
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
