//! What is known of each attribute that a query may name: where it stands, what its values look like, and who may ask for it
//! (PS3.6; PS3.4 tables C.6-1 to C.6-5 and K.6-1).

use serde_json::Value;

use crate::api::dicom::{DicomAttribute, DicomAttribute as A, DicomLevel, DicomModel};

/// Most values of an attribute with several that are kept.
const MAX_VALUES: usize = 32;

/// What is asked, and at which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Study Root, at this level.
    StudyRoot(DicomLevel),
    /// The modality worklist.
    Worklist,
}

/// What an attribute's value looks like (PS3.5 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// UI: a UID.
    Uid,
    /// UI with several values.
    Uids,
    /// CS; and SH where the standard defines codes for it.
    Code,
    /// CS with several values.
    Codes,
    /// IS: a whole number.
    Integer,
    /// DA: a date, or a range where it is matched.
    Date,
    /// AE: an AE title.
    Title,
}

/// Group and element.
#[must_use]
pub const fn tag(attribute: DicomAttribute) -> u32 {
    match attribute {
        A::SopClassUid => 0x0008_0016,
        A::SopInstanceUid => 0x0008_0018,
        A::StudyDate => 0x0008_0020,
        A::InstanceAvailability => 0x0008_0056,
        A::Modality => 0x0008_0060,
        A::ModalitiesInStudy => 0x0008_0061,
        A::SopClassesInStudy => 0x0008_0062,
        A::BodyPartExamined => 0x0018_0015,
        A::StudyInstanceUid => 0x0020_000D,
        A::SeriesInstanceUid => 0x0020_000E,
        A::SeriesNumber => 0x0020_0011,
        A::InstanceNumber => 0x0020_0013,
        A::NumberOfStudyRelatedSeries => 0x0020_1206,
        A::NumberOfStudyRelatedInstances => 0x0020_1208,
        A::NumberOfSeriesRelatedInstances => 0x0020_1209,
        A::NumberOfFrames => 0x0028_0008,
        A::ScheduledStationAeTitle => 0x0040_0001,
        A::ScheduledProcedureStepStartDate => 0x0040_0002,
        A::ScheduledProcedureStepStatus => 0x0040_0020,
        A::RequestedProcedurePriority => 0x0040_1003,
    }
}

/// What its values look like.
#[must_use]
pub const fn form(attribute: DicomAttribute) -> Form {
    match attribute {
        A::SopClassUid | A::SopInstanceUid | A::StudyInstanceUid | A::SeriesInstanceUid => Form::Uid,
        A::SopClassesInStudy => Form::Uids,
        A::InstanceAvailability
        | A::Modality
        | A::BodyPartExamined
        | A::ScheduledProcedureStepStatus
        | A::RequestedProcedurePriority => Form::Code,
        A::ModalitiesInStudy => Form::Codes,
        A::SeriesNumber
        | A::InstanceNumber
        | A::NumberOfStudyRelatedSeries
        | A::NumberOfStudyRelatedInstances
        | A::NumberOfSeriesRelatedInstances
        | A::NumberOfFrames => Form::Integer,
        A::StudyDate | A::ScheduledProcedureStepStartDate => Form::Date,
        A::ScheduledStationAeTitle => Form::Title,
    }
}

impl Scope {
    /// What a step asks, with every default applied.
    #[must_use]
    pub fn of(model: Option<DicomModel>, level: Option<DicomLevel>) -> Self {
        match model {
            Some(DicomModel::ModalityWorklist) => Self::Worklist,
            Some(DicomModel::StudyRoot) | None => Self::StudyRoot(level.unwrap_or(DicomLevel::Study)),
        }
    }

    /// The SOP class that the question belongs to (PS3.4 §C.6.2.3, §K.7).
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::StudyRoot(_) => "1.2.840.10008.5.1.4.1.2.2.1",
            Self::Worklist => "1.2.840.10008.5.1.4.31",
        }
    }

    /// (0008,0052), where there is one.
    pub(super) const fn level(self) -> Option<&'static str> {
        match self {
            Self::StudyRoot(DicomLevel::Study) => Some("STUDY"),
            Self::StudyRoot(DicomLevel::Series) => Some("SERIES"),
            Self::StudyRoot(DicomLevel::Image) => Some("IMAGE"),
            Self::Worklist => None,
        }
    }

    /// The unique keys from the top down: without those above its own level a service need not answer (PS3.4 §C.4.1.2.1).
    #[must_use]
    pub const fn unique_keys(self) -> &'static [DicomAttribute] {
        match self {
            Self::StudyRoot(DicomLevel::Study) => &[A::StudyInstanceUid],
            Self::StudyRoot(DicomLevel::Series) => &[A::StudyInstanceUid, A::SeriesInstanceUid],
            Self::StudyRoot(DicomLevel::Image) => &[A::StudyInstanceUid, A::SeriesInstanceUid, A::SopInstanceUid],
            Self::Worklist => &[],
        }
    }

    /// Those of the levels above.
    #[must_use]
    pub fn required(self) -> &'static [DicomAttribute] {
        self.unique_keys().split_last().map_or(&[], |(_, above)| above)
    }

    /// The attributes that can be matched here.
    #[must_use]
    pub const fn matched(self) -> &'static [DicomAttribute] {
        match self {
            Self::StudyRoot(DicomLevel::Study) => {
                &[A::StudyInstanceUid, A::StudyDate, A::ModalitiesInStudy, A::SopClassesInStudy]
            }
            Self::StudyRoot(DicomLevel::Series) => {
                &[A::StudyInstanceUid, A::SeriesInstanceUid, A::Modality, A::SeriesNumber, A::BodyPartExamined]
            }
            Self::StudyRoot(DicomLevel::Image) => {
                &[A::StudyInstanceUid, A::SeriesInstanceUid, A::SopInstanceUid, A::SopClassUid, A::InstanceNumber]
            }
            Self::Worklist => &[
                A::StudyInstanceUid,
                A::Modality,
                A::ScheduledStationAeTitle,
                A::ScheduledProcedureStepStartDate,
                A::ScheduledProcedureStepStatus,
                A::RequestedProcedurePriority,
            ],
        }
    }

    /// The attributes that can be returned here.
    #[must_use]
    pub const fn returned(self) -> &'static [DicomAttribute] {
        match self {
            Self::StudyRoot(DicomLevel::Study) => &[
                A::StudyInstanceUid,
                A::ModalitiesInStudy,
                A::SopClassesInStudy,
                A::NumberOfStudyRelatedSeries,
                A::NumberOfStudyRelatedInstances,
                A::InstanceAvailability,
            ],
            Self::StudyRoot(DicomLevel::Series) => &[
                A::StudyInstanceUid,
                A::SeriesInstanceUid,
                A::Modality,
                A::SeriesNumber,
                A::BodyPartExamined,
                A::NumberOfSeriesRelatedInstances,
                A::InstanceAvailability,
            ],
            Self::StudyRoot(DicomLevel::Image) => &[
                A::StudyInstanceUid,
                A::SeriesInstanceUid,
                A::SopInstanceUid,
                A::SopClassUid,
                A::InstanceNumber,
                A::NumberOfFrames,
                A::InstanceAvailability,
            ],
            Self::Worklist => &[
                A::StudyInstanceUid,
                A::Modality,
                A::ScheduledStationAeTitle,
                A::ScheduledProcedureStepStatus,
                A::RequestedProcedurePriority,
            ],
        }
    }

    /// Whether it stands in the item of a scheduled procedure step (PS3.4 table K.6-1).
    pub(super) const fn nested(self, attribute: DicomAttribute) -> bool {
        matches!(self, Self::Worklist)
            && matches!(
                attribute,
                A::Modality
                    | A::ScheduledStationAeTitle
                    | A::ScheduledProcedureStepStartDate
                    | A::ScheduledProcedureStepStatus
            )
    }
}

impl Form {
    /// What a value of this form is, for who wrote another one.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Uid | Self::Uids => "one UID: digits and dots, 64 characters at most",
            Self::Code | Self::Codes => {
                "one code, such as CT: upper-case letters, digits, spaces and _, 16 characters at most"
            }
            Self::Integer => "a whole number",
            Self::Date => {
                "a date as 20261129, or a range of dates as 20261101-20261129, 20261101- or -20261129, without spaces"
            }
            Self::Title => "one AE title of 16 characters at most, without backslash, * and ?",
        }
    }

    /// Whether a text is one value of this form that matches itself alone, or a range of dates: one with wildcards or several values, or an
    /// empty one, would find what nobody has asked for.
    #[must_use]
    pub fn is_key(self, text: &str) -> bool {
        match self {
            Self::Uid | Self::Uids => is_uid(text),
            Self::Code | Self::Codes => is_code(text),
            Self::Integer => integer(text).is_some(),
            Self::Date => is_range(text),
            Self::Title => is_title(text) && !text.contains(['*', '?']),
        }
    }

    /// What pads a value to an even length (PS3.5 §6.2).
    pub(super) const fn padding(self) -> u8 {
        match self {
            Self::Uid | Self::Uids => 0,
            Self::Code | Self::Codes | Self::Integer | Self::Date | Self::Title => b' ',
        }
    }

    /// Reads a value; `None` when there is none, or not in this form. Dates are never read: they say something about a patient.
    pub(super) fn read(self, bytes: &[u8]) -> Option<Value> {
        let text = str::from_utf8(bytes).ok()?;
        let one = text.trim_end_matches('\0').trim_matches(' ');
        let list = |is: fn(&str) -> bool| {
            let values = text.split('\\').map(|v| v.trim_end_matches('\0').trim_matches(' ')).filter(|v| is(v));
            let values: Vec<Value> = values.take(MAX_VALUES).map(|v| Value::String(v.to_owned())).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        };
        match self {
            Self::Uid => is_uid(one).then(|| Value::String(one.to_owned())),
            Self::Uids => list(is_uid),
            Self::Code => is_code(one).then(|| Value::String(one.to_owned())),
            Self::Codes => list(is_code),
            Self::Integer => integer(one).map(Value::from),
            Self::Date => None,
            Self::Title => is_title(one).then(|| Value::String(one.to_owned())),
        }
    }
}

fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'_');
    (1..=16).contains(&text.len()) && text.trim_matches(' ') == text && text.bytes().all(plain)
}

fn is_title(text: &str) -> bool {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'\\';
    (1..=16).contains(&text.len()) && text.trim_matches(' ') == text && text.bytes().all(plain)
}

/// IS has 12 characters at most, for a number of 32 bits.
fn integer(text: &str) -> Option<i32> {
    if text.len() <= 12 { text.parse().ok() } else { None }
}

fn is_range(text: &str) -> bool {
    let date = |t: &str| t.len() == 8 && t.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None => date(text),
        Some((from, "")) => date(from),
        Some(("", to)) => date(to),
        Some((from, to)) => date(from) && date(to) && from <= to,
    }
}

#[cfg(test)]
#[path = "attribute_tests.rs"]
mod tests;
