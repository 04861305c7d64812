//! A probe of a gRPC server: what its health service says (`grpc.health.v1.Health/Check`), by one request in HTTP/2.

use http::{HeaderMap, Request, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use super::http_probe;
use crate::{
    api::medical_service::EndpointReason,
    core::grpc::{self, MAX_ANSWER, MEDIA_TYPE, Serving, Status},
};

/// Most bytes of an answer's head, and of its trailers.
const MAX_HEAD: u32 = 16 * 1024;
/// Most bytes that may be under way at a time: an answer has a few.
const WINDOW: u32 = 64 * 1024;

/// The task that moves the bytes; it ends with the probe, however that ends.
struct Connection(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks whether a service serves, the whole server where its name is empty. `authority` is the host as it is known, with its port.
///
/// # Errors
/// The layer that failed. The caller bounds the time.
pub async fn ask<S>(stream: S, authority: &str, secure: bool, service: &str) -> Result<(), EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(MAX_HEAD).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| classify(&e))?;
    let mut connection = Connection(tokio::spawn(connection));
    let scheme = if secure { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{authority}{}", grpc::PATH))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, concat!("medley-probe/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(grpc::request(service))))
        .map_err(|_| EndpointReason::GrpcInvalid)?;
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        // the connection knows why there is none any more
        Err(error) if error.is_canceled() || error.is_closed() => match (&mut connection.0).await {
            Ok(Err(error)) => return Err(classify(&error)),
            _ => return Err(EndpointReason::TcpFailed),
        },
        Err(error) => return Err(classify(&error)),
    };
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => return Err(EndpointReason::Unauthorized),
        _ => return Err(EndpointReason::HttpStatus),
    }
    let media_type = answer.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if !media_type.is_some_and(|text| text.starts_with(MEDIA_TYPE.as_bytes())) {
        return Err(EndpointReason::GrpcInvalid);
    }
    // an answer without a message has its status in its head
    if let Some(status) = status(answer.headers())? {
        failed(status)?;
    }
    let (mut body, mut whole, mut ended) = (answer.into_body(), Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| classify(&e))?;
        if let Some(trailers) = frame.trailers_ref() {
            ended = status(trailers)?;
        } else if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > MAX_ANSWER {
                return Err(EndpointReason::GrpcInvalid);
            }
            whole.extend_from_slice(data);
        }
    }
    // without one nobody knows whether the answer is whole
    failed(ended.ok_or(EndpointReason::GrpcInvalid)?)?;
    match grpc::read(&whole).map_err(|_| EndpointReason::GrpcInvalid)? {
        Serving::Serving => Ok(()),
        Serving::NotServing => Err(EndpointReason::NotServing),
        Serving::ServiceUnknown => Err(EndpointReason::ServiceUnknown),
    }
}

fn status(headers: &HeaderMap) -> Result<Option<Status>, EndpointReason> {
    let Some(value) = headers.get("grpc-status") else { return Ok(None) };
    Status::read(value.as_bytes()).map(Some).map_err(|_| EndpointReason::GrpcInvalid)
}

const fn failed(status: Status) -> Result<(), EndpointReason> {
    match status {
        Status::Ok => Ok(()),
        Status::NotFound => Err(EndpointReason::ServiceUnknown),
        Status::Unauthorized => Err(EndpointReason::Unauthorized),
        Status::Overloaded => Err(EndpointReason::Overloaded),
        Status::Unimplemented => Err(EndpointReason::HealthUnimplemented),
        Status::Other => Err(EndpointReason::GrpcStatus),
    }
}

/// Whether the connection broke or what came is not HTTP/2.
fn classify(error: &hyper::Error) -> EndpointReason {
    http_probe::classify(error, EndpointReason::GrpcInvalid)
}

#[cfg(test)]
#[path = "grpc_probe_tests.rs"]
mod tests;
