//! HL7 version 2 as bytes: frames of MLLP, the little of a message that tells what it is, and acknowledgements. No I/O.
//!
//! Sources: HL7 v2.5.1 chapter 2 (messages, acknowledgements) and the "Transport Specification: MLLP, Release 1" of HL7.

pub mod ack;
pub mod mllp;
pub mod outgoing;
pub mod probe_message;
