//! DICOM's upper layer as bytes, as far as medley needs it: an association, C-ECHO or C-FIND in it, and their end. No I/O.
//!
//! Sources: DICOM PS3.8 §9.3 (PDUs), PS3.7 §9.3 (C-ECHO, C-FIND, C-CANCEL) and §6.3 (command sets), PS3.4 annexes C and K (queries),
//! PS3.5 §6.2 (AE titles, UIDs) and annex A.1 (data sets).
//!
//! What is sent is written by `dicom-ul`, which also reads P-DATA. What answers a request for an association is read here: that crate
//! takes a refused context without a transfer syntax, and a rejection or an abort for a reserved reason, for no DICOM at all.

pub mod association;
pub mod attribute;
pub mod command;
pub mod contexts;
mod dataset;
pub mod find;
pub mod pdu;
mod sent;

/// SOP class that C-ECHO belongs to (PS3.4 annex A.4).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Who speaks to whom. AE titles are names, not a proof of who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Titles {
    /// The AE title of the service.
    pub called: String,
    /// medley's own.
    pub calling: String,
}

/// Why there is no good answer, by the layer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// One of the titles cannot be sent: it is empty, too long, or has characters that no AE title has.
    Titles,
    /// What answers does not speak DICOM, or not what the standard lets it say here.
    Invalid,
    /// The connection was closed before the end.
    Closed,
    /// The other side aborted or ended the association.
    Aborted,
    /// There is no association.
    Rejected(Rejection),
    /// There is an association, but not for the SOP class of what is asked.
    ContextRefused,
    /// C-ECHO was answered with this status (PS3.7 §C), which is not success.
    Status(u16),
}

/// Why there is no association, as A-ASSOCIATE-RJ says (PS3.8 §9.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The calling AE title is not recognized.
    Calling,
    /// The called AE title is not recognized.
    Called,
    /// It may work later: rejected for now, or for congestion or a limit.
    Overloaded,
    /// Another reason.
    Other,
}

impl Rejection {
    /// By the fields result, source and reason. Who does not know a title will not know it in a moment, whatever result it says.
    #[must_use]
    pub const fn of(result: u8, source: u8, reason: u8) -> Self {
        match (result, source, reason) {
            (_, 1, 3) => Self::Calling,
            (_, 1, 7) => Self::Called,
            (2, _, _) | (_, 3, _) => Self::Overloaded,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod question_tests;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn hex(text: &str) -> Vec<u8> {
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        text.as_bytes().chunks(2).map(byte).collect()
    }

    #[test]
    fn a_rejection_is_told_by_its_cause_and_not_by_its_number() {
        for (result, source, reason, wanted) in [
            (1, 1, 3, Rejection::Calling),
            (1, 1, 7, Rejection::Called),
            (2, 1, 7, Rejection::Called),
            (2, 1, 1, Rejection::Overloaded),
            (2, 3, 1, Rejection::Overloaded),
            (1, 3, 2, Rejection::Overloaded),
            (1, 1, 1, Rejection::Other),
            (1, 1, 2, Rejection::Other),
            (1, 2, 2, Rejection::Other),
            (0, 0, 0, Rejection::Other),
            (1, 1, 10, Rejection::Other),
        ] {
            assert_eq!(Rejection::of(result, source, reason), wanted, "{result}/{source}/{reason}");
        }
    }
}
