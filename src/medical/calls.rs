//! Requests of workflow steps: each is sent in its protocol, within its time, and only to an address that the guard permits.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use reqwest::Client;
use tokio::time::timeout;

use super::{
    dicom_call, hl7_call, http,
    secure::{self, SecureClients},
    tls::Trust,
};
use crate::{
    api::{medical_service::EndpointReason, vocabulary::ErrorClass},
    core::{
        coordination::{
            outcome::CallResult,
            view::{HttpRequest, StartCall, Wire},
        },
        dicom::{association::Ask, contexts::Proposal, find::priority},
        discovery::{guard::AddressGuard, target::TlsTarget},
    },
};

/// Longest time to connect, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

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
    trust: Arc<Trust>,
    secure: Arc<SecureClients>,
}

impl Network {
    /// The network but for some addresses, which the guard keeps it from.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(guard: Arc<AddressGuard>, trust: Arc<Trust>) -> reqwest::Result<Self> {
        Ok(Self { client: http::client()?, guard, trust, secure: Arc::default() })
    }

    async fn http(&self, call: &StartCall, tls: Option<&TlsTarget>, request: &HttpRequest) -> CallResult {
        let (client, authority, host) = match tls {
            None => (Ok(self.client.clone()), format!("http://{}", call.endpoint), Some(request.host.as_str())),
            // the name that was asked for: servers refuse another one (RFC 9110 §7.4)
            Some(tls) => {
                (self.secure.get(&self.trust, call.endpoint, tls).await, secure::authority(call.endpoint, tls), None)
            }
        };
        match client {
            Ok(client) => {
                let shows = tls.is_some_and(|tls| tls.client.is_some());
                http::send(&client, &authority, host, call.endpoint, request, &call.idempotency_key, shows).await
            }
            Err(reason) => failed(ErrorClass::Configuration, false, insecure(reason)),
        }
    }
}

impl CallIo for Network {
    async fn call(&self, call: &StartCall) -> CallResult {
        // a call goes to an address, never to a name: what is checked here is what is connected to
        if let Some(refused) = self.guard.refuse(call.endpoint.ip()) {
            return failed(ErrorClass::Configuration, false, refused);
        }
        let tls = call.tls.as_ref().map(|tls| tls.target(call.endpoint.ip()));
        let tls = tls.as_ref();
        match &call.wire {
            Wire::Http(request) => {
                let sent = self.http(call, tls, request);
                timeout(call.timeout, sent).await.unwrap_or_else(|_| late(call.timeout))
            }
            Wire::Hl7v2(message) => {
                let sent = hl7_call::send(&self.trust, call.endpoint, tls, message, &call.idempotency_key);
                timeout(call.timeout, sent).await.unwrap_or_else(|_| late(call.timeout))
            }
            // it ends its association in what is left of the time
            Wire::Echo(titles) => {
                dicom_call::call(&self.trust, call.endpoint, tls, titles, Ask::Echo(Proposal::default()), call.timeout)
                    .await
            }
            Wire::Find(titles, query) => {
                let ask = Ask::Find(query.clone(), priority(call.urgency));
                dicom_call::call(&self.trust, call.endpoint, tls, titles, ask, call.timeout).await
            }
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

/// What a step is told when there is no connection.
pub(super) fn unconnected(reason: EndpointReason, endpoint: SocketAddr) -> CallResult {
    use EndpointReason as E;
    match reason {
        E::CertificateExpired
        | E::CertificateNameMismatch
        | E::CertificateUntrusted
        | E::ClientCertificateMissing
        | E::ClientCertificateExpired
        | E::ClientCertificateRefused => failed(ErrorClass::Configuration, false, insecure(reason)),
        E::TlsFailed => failed(ErrorClass::Connection, false, format!("no TLS came about (to {endpoint})")),
        _ => failed(ErrorClass::Connection, false, format!("cannot connect (to {endpoint})")),
    }
}

fn insecure(reason: EndpointReason) -> String {
    use EndpointReason as E;
    match reason {
        E::CertificateExpired => "the service's certificate is not valid at this time: renew it, and check the clocks",
        E::CertificateNameMismatch => {
            "the service's certificate is for another name: correct it, or set tls.serverName"
        }
        E::ClientCertificateMissing => {
            "the service wants a client certificate: name one in tls.clientCertificate that the operator has for this namespace"
        }
        E::ClientCertificateExpired => {
            "the client certificate is not valid at this time: renew it where the operator has it from"
        }
        E::ClientCertificateRefused => {
            "the service does not accept the client certificate: have its authority or its name permitted there"
        }
        _ => "the service's certificate is not from tls.caBundle: put in the certificate of the authority that issued it",
    }
    .to_owned()
}
