//! Requests of workflow steps: each is sent in its protocol, within its time, and only to an address that the guard permits.

use std::{future::Future, sync::Arc, time::Duration};

use reqwest::Client;
use tokio::time::timeout;

use super::{dicom_call, hl7_call, http};
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
}

impl CallIo for Network {
    async fn call(&self, call: &StartCall) -> CallResult {
        // a call goes to an address, never to a name: what is checked here is what is connected to
        if let Some(refused) = self.guard.refuse(call.endpoint.ip()) {
            return failed(ErrorClass::Configuration, false, refused);
        }
        match &call.wire {
            Wire::Http(request) => {
                let sent = http::send(&self.client, call.endpoint, request, &call.idempotency_key);
                timeout(call.timeout, sent).await.unwrap_or_else(|_| late(call.timeout))
            }
            Wire::Hl7v2(message) => {
                let sent = hl7_call::send(call.endpoint, message, &call.idempotency_key);
                timeout(call.timeout, sent).await.unwrap_or_else(|_| late(call.timeout))
            }
            // it ends its association in what is left of the time
            Wire::Echo(titles) => dicom_call::call(call.endpoint, titles, call.timeout).await,
        }
    }
}

/// The answer did not come in time.
pub(super) fn late(within: Duration) -> CallResult {
    failed(ErrorClass::Timeout, true, format!("no whole answer within {within:?}"))
}

pub(super) const fn failed(class: ErrorClass, sent: bool, message: String) -> CallResult {
    CallResult::Failed { class, sent, message }
}
