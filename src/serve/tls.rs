//! HTTPS: connections are bounded in number and in the time they may take to begin, and the certificate may change while it is in use.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Most connections at a time.
const CONNECTIONS: usize = 512;
/// How long a client may take to agree on TLS, and then to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Wait after a failure to accept, such as too many open files.
const AGAIN: Duration = Duration::from_millis(100);

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

struct Identity {
    files: Files,
    read: (Vec<u8>, Vec<u8>),
    looked: Instant,
    config: Arc<ServerConfig>,
}

impl Identity {
    async fn load(files: Files) -> anyhow::Result<Self> {
        let read = contents(&files).await?;
        let config = config(&read)?;
        Ok(Self { files, read, looked: Instant::now(), config })
    }

    /// What is in the files now; where that is nothing usable, what was in them before.
    async fn current(&mut self) -> Arc<ServerConfig> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            match contents(&self.files).await {
                Ok(read) if read == self.read => {}
                Ok(read) => {
                    match config(&read) {
                        Ok(config) => {
                            tracing::info!("the registry's certificate has changed");
                            self.config = config;
                        }
                        Err(error) => {
                            tracing::warn!(error = %error, "the registry's new certificate is of no use; the former one stays");
                        }
                    }
                    self.read = read;
                }
                // files are being replaced just now
                Err(_) => {}
            }
        }
        Arc::clone(&self.config)
    }
}

async fn contents(files: &Files) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let certificate = tokio::fs::read(&files.certificate).await.context("--registry-cert-file: cannot be read")?;
    let key = tokio::fs::read(&files.key).await.context("--registry-key-file: cannot be read")?;
    Ok((certificate, key))
}

fn config((certificate, key): &(Vec<u8>, Vec<u8>)) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("--registry-cert-file: must hold certificates in PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| anyhow!("--registry-key-file: must hold a private key in PEM"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.context("--registry-cert-file and --registry-key-file: must belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A listener that is bound and has its certificate.
pub struct Listener {
    listener: TcpListener,
    identity: Identity,
}

impl Listener {
    /// Binds the address and reads the certificate.
    ///
    /// # Errors
    /// When either cannot be done.
    pub async fn bind(listen: std::net::SocketAddr, files: Files) -> anyhow::Result<Self> {
        let identity = Identity::load(files).await?;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        tracing::info!(address = %listener.local_addr()?, "serving the registry");
        Ok(Self { listener, identity })
    }

    /// Serves until stopped; streams end then.
    pub async fn serve(mut self, app: Router, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            // one too many is closed at once: whoever waited for it could not tell it from a server that hangs
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
            let (config, app) = (self.identity.current().await, app.clone());
            connections.spawn(async move {
                let _slot = slot;
                connection(stream, config, app).await;
            });
        }
    }
}

/// One connection; how it ends is the client's matter.
async fn connection(stream: TcpStream, config: Arc<ServerConfig>, app: Router) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await else { return };
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
    let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_certificate_is_refused_by_the_flag_that_names_it() {
        let folder = std::env::temp_dir().join(format!("medley-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files { certificate: folder.join("cert"), key: folder.join("key") };
        let refused = async || Identity::load(files.clone()).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused().await.starts_with("--registry-cert-file"));
        std::fs::write(&files.certificate, "").unwrap();
        assert!(refused().await.starts_with("--registry-key-file"));
        std::fs::write(&files.key, "nothing").unwrap();
        assert!(refused().await.starts_with("--registry-key-file"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
