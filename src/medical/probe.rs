//! One probe of one endpoint: connect, ask, classify what went wrong by the layer that failed.

use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    dicom_probe, dicomweb_probe, fhir_probe, grpc_probe, hl7_probe, http_probe, tcp,
    tls::{Trust, valid_until},
};
use crate::{
    api::medical_service::EndpointReason,
    core::{
        discovery::target::{ProbeKind, ProbeTarget, Probed},
        hl7::probe_message,
        monitoring::health::ProbeOutcome,
    },
};

/// Probes an endpoint once. Takes no longer than the target's timeout, which covers connection, TLS and answer.
pub async fn probe(target: &ProbeTarget, trust: &Trust) -> Probed {
    let deadline = Instant::now() + target.timeout;
    let address = (target.endpoint.address, target.endpoint.port).into();
    let stream = match timeout_at(deadline, tcp::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(reason)) => return ProbeOutcome::Failed(reason).into(),
        Err(_) => return ProbeOutcome::Failed(EndpointReason::TcpTimeout).into(),
    };
    let Some(tls) = &target.tls else { return ask(stream, &target.kind, false, deadline).await };
    // who speaks HTTP/2 inside TLS wants it agreed upon there (RFC 9113 §3.2)
    let protocols: &[&[u8]] = if matches!(target.kind, ProbeKind::Grpc { .. }) { &[b"h2"] } else { &[] };
    match timeout_at(deadline, trust.secure(stream, tls, protocols)).await {
        Ok(Ok(stream)) => {
            let (certificate_expires, verdict) = (valid_until(&stream), stream.verdict().clone());
            let probed = ask(stream, &target.kind, true, deadline).await;
            match verdict.reason().filter(|_| probed.outcome != ProbeOutcome::Answered) {
                // what came of the question is only what follows from that
                Some(reason) => ProbeOutcome::Failed(reason).into(),
                None => Probed { certificate_expires, ..probed },
            }
        }
        Ok(Err(reason)) => ProbeOutcome::Failed(reason).into(),
        Err(_) => ProbeOutcome::Failed(EndpointReason::TlsFailed).into(),
    }
}

async fn ask<S>(stream: S, kind: &ProbeKind, secure: bool, deadline: Instant) -> Probed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match kind {
        ProbeKind::Tcp => ProbeOutcome::Answered.into(),
        ProbeKind::Http { path, host } => http(stream, path, host, deadline).await.into(),
        ProbeKind::DicomWeb { path, host } => match timeout_at(deadline, dicomweb_probe::ask(stream, path, host)).await
        {
            Ok(Ok(())) => ProbeOutcome::Answered,
            Ok(Err(reason)) => ProbeOutcome::Failed(reason),
            Err(_) => ProbeOutcome::Failed(EndpointReason::HttpTimeout),
        }
        .into(),
        ProbeKind::Fhir { path, host, declared } => timeout_at(deadline, fhir_probe::ask(stream, path, host, declared))
            .await
            .unwrap_or_else(|_| ProbeOutcome::Failed(EndpointReason::HttpTimeout).into()),
        ProbeKind::Dicom { titles, proposal } => dicom_probe::ask(stream, titles, proposal, deadline).await,
        ProbeKind::Grpc { service, host } => {
            match timeout_at(deadline, grpc_probe::ask(stream, host, secure, service)).await {
                Ok(Ok(())) => ProbeOutcome::Answered,
                Ok(Err(reason)) => ProbeOutcome::Failed(reason),
                Err(_) => ProbeOutcome::Failed(EndpointReason::HttpTimeout),
            }
            .into()
        }
        ProbeKind::Hl7(receiver) => {
            let now = Timestamp::now();
            // 20 characters at most (HL7 v2.5.1 §2.15.9.10), another one each time
            let control_id = format!("M{:x}", now.as_nanosecond());
            let message = probe_message::message(receiver, &control_id, now);
            match timeout_at(deadline, hl7_probe::ask(stream, &message, &control_id)).await {
                Ok(Ok(())) => ProbeOutcome::Answered,
                Ok(Err(reason)) => ProbeOutcome::Failed(reason),
                Err(_) => ProbeOutcome::Failed(EndpointReason::AckTimeout),
            }
            .into()
        }
    }
}

async fn http<S>(stream: S, path: &str, host: &str, deadline: Instant) -> ProbeOutcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match timeout_at(deadline, http_probe::get(stream, path, host, "*/*")).await {
        Ok(Ok(answer)) if !(200..=399).contains(&answer.status) => ProbeOutcome::Failed(EndpointReason::HttpStatus),
        Ok(Ok(answer)) => {
            // what comes after the status does not change the outcome; taking in a little spares the service a broken pipe
            let _ = timeout_at(deadline, answer.finish()).await;
            ProbeOutcome::Answered
        }
        Ok(Err(reason)) => ProbeOutcome::Failed(reason),
        Err(_) => ProbeOutcome::Failed(EndpointReason::HttpTimeout),
    }
}
