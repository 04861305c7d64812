//! TLS around a connection, and what its failures mean.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tcp;
use crate::{api::medical_service::EndpointReason, core::discovery::target::TlsTarget};

/// Most authorities whose settings are kept ready.
const MAX_KEPT: usize = 256;

/// A connection, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Settings of TLS by authority: reading certificates again for each connection would cost more than the handshake.
#[derive(Debug, Default)]
pub struct Trust {
    kept: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

impl Trust {
    /// Settings that trust these certificates in PEM.
    ///
    /// # Errors
    /// `CertificateUntrusted` when none of them can be read.
    pub fn config(&self, ca_bundle: &str) -> Result<Arc<ClientConfig>, EndpointReason> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = kept.get(ca_bundle) {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca_bundle.as_bytes()).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(EndpointReason::CertificateUntrusted);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| EndpointReason::TlsFailed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let config = Arc::new(config);
        kept.insert(ca_bundle.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    /// Connects, and speaks TLS where there is a target for it.
    ///
    /// # Errors
    /// The layer that failed. The caller bounds the time.
    pub async fn connect(
        &self,
        address: SocketAddr,
        tls: Option<&TlsTarget>,
    ) -> Result<Box<dyn Stream>, EndpointReason> {
        let stream = tcp::connect(address).await?;
        Ok(match tls {
            None => Box::new(stream),
            Some(target) => Box::new(self.secure(stream, target).await?),
        })
    }

    /// Speaks TLS on a connection.
    ///
    /// # Errors
    /// What is wrong with the certificate, or `TlsFailed`.
    pub async fn secure(&self, stream: TcpStream, target: &TlsTarget) -> Result<TlsStream<TcpStream>, EndpointReason> {
        let name = ServerName::try_from(target.name.clone()).map_err(|_| EndpointReason::CertificateNameMismatch)?;
        TlsConnector::from(self.config(&target.ca_bundle)?).connect(name, stream).await.map_err(|e| classify(&e))
    }
}

/// Until when the certificate of the other side is valid: its `notAfter` (RFC 5280 §4.1.2.5).
pub(super) fn valid_until(stream: &TlsStream<TcpStream>) -> Option<Timestamp> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// The layer that a failed handshake speaks of.
fn classify(error: &io::Error) -> EndpointReason {
    match error.get_ref().and_then(|e| e.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(why)) => certificate(why),
        Some(_) => EndpointReason::TlsFailed,
        // a service that does not speak TLS closes
        None => match tcp::classify(error.kind()) {
            EndpointReason::TcpFailed => EndpointReason::TlsFailed,
            reason => reason,
        },
    }
}

/// What is wrong with a certificate.
pub(super) const fn certificate(why: &CertificateError) -> EndpointReason {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => EndpointReason::CertificateExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            EndpointReason::CertificateNameMismatch
        }
        _ => EndpointReason::CertificateUntrusted,
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
