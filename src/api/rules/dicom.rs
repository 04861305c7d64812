//! Rules of DICOM's names, and of what a step asks for.

use serde_json::Value;

use super::{extension, rule};

/// An AE title.
pub fn ae_title() -> Value {
    extension(&[rule(
        "",
        "self.matches('^[!-\\\\[\\\\]-~]([ -\\\\[\\\\]-~]*[!-\\\\[\\\\]-~])?$')",
        "must be an AE title, such as ARCHIVE: printable ASCII characters without a backslash, and no space at its ends",
    )])
}

/// A UID.
pub fn uid() -> Value {
    extension(&[rule(
        "",
        "self.matches('^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*))*$')",
        "must be a UID, such as 1.2.840.10008.5.1.4.1.1.2: numbers without leading zeros, with dots between them",
    )])
}

/// What an interface must take.
pub fn dicom_interface() -> Value {
    extension(&[
        rule(
            ".transferSyntaxes",
            "!has(self.transferSyntaxes) || (has(self.sopClasses) && self.sopClasses.size() > 0)",
            "says in what sopClasses must be taken: set sopClasses, or remove transferSyntaxes",
        ),
        rule(
            ".sopClasses",
            "!has(self.sopClasses) || !has(self.transferSyntaxes) || self.sopClasses.size() * self.transferSyntaxes.size() <= 127",
            "each class is proposed with each transfer syntax, and an association has room for 127 such pairs: name fewer",
        ),
    ])
}

/// An association of a step.
pub fn dicom_call() -> Value {
    extension(&[rule(
        "",
        "has(self.echo) != has(self.find)",
        "exactly one of echo and find must be set: it says what is asked for",
    )])
}

/// A query of a step.
pub fn dicom_find() -> Value {
    extension(&[rule(
        ".level",
        "!has(self.level) || !has(self.model) || self.model != 'ModalityWorklist'",
        "a worklist has no levels: remove level, or set model StudyRoot",
    )])
}

/// An attribute that may be asked for.
pub fn dicom_attribute() -> Value {
    extension(&[rule(
        "",
        "self in ['SOPClassUID', 'SOPInstanceUID', 'StudyDate', 'InstanceAvailability', 'Modality', 'ModalitiesInStudy', 'SOPClassesInStudy', 'BodyPartExamined', 'StudyInstanceUID', 'SeriesInstanceUID', 'SeriesNumber', 'InstanceNumber', 'NumberOfStudyRelatedSeries', 'NumberOfStudyRelatedInstances', 'NumberOfSeriesRelatedInstances', 'NumberOfFrames', 'ScheduledStationAETitle', 'ScheduledProcedureStepStartDate', 'ScheduledProcedureStepStatus', 'RequestedProcedurePriority']",
        "is none of the attributes that a step may ask for: what identifies a patient, such as PatientName, PatientID or AccessionNumber, never is, since results stand in statuses; ask for UIDs, kinds and counts, as the description of call.dicom.find shows",
    )])
}
