//! Requests of workflow steps: each is sent in its protocol, within its time, and only to an address that the guard permits.

use std::{future::Future, sync::Arc};

use reqwest::Client;

use super::{hl7_call, http};
use crate::{
    api::vocabulary::ErrorClass,
    core::{
        coordination::{
            outcome::CallResult,
            view::{StartCall, Wire},
        },
        discovery::guard::AddressGuard,
    },
};

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
    /// The network but for some addresses, which the guard keeps it from.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(guard: Arc<AddressGuard>) -> reqwest::Result<Self> {
        Ok(Self { client: http::client()?, guard })
    }

    async fn send(&self, call: &StartCall) -> CallResult {
        match &call.wire {
            Wire::Hl7v2(message) => hl7_call::send(call.endpoint, message, &call.idempotency_key).await,
            Wire::Http(request) => http::send(&self.client, call.endpoint, request, &call.idempotency_key).await,
        }
    }
}

impl CallIo for Network {
    async fn call(&self, call: &StartCall) -> CallResult {
        // a call goes to an address, never to a name: what is checked here is what is connected to
        if let Some(refused) = self.guard.refuse(call.endpoint.ip()) {
            return failed(ErrorClass::Configuration, false, refused);
        }
        match tokio::time::timeout(call.timeout, self.send(call)).await {
            Ok(result) => result,
            Err(_) => failed(ErrorClass::Timeout, true, format!("no whole answer within {:?}", call.timeout)),
        }
    }
}

pub(super) const fn failed(class: ErrorClass, sent: bool, message: String) -> CallResult {
    CallResult::Failed { class, sent, message }
}
