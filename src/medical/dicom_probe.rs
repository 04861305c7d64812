//! A probe of a DICOM service: does it associate with medley, and answer an echo?

use std::io::ErrorKind;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant, timeout_at},
};

use super::{
    dicom::{Echo, Failure},
    tcp,
};
use crate::{
    api::medical_service::EndpointReason,
    core::dicom::{self, Rejection, Titles},
};

/// Longest time for the end of an association. Its outcome is known by then.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// Sends C-ECHO, until `deadline` at most.
///
/// # Errors
/// The layer that failed.
pub async fn ask<S>(stream: S, titles: &Titles, deadline: Instant) -> Result<(), EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut echo = Echo::new(stream, titles).map_err(reason)?;
    let found = timeout_at(deadline, echo.ask()).await;
    // an association is ended, not dropped
    let _ = timeout_at(deadline.min(Instant::now() + FAREWELL), echo.finish()).await;
    match found {
        Ok(found) => found.map_err(reason),
        Err(_) => Err(EndpointReason::AssociationTimeout),
    }
}

/// The layer that a failure speaks of.
const fn reason(failure: Failure) -> EndpointReason {
    match failure {
        // a service that wants TLS does this too
        Failure::Io(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe) => {
            EndpointReason::AssociationAborted
        }
        Failure::Io(kind) => tcp::classify(kind),
        Failure::Dicom(dicom::Failure::Invalid) => EndpointReason::DicomInvalid,
        Failure::Dicom(dicom::Failure::Closed | dicom::Failure::Aborted) => EndpointReason::AssociationAborted,
        Failure::Dicom(dicom::Failure::Titles | dicom::Failure::Rejected(Rejection::Calling | Rejection::Called)) => {
            EndpointReason::AeTitleRejected
        }
        Failure::Dicom(dicom::Failure::Rejected(Rejection::Overloaded)) => EndpointReason::Overloaded,
        Failure::Dicom(dicom::Failure::Rejected(Rejection::Other)) => EndpointReason::AssociationRejected,
        Failure::Dicom(dicom::Failure::ContextRefused) => EndpointReason::PresentationContextRefused,
        Failure::Dicom(dicom::Failure::Status(_)) => EndpointReason::EchoFailed,
    }
}

#[cfg(test)]
#[path = "dicom_probe_tests.rs"]
mod tests;
