//! HTTP clients for TLS: one for each endpoint, since what one connects to must not be reused for another.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use reqwest::Client;
use rustls::ClientConfig;

use super::{http, tls::Trust};
use crate::{api::medical_service::EndpointReason, core::discovery::target::TlsTarget};

/// Most clients that are kept; one holds no connection that was idle for half a minute.
const MAX_KEPT: usize = 256;

/// Clients by endpoint and whom it must be.
#[derive(Debug, Default)]
pub(super) struct SecureClients(Mutex<HashMap<(SocketAddr, TlsTarget), Client>>);

impl SecureClients {
    /// The client for an endpoint.
    ///
    /// # Errors
    /// When the certificates to trust cannot be read; what is wrong with the client certificate.
    pub(super) async fn get(
        &self,
        trust: &Trust,
        endpoint: SocketAddr,
        target: &TlsTarget,
    ) -> Result<Client, EndpointReason> {
        let config = trust.config(target).await?;
        let key = (endpoint, target.clone());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = kept.get(&key) {
            return Ok(client.clone());
        }
        let builder = http::builder().tls_backend_preconfigured(ClientConfig::clone(&config));
        // the name is asked for and checked, and the address is what is connected to
        let client = builder.resolve(&target.name, endpoint).build().map_err(|_| EndpointReason::TlsFailed)?;
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, client.clone());
        Ok(client)
    }
}

/// Scheme and authority of a URL that goes to this endpoint by its client.
pub(super) fn authority(endpoint: SocketAddr, target: &TlsTarget) -> String {
    match target.name.parse() {
        Ok(IpAddr::V6(address)) => format!("https://[{address}]:{}", endpoint.port()),
        _ => format!("https://{}:{}", target.name, endpoint.port()),
    }
}
