//! A probe of a DICOM service: does it associate with medley, and answer an echo?

use std::io::ErrorKind;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    dicom::{Association, Failure},
    tcp,
};
use crate::{
    api::medical_service::EndpointReason,
    core::{
        dicom::{
            self, Rejection, Titles,
            association::{Ask, Done},
            contexts::{Accepted, Proposal},
        },
        discovery::{
            capability::{Contexts, Facts, refused},
            target::Probed,
        },
        monitoring::health::ProbeOutcome,
    },
};

/// Asks for an association that accepts what is declared, and sends C-ECHO, until `deadline` at most. Nothing is sent in the contexts that
/// are declared: to propose them tells what the service takes.
pub async fn ask<S>(stream: S, titles: &Titles, proposal: &Proposal, deadline: Instant) -> Probed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match accepted(stream, titles, proposal, deadline).await {
        Ok(_) if proposal.is_empty() => ProbeOutcome::Answered.into(),
        Ok(accepted) => {
            let contexts = Contexts { proposed: proposal.clone(), accepted };
            let fits = refused(&contexts).is_empty();
            let outcome =
                if fits { ProbeOutcome::Answered } else { ProbeOutcome::Failed(EndpointReason::CapabilityMismatch) };
            Probed { facts: Some(Facts::Dicom(contexts)), ..Probed::from(outcome) }
        }
        Err(reason) => ProbeOutcome::Failed(reason).into(),
    }
}

async fn accepted<S>(
    stream: S,
    titles: &Titles,
    proposal: &Proposal,
    deadline: Instant,
) -> Result<Accepted, EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut association = Association::new(stream, titles, Ask::Echo(proposal.clone())).map_err(reason)?;
    let found = timeout_at(deadline, association.ask()).await;
    // an association is ended, not dropped
    association.finish(deadline).await;
    match found {
        Ok(Ok(Done::Echoed(accepted))) => Ok(accepted),
        // not what was asked
        Ok(Ok(Done::Found(_))) => Err(EndpointReason::DicomInvalid),
        Ok(Err(failure)) => Err(reason(failure)),
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
