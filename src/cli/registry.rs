//! Settings of the registry over HTTPS, and its start.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::review::Reviews,
    loops::{prober::ProbeIo, resolver::LookupIo},
    medical::calls::CallIo,
    operator::Operator,
    serve::{
        registry,
        tls::{Files, Listener},
    },
    telemetry::Metrics,
};

/// Settings; each has a variable of the environment too.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Where the registry of services is served over HTTPS, such as 0.0.0.0:8443. Nowhere when empty.
    #[arg(long, env = "MEDLEY_REGISTRY_LISTEN", default_value = "")]
    registry_listen: String,
    /// File with the certificate of the registry, in PEM, and those between it and its authority; read anew when it changes.
    #[arg(long, env = "MEDLEY_REGISTRY_CERT_FILE", default_value = "")]
    registry_cert_file: String,
    /// File with the key of the certificate, in PEM; read anew when it changes.
    #[arg(long, env = "MEDLEY_REGISTRY_KEY_FILE", default_value = "")]
    registry_key_file: String,
}

/// Where the registry is served, and with which certificate.
#[derive(Debug)]
pub(super) struct Settings {
    listen: SocketAddr,
    files: Files,
}

impl Args {
    pub(super) fn settings(&self) -> anyhow::Result<Option<Settings>> {
        let files = (self.registry_cert_file.as_str(), self.registry_key_file.as_str());
        if self.registry_listen.is_empty() {
            if files != ("", "") {
                bail!(
                    "--registry-listen: must be given with --registry-cert-file or --registry-key-file, which are of no use without"
                );
            }
            return Ok(None);
        }
        let listen = self.registry_listen.parse();
        let listen = listen.context("--registry-listen: must be an address with a port, such as 0.0.0.0:8443")?;
        let (certificate, key) = match files {
            ("", _) => bail!(
                "--registry-cert-file: must be given with --registry-listen, since tokens are never taken in the clear"
            ),
            (_, "") => bail!(
                "--registry-key-file: must be given with --registry-listen, since tokens are never taken in the clear"
            ),
            (certificate, key) => (certificate.into(), key.into()),
        };
        Ok(Some(Settings { listen, files: Files { certificate, key } }))
    }
}

/// Begins to serve the registry.
pub(super) async fn start<C: CallIo, P: ProbeIo, L: LookupIo>(
    settings: Settings,
    operator: &Operator<C, P, L>,
    client: Client,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = Listener::bind(settings.listen, settings.files).await?;
    let mirrors = operator.mirrors();
    let reviews = Arc::new(Reviews::new(client, metrics.clone()));
    let report = Arc::new(move || mirrors.report());
    let app = registry::router(operator.caches(), reviews, operator.guard(), report, stop.clone());
    tokio::spawn(listener.serve(app, stop.clone()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_registry_is_served_with_a_certificate_or_not_at_all() {
        let settings =
            |line: &str| Line::parse_from(["medley"].into_iter().chain(line.split_whitespace())).args.settings();
        assert!(settings("").unwrap().is_none());
        let all = "--registry-listen 127.0.0.1:0 --registry-cert-file c --registry-key-file k";
        assert!(settings(all).unwrap().is_some());
        for (line, flag) in [
            ("--registry-listen 8443 --registry-cert-file c --registry-key-file k", "--registry-listen"),
            ("--registry-listen 127.0.0.1:0 --registry-key-file k", "--registry-cert-file"),
            ("--registry-listen 127.0.0.1:0 --registry-cert-file c", "--registry-key-file"),
            ("--registry-cert-file c", "--registry-listen"),
        ] {
            let message = settings(line).unwrap_err().to_string();
            assert!(message.starts_with(flag) && message.contains("must"), "{line}: {message}");
        }
    }
}
