//! Keys, certificates and kubeconfigs of one cluster. They live as long as its run directory.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::cache::{Layout, text};
use super::{API_SERVICE_ADDRESS, HOST_ADDRESS};

/// User of each client certificate and its group; the group decides what it may do.
const CLIENTS: [(&str, &str, Option<&str>); 6] = [
    ("admin", "admin", Some("system:masters")),
    // a user of its own, so that the audit log tells what the fake nodes do from what a test does
    ("kwok", "kwok", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("node1", "system:node:node1", Some("system:nodes")),
];

/// Writes everything for an API server at `address`:`port`.
pub(super) fn write(layout: &Layout, address: &str, port: u16) -> Result<()> {
    let dir = layout.pki();
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "cluster-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    save(&dir.join("ca.crt"), &params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);

    let names = ["127.0.0.1", HOST_ADDRESS, API_SERVICE_ADDRESS, "localhost", "kubernetes", "kubernetes.default"];
    let names = names.into_iter().chain(["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]);
    let mut server = CertificateParams::new(names.map(str::to_owned).collect::<Vec<_>>())?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(&dir, "apiserver", server, &issuer)?;

    for (file, user, group) in CLIENTS {
        let mut client = CertificateParams::new(Vec::new())?;
        client.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            client.distinguished_name.push(DnType::OrganizationName, group);
        }
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(&dir, file, client, &issuer)?;
        save(&layout.kubeconfig_of(file), &kubeconfig(&dir, file, address, port)?)?;
    }
    let account = KeyPair::generate()?;
    save(&dir.join("sa.pub"), &account.public_key_pem())?;
    save(&dir.join("sa.key"), &account.serialize_pem())
}

fn sign(dir: &Path, file: &str, mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let key = KeyPair::generate()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.signed_by(&key, issuer)?;
    save(&dir.join(file).with_extension("crt"), &certificate.pem())?;
    save(&dir.join(file).with_extension("key"), &key.serialize_pem())
}

fn kubeconfig(dir: &Path, file: &str, address: &str, port: u16) -> Result<String> {
    let path = |name: String| text(&dir.join(name)).map(str::to_owned);
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "medley", "cluster": {
            "server": format!("https://{address}:{port}"),
            "certificate-authority": path("ca.crt".to_owned())?,
        }}],
        "users": [{"name": file, "user": {
            "client-certificate": path(format!("{file}.crt"))?,
            "client-key": path(format!("{file}.key"))?,
        }}],
        "contexts": [{"name": "medley", "context": {"cluster": "medley", "user": file}}],
        "current-context": "medley",
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

fn save(path: &Path, content: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
