//! HTTP requests of workflow steps: bounded in time and size, no redirects, no proxy from the environment, and only to addresses
//! that the guard permits.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use reqwest::{Client, Method, Url, header, redirect};
use serde_json::Value;

use crate::{
    api::vocabulary::ErrorClass,
    core::{
        coordination::{
            outcome::{Answer, CallResult},
            view::StartCall,
        },
        discovery::guard::AddressGuard,
    },
};

/// Largest answer that is read, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Makes requests: the network, or the world of a simulation.
pub trait CallIo: Send + Sync + 'static {
    /// One request from its start to its end.
    fn call(&self, call: &StartCall) -> impl Future<Output = CallResult> + Send;
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    client: Client,
    guard: Arc<AddressGuard>,
}

impl Network {
    /// A client with a pool of connections, which the guard keeps from some addresses.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(guard: Arc<AddressGuard>) -> reqwest::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .user_agent(concat!("medley/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, guard })
    }
}

impl CallIo for Network {
    async fn call(&self, call: &StartCall) -> CallResult {
        // a call goes to an address, never to a name: what is checked here is what is connected to
        if let Some(refused) = self.guard.refuse(call.endpoint.ip()) {
            return failed(ErrorClass::Configuration, false, refused);
        }
        match tokio::time::timeout(call.timeout, send(&self.client, call)).await {
            Ok(result) => result,
            Err(_) => failed(ErrorClass::Timeout, true, format!("no whole answer within {:?}", call.timeout)),
        }
    }
}

const fn failed(class: ErrorClass, sent: bool, message: String) -> CallResult {
    CallResult::Failed { class, sent, message }
}

async fn send(client: &Client, call: &StartCall) -> CallResult {
    let url = match Url::parse(&format!("http://{}{}", call.endpoint, call.path)) {
        Ok(url) => url,
        Err(error) => return failed(ErrorClass::Configuration, false, format!("the path is not valid: {error}")),
    };
    // methods come from a closed set
    let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
    let mut request =
        client.request(method, url).header(header::HOST, &call.host).header("idempotency-key", &call.idempotency_key);
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
            let connected = !error.is_connect();
            let message = if connected { "the connection broke before the answer" } else { "cannot connect" };
            return failed(ErrorClass::Connection, connected, format!("{message} (to {})", call.endpoint));
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

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
