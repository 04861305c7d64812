//! TLS around a connection, and what its failures mean.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    identity::Identities,
    tcp,
    verdict::{Secured, refusal},
};
use crate::{
    api::{medical_service::EndpointReason, tls::Pem},
    core::discovery::target::{ClientName, TlsTarget},
};

/// Most authorities whose settings are kept ready.
const MAX_KEPT: usize = 256;

/// A connection, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Why it broke, where the other side said that it does not take medley for who it is.
    fn refusal(&self) -> Option<EndpointReason>;
}

impl Stream for TcpStream {
    fn refusal(&self) -> Option<EndpointReason> {
        None
    }
}

impl Stream for Secured {
    fn refusal(&self) -> Option<EndpointReason> {
        self.verdict().reason()
    }
}

/// Whose certificates are trusted, and what is shown.
type Parties = (Pem, Option<ClientName>);

/// Settings of TLS by authority and client certificate: reading certificates again for each connection would cost more than the
/// handshake.
#[derive(Debug)]
pub struct Trust {
    kept: Mutex<HashMap<Parties, Arc<ClientConfig>>>,
    identities: Identities,
}

impl Default for Trust {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Trust {
    /// With the client certificates of this folder: `<namespace>/<name>/tls.crt` and `tls.key`.
    #[must_use]
    pub fn new(client_certificates: Option<PathBuf>) -> Self {
        Self { kept: Mutex::default(), identities: Identities::new(client_certificates) }
    }

    /// For tests: every use looks whether client certificates have changed.
    #[cfg(test)]
    pub(super) fn looking_always(client_certificates: &std::path::Path) -> Self {
        Self { identities: Identities::always_looking(client_certificates), ..Self::default() }
    }

    /// Settings for whom TLS is spoken with.
    ///
    /// # Errors
    /// `CertificateUntrusted` when none of the certificates to trust can be read; what is wrong with the client certificate.
    pub(super) async fn config(&self, target: &TlsTarget) -> Result<Arc<ClientConfig>, EndpointReason> {
        // each time: it may have changed, or not be valid any more
        let identity = match &target.client {
            Some(name) => Some(self.identities.current(name).await?),
            None => None,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.ca_bundle.clone(), target.client.clone());
        if let Some(config) = kept.get(&key) {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        let given = CertificateDer::pem_slice_iter(target.ca_bundle.as_bytes());
        roots.add_parsable_certificates(given.filter_map(Result::ok));
        if roots.is_empty() {
            return Err(EndpointReason::CertificateUntrusted);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| EndpointReason::TlsFailed)?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let mut config = builder.with_client_cert_resolver(identity);
                // a session that is taken up again is that of the certificate it began with
                config.resumption = Resumption::disabled();
                config
            }
        };
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let config = Arc::new(config);
        kept.insert(key, Arc::clone(&config));
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
            Some(target) => Box::new(self.secure(stream, target, &[]).await?),
        })
    }

    /// Speaks TLS on a connection, and agrees on one of these protocols where there are any (ALPN, RFC 7301).
    ///
    /// # Errors
    /// What is wrong with a certificate, or `TlsFailed`.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        target: &TlsTarget,
        protocols: &[&[u8]],
    ) -> Result<Secured, EndpointReason> {
        let name = ServerName::try_from(target.name.clone()).map_err(|_| EndpointReason::CertificateNameMismatch)?;
        let (mut config, shows) = (self.config(target).await?, target.client.is_some());
        if !protocols.is_empty() {
            // what it holds is shared
            let config = Arc::make_mut(&mut config);
            config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        }
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|e| classify(&e, shows))?;
        Ok(Secured::new(stream, shows))
    }
}

/// Until when the certificate of the other side is valid: its `notAfter` (RFC 5280 §4.1.2.5).
pub(super) fn valid_until(stream: &Secured) -> Option<Timestamp> {
    let certificate = stream.tls().get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// The layer that a failed handshake speaks of.
fn classify(error: &io::Error, shows: bool) -> EndpointReason {
    match error.get_ref().and_then(|e| e.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(why)) => certificate(why),
        Some(why) => refusal(why, shows).unwrap_or(EndpointReason::TlsFailed),
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
