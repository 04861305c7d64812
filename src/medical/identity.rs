//! Client certificates: what medley shows to services that want to know who calls. They lie in files that somebody else replaces, the
//! kubelet above all: `<folder>/<namespace>/<name>/tls.crt` and `tls.key`, as Secrets of type `kubernetes.io/tls` have them.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{api::medical_service::EndpointReason, core::discovery::target::ClientName};

/// How often files are looked at that are in use.
const LOOK: Duration = Duration::from_secs(10);
/// Largest file that is read, in bytes: a chain of certificates has some thousand.
const MAX_FILE: u64 = 256 * 1024;

/// A client certificate as it is now. TLS asks it with every handshake, so what was made with it follows its changes.
pub(super) struct Identity(Mutex<Held>);

struct Held {
    key: Arc<CertifiedKey>,
    valid: (Timestamp, Timestamp),
    files: (Vec<u8>, Vec<u8>),
    looked: Instant,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.lock().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Identity {
    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // every change is one assignment
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client certificates that there are.
#[derive(Debug)]
pub(super) struct Identities {
    folder: Option<PathBuf>,
    look: Duration,
    /// No more than there are files: what was not found is not kept.
    kept: Mutex<HashMap<ClientName, Arc<Identity>>>,
}

impl Identities {
    /// Those in this folder; none where there is no folder.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, look: LOOK, kept: Mutex::default() }
    }

    /// For tests: as before, and each use looks at the files.
    #[cfg(test)]
    pub(super) fn always_looking(folder: &Path) -> Self {
        Self { look: Duration::ZERO, ..Self::new(Some(folder.to_owned())) }
    }

    /// The certificate of this name. Where its files hold nothing usable any more, it stays what it was.
    ///
    /// # Errors
    /// `ClientCertificateMissing` where there is none that can be used, `ClientCertificateExpired` where it is not valid now.
    pub(super) async fn current(&self, name: &ClientName) -> Result<Arc<Identity>, EndpointReason> {
        let present = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let identity = match present {
            Some(identity) => {
                if identity.lock().looked.elapsed() >= self.look {
                    self.look_again(&identity, name).await;
                }
                identity
            }
            None => {
                let held = self.read(name, None).await.ok_or(EndpointReason::ClientCertificateMissing)?;
                let identity = Arc::new(Identity(Mutex::new(held)));
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(kept.entry(name.clone()).or_insert(identity))
            }
        };
        let (from, until) = identity.lock().valid;
        let now = Timestamp::now();
        if from <= now && now <= until { Ok(identity) } else { Err(EndpointReason::ClientCertificateExpired) }
    }

    async fn look_again(&self, identity: &Identity, name: &ClientName) {
        let before = {
            let mut held = identity.lock();
            // whoever comes meanwhile takes what is there
            held.looked = Instant::now();
            held.files.clone()
        };
        if let Some(held) = self.read(name, Some(&before)).await {
            *identity.lock() = held;
        }
    }

    /// What the files hold; `None` where that is nothing usable, or what they held before.
    async fn read(&self, name: &ClientName, before: Option<&(Vec<u8>, Vec<u8>)>) -> Option<Held> {
        // a name is one of a folder, whatever an object from before the schema's pattern says
        let folder = self.folder.as_deref().filter(|_| is_label(&name.namespace) && is_label(&name.name))?;
        let folder = folder.join(&name.namespace).join(&name.name);
        let files = (contents(&folder.join("tls.crt")).await.ok()?, contents(&folder.join("tls.key")).await.ok()?);
        if before == Some(&files) {
            return None;
        }
        let (key, valid) = parse(&files)?;
        Some(Held { key: Arc::new(key), valid, files, looked: Instant::now() })
    }
}

async fn contents(file: &Path) -> io::Result<Vec<u8>> {
    if tokio::fs::metadata(file).await?.len() > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    tokio::fs::read(file).await
}

/// Certificate and key, where they belong together, and from when until when the certificate is valid (RFC 5280 §4.1.2.5).
fn parse((certificate, key): &(Vec<u8>, Vec<u8>)) -> Option<(CertifiedKey, (Timestamp, Timestamp))> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let moment = |seconds: i64| Timestamp::from_second(seconds).ok();
    let valid = leaf.validity();
    let valid = (moment(valid.not_before.timestamp())?, moment(valid.not_after.timestamp())?);
    let provider: CryptoProvider = rustls::crypto::aws_lc_rs::default_provider();
    Some((CertifiedKey::from_der(chain, key, &provider).ok()?, valid))
}

/// Whether a text can be the name of a namespace (a DNS label, RFC 1123).
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
