//! C-FIND (PS3.7 §9.1.2, PS3.4 annexes C and K): what is asked, and what the answers say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    attribute::{Scope, form, tag},
    dataset::{Content, element, elements, sequence},
    pdu::Invalid,
};
use crate::api::{
    dicom::DicomAttribute,
    vocabulary::{ErrorClass, Urgency},
};

/// Matches that are returned where nobody says how many.
pub const LIMIT: u16 = 100;
/// Most bytes of all matches together that are taken in.
pub const MAX_MATCHES: usize = 256 * 1024;
/// (0008,0052), Query/Retrieve Level.
const LEVEL: u32 = 0x0008_0052;
/// (0040,0100), Scheduled Procedure Step Sequence.
const STEP_SEQUENCE: u32 = 0x0040_0100;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is looked for.
    pub scope: Scope,
    /// What must match.
    pub keys: BTreeMap<DicomAttribute, String>,
    /// What is returned.
    pub returned: Vec<DicomAttribute>,
    /// Most matches.
    pub limit: u16,
}

/// What has come of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The last status (PS3.7 annex C, PS3.4 table C.4-1): 0 is success, and so is what medley has cancelled.
    pub status: u16,
    /// What was asked for, of each match.
    pub matches: Vec<Map<String, Value>>,
    /// Whether these are all.
    pub complete: bool,
}

impl Query {
    /// The data set of the request: what must match, and empty what is to be returned (PS3.4 §C.2.2.1).
    #[must_use]
    pub fn identifier(&self) -> Vec<u8> {
        let (mut own, mut of_step) = (BTreeMap::new(), BTreeMap::new());
        let asked = self.scope.unique_keys().iter().chain(&self.returned).chain(self.keys.keys());
        for &attribute in asked {
            let value = self.keys.get(&attribute).map(String::as_str).unwrap_or_default();
            let written = element(tag(attribute), value.as_bytes(), form(attribute).padding());
            let place = if self.scope.nested(attribute) { &mut of_step } else { &mut own };
            place.insert(tag(attribute), written);
        }
        match self.scope.level() {
            Some(level) => own.insert(LEVEL, element(LEVEL, level.as_bytes(), b' ')),
            None => own.insert(STEP_SEQUENCE, sequence(STEP_SEQUENCE, &joined(of_step))),
        };
        joined(own)
    }

    /// What is to be returned of a match; all else in it is passed over.
    ///
    /// # Errors
    /// When it is no data set.
    pub fn read(&self, identifier: &[u8]) -> Result<Map<String, Value>, Invalid> {
        let mut found = Map::new();
        for (at, content) in elements(identifier)? {
            if at == STEP_SEQUENCE && self.scope == Scope::Worklist {
                // a match is one step (PS3.4 §K.6.1.2.2)
                if let Some(step) = content.items()?.first() {
                    for (at, content) in elements(step)? {
                        self.take(at, &content, true, &mut found);
                    }
                }
            } else {
                self.take(at, &content, false, &mut found);
            }
        }
        Ok(found)
    }

    fn take(&self, at: u32, content: &Content<'_>, nested: bool, found: &mut Map<String, Value>) {
        let wanted = self.returned.iter().find(|a| tag(**a) == at && self.scope.nested(**a) == nested);
        if let (Some(&attribute), Content::Bytes(bytes)) = (wanted, content)
            && let Some(value) = form(attribute).read(bytes)
        {
            found.insert(attribute.as_str().to_owned(), value);
        }
    }
}

fn joined(elements: BTreeMap<u32, Vec<u8>>) -> Vec<u8> {
    elements.into_values().flatten().collect()
}

impl Found {
    /// The kind of failure that a status other than 0 is: out of resources may pass, and so may what the service could not process;
    /// all else is refused (PS3.4 table C.4-1, PS3.7 annex C).
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self.status {
            0xA700..=0xA7FF | 0x0213 => ErrorClass::Overloaded,
            0xC000..=0xCFFF | 0x0110 => ErrorClass::ServerError,
            _ => ErrorClass::Rejected,
        }
    }
}

/// (0000,0700) of a request: 1 is high, 2 is low, 0 is neither (PS3.7 §9.3.2.1).
#[must_use]
pub const fn priority(urgency: Urgency) -> u16 {
    match urgency {
        Urgency::Stat | Urgency::Asap => 1,
        Urgency::Urgent | Urgency::Routine => 0,
        Urgency::Batch => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::dicom::{DicomAttribute as A, DicomLevel};

    fn query(scope: Scope, keys: &[(A, &str)], returned: &[A]) -> Query {
        let keys = keys.iter().map(|(a, v)| (*a, (*v).to_owned())).collect();
        Query { scope, keys, returned: returned.to_vec(), limit: 10 }
    }

    #[test]
    fn a_question_has_its_level_its_keys_and_what_is_wanted_in_the_order_of_tags() {
        let study = query(
            Scope::StudyRoot(DicomLevel::Study),
            &[(A::ModalitiesInStudy, "CT"), (A::StudyDate, "20261101-")],
            &[A::StudyInstanceUid, A::NumberOfStudyRelatedInstances],
        );
        let wanted = [
            element(0x0008_0020, b"20261101-", b' '),
            element(0x0008_0052, b"STUDY", b' '),
            element(0x0008_0061, b"CT", b' '),
            element(0x0020_000D, b"", 0),
            element(0x0020_1208, b"", b' '),
        ];
        assert_eq!(study.identifier(), wanted.concat());
        let image = query(
            Scope::StudyRoot(DicomLevel::Image),
            &[(A::StudyInstanceUid, "1.2"), (A::SeriesInstanceUid, "1.2.3")],
            &[],
        );
        let wanted = [
            element(0x0008_0018, b"", 0),
            element(0x0008_0052, b"IMAGE", b' '),
            element(0x0020_000D, b"1.2", 0),
            element(0x0020_000E, b"1.2.3", 0),
        ];
        assert_eq!(image.identifier(), wanted.concat());
        let list = query(
            Scope::Worklist,
            &[(A::Modality, "CT"), (A::ScheduledStationAeTitle, "CT1")],
            &[A::StudyInstanceUid, A::RequestedProcedurePriority],
        );
        let step = [element(0x0008_0060, b"CT", b' '), element(0x0040_0001, b"CT1", b' ')].concat();
        let wanted = [element(0x0020_000D, b"", 0), sequence(0x0040_0100, &step), element(0x0040_1003, b"", b' ')];
        assert_eq!(list.identifier(), wanted.concat());
    }

    #[test]
    fn of_a_match_only_what_was_asked_for_is_read() {
        let answer = [
            element(0x0008_0052, b"STUDY", b' '),
            element(0x0008_0061, b"CT\\SR", b' '),
            element(0x0010_0010, b"DOE^JOHN", b' '),
            element(0x0010_0020, b"4711", b' '),
            element(0x0020_000D, b"1.2.3", 0),
            element(0x0020_1208, b"DOE", b' '),
        ]
        .concat();
        let wanted = [A::StudyInstanceUid, A::ModalitiesInStudy, A::NumberOfStudyRelatedInstances];
        let study = query(Scope::StudyRoot(DicomLevel::Study), &[], &wanted);
        let found = study.read(&answer).unwrap();
        assert_eq!(Value::Object(found), json!({"StudyInstanceUID": "1.2.3", "ModalitiesInStudy": ["CT", "SR"]}));
        assert!(query(Scope::StudyRoot(DicomLevel::Study), &[], &[]).read(&answer).unwrap().is_empty());
        assert_eq!(study.read(&answer[..answer.len() - 1]), Err(Invalid));
    }

    #[test]
    fn of_a_worklist_the_step_is_read_and_not_what_is_beside_it() {
        let step = [element(0x0008_0060, b"CT", b' '), element(0x0040_0006, b"DOE^JANE", b' ')].concat();
        let answer = [
            element(0x0008_0060, b"MR", b' '),
            element(0x0020_000D, b"1.2", 0),
            sequence(0x0040_0100, &step),
            element(0x0040_1003, b"STAT", b' '),
        ]
        .concat();
        let list = query(Scope::Worklist, &[], &[A::Modality, A::StudyInstanceUid, A::RequestedProcedurePriority]);
        let found = list.read(&answer).unwrap();
        let wanted = json!({"Modality": "CT", "StudyInstanceUID": "1.2", "RequestedProcedurePriority": "STAT"});
        assert_eq!(Value::Object(found), wanted);
        let empty = [element(STEP_SEQUENCE, b"", 0), element(0x0040_1003, b"LOW", b' ')].concat();
        assert_eq!(Value::Object(list.read(&empty).unwrap()), json!({"RequestedProcedurePriority": "LOW"}));
    }

    #[test]
    fn a_status_says_whether_to_ask_again() {
        let class = |status| Found { status, matches: Vec::new(), complete: true }.class();
        for status in [0xA700, 0xA701, 0x0213] {
            assert_eq!(class(status), ErrorClass::Overloaded, "{status:04X}");
        }
        for status in [0xC000, 0xC123, 0xCFFF, 0x0110] {
            assert_eq!(class(status), ErrorClass::ServerError, "{status:04X}");
        }
        for status in [0xA900, 0x0122, 0x0124, 0x0211, 0xFE00, 0xB000] {
            assert_eq!(class(status), ErrorClass::Rejected, "{status:04X}");
        }
    }

    #[test]
    fn what_is_urgent_is_asked_with_a_high_priority() {
        assert_eq!(Urgency::ALL.map(priority), [2, 0, 0, 1, 1]);
    }

    proptest! {
        #[test]
        fn any_match_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), worklist in any::<bool>()) {
            let scope = if worklist { Scope::Worklist } else { Scope::StudyRoot(DicomLevel::Series) };
            let _ = query(scope, &[], &[A::Modality]).read(&bytes);
        }
    }
}
