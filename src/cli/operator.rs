//! `medley operator`: runs the operator until SIGTERM or SIGINT.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::registry;
use crate::{
    api::Span,
    cluster::{
        clock::Clock,
        leader::{self, Settings as LeaseSettings},
        perform::CALL_TIMEOUT,
    },
    core::discovery::guard::{AddressGuard, Range},
    loops::{
        dns,
        influxdb::{self, Sink},
        prober, signals,
    },
    medical::{calls, tls::Trust},
    operator::{Operator, Settings, World},
    serve,
    telemetry::{LogFormat, Metrics, start_logs},
};

/// Settings; each has a variable of the environment too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Namespaces to look after, separated by commas; the whole cluster when empty.
    #[arg(long, env = "MEDLEY_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Namespace of the lease that the leader holds.
    #[arg(long, env = "MEDLEY_LEASE_NAMESPACE")]
    lease_namespace: String,
    /// Name of the lease.
    #[arg(long, env = "MEDLEY_LEASE_NAME", default_value = "medley")]
    lease_name: String,
    /// Name of this replica; part of its identity as the lease's holder.
    #[arg(long, env = "POD_NAME", default_value = "medley")]
    pod_name: String,
    /// How long a leader that is silent keeps the lease; whole seconds.
    #[arg(long, env = "MEDLEY_LEASE_DURATION", default_value = "15s")]
    lease_duration: Span,
    /// How long after its last renewal a leader goes on writing.
    #[arg(long, env = "MEDLEY_RENEW_DEADLINE", default_value = "10s")]
    renew_deadline: Span,
    /// Time between two tries to get or renew the lease.
    #[arg(long, env = "MEDLEY_RETRY_PERIOD", default_value = "2s")]
    retry_period: Span,
    /// The cluster's DNS domain.
    #[arg(long, env = "MEDLEY_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Whether capacity is granted by CapacityPools, which needs the right to see them and the labels of namespaces; without it
    /// the steps of workflows wait for whose policy names a pool.
    #[arg(long, env = "MEDLEY_POOLS", default_value_t = true, action = clap::ArgAction::Set)]
    pools: bool,
    /// Objects of each kind that are looked at together.
    #[arg(long, env = "MEDLEY_WORKERS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Ranges of addresses that calls and probes may go to although medley refuses them by itself, such as 127.0.0.0/8; separated
    /// by commas. Of all ranges that hold an address the one with the longest prefix decides.
    #[arg(long, env = "MEDLEY_ALLOWED_RANGES", value_delimiter = ',')]
    allowed_ranges: Vec<String>,
    /// Ranges of addresses that calls and probes must not go to, such as 10.0.0.0/8; separated by commas.
    #[arg(long, env = "MEDLEY_DENIED_RANGES", value_delimiter = ',')]
    denied_ranges: Vec<String>,
    /// Folder of client certificates that services may show to whom they talk to, as files <NAMESPACE>/<NAME>/tls.crt and tls.key in
    /// PEM: those of a namespace are for its services only. A file that changes is read again.
    #[arg(long, env = "MEDLEY_CLIENT_CERTIFICATES")]
    // no path, since the chart sets the variable empty where there are none, and an empty path is refused
    client_certificates: Option<OsString>,
    /// Address of the API server as pods reach it, which services must not have; Kubernetes sets the variable.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    api_server_host: Option<String>,
    #[command(flatten)]
    mirrors: super::mirrors::Args,
    #[command(flatten)]
    registry: super::registry::Args,
    #[command(flatten)]
    influxdb: super::influxdb::Args,
    #[command(flatten)]
    signals: super::signals::Args,
    /// Where /live, /ready and /metrics are served.
    #[arg(long, env = "MEDLEY_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Log filter, such as info or medley=debug.
    #[arg(long, env = "MEDLEY_LOG", default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, env = "MEDLEY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Args {
    fn settings(&self) -> anyhow::Result<Settings> {
        let (duration, deadline, retry) =
            (self.lease_duration.duration(), self.renew_deadline.duration(), self.retry_period.duration());
        if duration.subsec_millis() != 0 {
            bail!("--lease-duration: a Lease holds whole seconds; write {}s", duration.as_secs() + 1);
        }
        if retry.is_zero() || retry * 2 > deadline {
            bail!(
                "--retry-period: must be more than 0 and at most half of --renew-deadline, so that a lost call is made up for"
            );
        }
        if deadline + CALL_TIMEOUT > duration {
            bail!(
                "--renew-deadline: must be at least {CALL_TIMEOUT:?} shorter than --lease-duration, so that a call under way ends before another replica can lead"
            );
        }
        let identity = leader::identity(&self.pod_name, Timestamp::now(), std::process::id());
        Ok(Settings {
            namespaces: self.namespaces.iter().filter(|n| !n.is_empty()).cloned().collect(),
            cluster_domain: self.cluster_domain.clone(),
            workers: usize::from(self.workers),
            pools: self.pools,
            guard: Arc::new(self.guard()?),
            mirrors: self.mirrors.settings()?,
            lease: LeaseSettings {
                namespace: self.lease_namespace.clone(),
                name: self.lease_name.clone(),
                identity,
                duration,
                renew_deadline: deadline,
                retry_period: retry,
            },
        })
    }
}

impl Args {
    fn guard(&self) -> anyhow::Result<AddressGuard> {
        let ranges = |flag: &str, texts: &[String]| -> anyhow::Result<Vec<Range>> {
            let texts = texts.iter().map(|t| t.trim()).filter(|t| !t.is_empty());
            texts.map(|t| t.parse().map_err(|e| anyhow!("{flag}: {e}"))).collect()
        };
        // where it is a name, no address can be told by it
        let api_server: Option<IpAddr> = self.api_server_host.as_deref().and_then(|h| h.parse().ok());
        Ok(AddressGuard::new(
            ranges("--allowed-ranges", &self.allowed_ranges)?,
            ranges("--denied-ranges", &self.denied_ranges)?,
            api_server.into_iter().collect(),
        ))
    }
}

/// Runs the operator.
///
/// # Errors
/// When a setting is wrong, there is no cluster to talk to, or the address cannot be bound.
pub fn run(args: &Args) -> anyhow::Result<()> {
    start_logs(&args.log, args.log_format)?;
    let settings = args.settings()?;
    let registry = args.registry.settings()?;
    let influxdb = args.influxdb.settings(&args.pod_name)?;
    // kube and reqwest agree on one provider; it can only be set once
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let signals = args.signals.source()?;
    let trust = Arc::new(Trust::new(args.client_certificates.clone().filter(|f| !f.is_empty()).map(PathBuf::from)));
    let running = start(args.listen, registry, influxdb, (trust, signals), settings);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(running)
}

async fn start(
    listen: SocketAddr,
    registry: Option<registry::Settings>,
    influxdb: Option<influxdb::Settings>,
    (trust, signals): (Arc<Trust>, Option<signals::Source>),
    settings: Settings,
) -> anyhow::Result<()> {
    let mut config =
        kube::Config::infer().await.context("there is no cluster to talk to: run in a pod, or set KUBECONFIG")?;
    // retries are medley's own: each attempt has to see whether this process still leads
    config.default_retry = false;
    let client = kube::Client::try_from(config).context("cannot make a client for the API server")?;
    let metrics = Metrics::default();
    let guard = Arc::clone(&settings.guard);
    let world = World {
        client: client.clone(),
        calls: calls::Network::new(Arc::clone(&guard), Arc::clone(&trust)).context("cannot make an HTTP client")?,
        probes: prober::Network { guard, trust },
        lookups: dns::NameServers::from_system().context("cannot read the system's DNS settings")?,
        signals,
        clock: Clock::System,
    };
    let operator = Operator::new(settings, world, metrics.clone());
    let stop = CancellationToken::new();
    if let Some(registry) = registry {
        registry::start(registry, &operator, client, &metrics, &stop).await?;
    }
    if let Some(influxdb) = influxdb {
        let sink = Sink::new(influxdb, Clock::System, metrics.clone()).context("cannot make a client for InfluxDB")?;
        tokio::spawn(sink.run(stop.clone()));
    }
    let serving = tokio::spawn(serve::serve(listen, operator.caches(), metrics, stop.clone()));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = tokio::spawn(operator.run(stop.clone()));
    tokio::pin!(serving, running);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: handing over"),
        _ = interrupt.recv() => tracing::info!("SIGINT: handing over"),
        ended = &mut running => bail!("the operator ended by itself: {ended:?}"),
        ended = &mut serving => {
            stop.cancel();
            ended??;
            bail!("the HTTP server ended by itself");
        }
    }
    stop.cancel();
    running.await.context("the operator panicked")?;
    serving.await??;
    Ok(())
}
