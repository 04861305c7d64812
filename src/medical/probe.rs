//! One probe of one endpoint: connect, ask, classify what went wrong by the layer that failed.

use tokio::time::{Instant, timeout_at};

use super::{http_probe, tcp};
use crate::{
    api::medical_service::EndpointReason,
    core::{
        discovery::target::{ProbeKind, ProbeTarget},
        monitoring::health::ProbeOutcome,
    },
};

/// Probes an endpoint once. Takes no longer than the target's timeout, which covers connection and answer.
pub async fn probe(target: &ProbeTarget) -> ProbeOutcome {
    let deadline = Instant::now() + target.timeout;
    let address = (target.endpoint.address, target.endpoint.port).into();
    let stream = match timeout_at(deadline, tcp::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(reason)) => return ProbeOutcome::Failed(reason),
        Err(_) => return ProbeOutcome::Failed(EndpointReason::TcpTimeout),
    };
    let ProbeKind::Http { path, host } = &target.kind else { return ProbeOutcome::Answered };
    match timeout_at(deadline, http_probe::get(stream, path, host)).await {
        Ok(Ok(answer)) => {
            // what comes after the status does not change the outcome; taking in a little spares the service a broken pipe
            let _ = timeout_at(deadline, answer.finish()).await;
            ProbeOutcome::Answered
        }
        Ok(Err(reason)) => ProbeOutcome::Failed(reason),
        Err(_) => ProbeOutcome::Failed(EndpointReason::HttpTimeout),
    }
}
