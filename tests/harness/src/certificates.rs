//! Certificates for tests of TLS.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    generate_simple_self_signed,
};

/// Writes a certificate for 127.0.0.1 and its key, both in PEM. Only itself vouches for it: whoever trusts it trusts that one server.
///
/// # Errors
/// When a file cannot be written.
pub fn write(certificate: &Path, key: &Path) -> Result<()> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    fs::write(certificate, cert.pem())?;
    fs::write(key, signing_key.serialize_pem())?;
    Ok(())
}

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in DER and in PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key (PKCS #8).
    pub key: Vec<u8>,
    certificate_pem: String,
    key_pem: String,
}

impl Certified {
    /// Writes `tls.crt` and `tls.key` into a folder, in PEM, as the kubelet writes a Secret of type `kubernetes.io/tls`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("tls.crt"), &self.certificate_pem)?;
        fs::write(folder.join("tls.key"), &self.key_pem)?;
        Ok(())
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // a certificate with the name of its authority is taken for its own
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {} of tests", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names, valid from the start of one year to the start of another.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str], from: i32, until: i32) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certified {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}
