//! The message of a probe: network management, which names no patient and asks for no work.

use jiff::{Timestamp, tz::TimeZone};

/// Whom the message is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Receiver {
    /// MSH-5, the receiving application.
    pub application: String,
    /// MSH-6, the receiving facility.
    pub facility: String,
}

/// `NMD^N02` (HL7 v2.5.1 §14.4.1) with the processing id `D`, debugging (table 0103). `control_id` is MSH-10.
#[must_use]
pub fn message(receiver: &Receiver, control_id: &str, now: Timestamp) -> Vec<u8> {
    let at = now.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S");
    let Receiver { application, facility } = receiver;
    format!(
        "MSH|^~\\&|MEDLEY|PROBE|{application}|{facility}|{at}||NMD^N02^NMD_N02|{control_id}|D|2.5.1|||AL|AL\rNST|N\r"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_network_management_for_debugging() {
        let receiver = Receiver { application: "LAB".to_owned(), facility: "NORTH".to_owned() };
        let message = message(&receiver, "42", Timestamp::from_second(1_800_000_000).unwrap());
        assert_eq!(
            String::from_utf8(message).unwrap(),
            "MSH|^~\\&|MEDLEY|PROBE|LAB|NORTH|20270115080000||NMD^N02^NMD_N02|42|D|2.5.1|||AL|AL\rNST|N\r"
        );
    }
}
