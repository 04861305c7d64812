//! HTTP: alive, ready, metrics; and over HTTPS the registry.

mod access;
mod answers;
pub mod registry;
mod stream;
pub mod tls;

use std::net::SocketAddr;

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio_util::sync::CancellationToken;

use crate::{cluster::observe::Caches, telemetry::Metrics};

/// What the handlers read.
#[derive(Clone)]
struct Shown {
    caches: Caches,
    metrics: Metrics,
}

/// Serves until stopped.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    caches: Caches,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(address = %listener.local_addr()?, "serving /live, /ready and /metrics");
    let app = Router::new()
        .route("/live", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(show_metrics))
        .with_state(Shown { caches, metrics });
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.context("the HTTP server failed")
}

/// Ready: every watch has read its first list. A replica that does not lead is ready too.
async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    if shown.caches.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not every watch has read its first list: are the CRDs installed?\n")
    }
}

async fn show_metrics(State(shown): State<Shown>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], shown.metrics.render())
}
