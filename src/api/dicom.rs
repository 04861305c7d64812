//! DICOM's upper layer: what an interface needs to be told, and what a step asks for.
//!
//! Source: DICOM PS3.8 (associations), PS3.7 §9.1.5 (C-ECHO) and §9.1.2 (C-FIND), PS3.4 annexes C and K (what is asked for),
//! PS3.5 §6.2 (AE titles).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema};

/// Settings of a DICOM interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::dicom_interface()))]
pub struct DicomInterface {
    /// The service's AE title: 1 to 16 characters. Where it is set, external hosts are probed with
    /// C-ECHO unless `probe.level` is Transport, and steps can call the interface.
    #[schemars(schema_with = "ae_title")]
    pub called_ae_title: String,
    /// medley's AE title, where the service must know who calls; `MEDLEY` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ae_title")]
    pub calling_ae_title: Option<String>,
    /// UIDs of SOP classes that it must take, such as `1.2.840.10008.5.1.4.1.1.2` for CT images. A probe proposes them without sending
    /// anything: an endpoint of an external service that does not accept one of them has the reason `CapabilityMismatch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "sop_classes")]
    pub sop_classes: Vec<String>,
    /// UIDs of transfer syntaxes that it must take each of these classes in; when not set, in one of Implicit and Explicit VR Little
    /// Endian.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "transfer_syntaxes")]
    pub transfer_syntaxes: Vec<String>,
}

/// What a DICOM interface accepted of `sopClasses` when this generation of the service was first probed: what later probes find is
/// compared with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DicomFacts {
    /// Name of the interface.
    #[schemars(length(max = 15))]
    pub interface: String,
    /// Generation of the service's spec under which this was found.
    pub generation: i64,
    /// The SOP classes that it accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 127), extend("x-kubernetes-list-type" = "atomic"))]
    pub contexts: Vec<DicomContext>,
}

/// A SOP class that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DicomContext {
    /// Its UID.
    #[schemars(length(max = 64))]
    pub sop_class: String,
    /// UIDs of the transfer syntaxes that it was accepted in.
    #[schemars(length(max = 127), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub transfer_syntaxes: Vec<String>,
}

/// An association with a DICOM service, which is asked for one thing. The called AE title is the interface's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::dicom_call()))]
pub struct DicomCall {
    /// medley's AE title in this association; the interface's when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ae_title")]
    pub calling_ae_title: Option<String>,
    /// C-ECHO: does the service take associations and answer? A status of 0 is a success, and `result` is `{"status": 0}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<DicomEcho>,
    /// C-FIND: which studies, series, images or scheduled procedure steps match?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<DicomFind>,
}

/// C-ECHO (PS3.7 §9.1.5), which has nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DicomEcho {}

/// C-FIND (PS3.7 §9.1.2). `result` is `{"count", "complete", "matches"}`. Nothing that identifies a patient is asked for or returned, since
/// results stand in statuses. For that reason there is no Patient Root, where the patient's id is a part of every question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::dicom_find()))]
pub struct DicomFind {
    /// The information model that is asked; `StudyRoot` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<DicomModel>,
    /// What is looked for in `StudyRoot`; `Study` when not set. The levels above it need their UIDs as matching keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<DicomLevel>,
    /// What must match, all of it, each exactly: there are no wildcards, and no value may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub matching_keys: Vec<DicomKey>,
    /// What is returned of each match: `result.matches` has an object each, without what the service does not tell, or tells in another
    /// form than the standard's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub return_keys: Vec<DicomAttribute>,
    /// Most matches that are returned; 100 when not set. Where there are more, or more than 256 KiB, the rest is cancelled (C-CANCEL) and
    /// `result.complete` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u16>,
}

/// An information model (PS3.4 annexes C.6.2 and K).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum DicomModel {
    /// Studies with their series and images.
    StudyRoot,
    /// Scheduled procedure steps.
    ModalityWorklist,
}

/// A level of the model (PS3.4 §C.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum DicomLevel {
    /// Studies.
    Study,
    /// The series of a study.
    Series,
    /// The images, and other instances, of a series.
    Image,
}

/// What an attribute must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DicomKey {
    /// The attribute's keyword.
    pub name: DicomAttribute,
    /// Template of the value: a UID, a code such as `CT`, a whole number or an AE title, as the attribute has it; a date as `20261129`, or a
    /// range of dates as `20261101-20261129`, which may lack one end.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// Attributes that may be asked for, by their keywords (PS3.6): none of them identifies a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DicomAttribute {
    /// (0008,0016)
    #[serde(rename = "SOPClassUID")]
    SopClassUid,
    /// (0008,0018)
    #[serde(rename = "SOPInstanceUID")]
    SopInstanceUid,
    /// (0008,0020), to match with only.
    StudyDate,
    /// (0008,0056)
    InstanceAvailability,
    /// (0008,0060); of a worklist that of the scheduled procedure step.
    Modality,
    /// (0008,0061)
    ModalitiesInStudy,
    /// (0008,0062)
    #[serde(rename = "SOPClassesInStudy")]
    SopClassesInStudy,
    /// (0018,0015)
    BodyPartExamined,
    /// (0020,000D)
    #[serde(rename = "StudyInstanceUID")]
    StudyInstanceUid,
    /// (0020,000E)
    #[serde(rename = "SeriesInstanceUID")]
    SeriesInstanceUid,
    /// (0020,0011)
    SeriesNumber,
    /// (0020,0013)
    InstanceNumber,
    /// (0020,1206)
    NumberOfStudyRelatedSeries,
    /// (0020,1208)
    NumberOfStudyRelatedInstances,
    /// (0020,1209)
    NumberOfSeriesRelatedInstances,
    /// (0028,0008)
    NumberOfFrames,
    /// (0040,0001)
    #[serde(rename = "ScheduledStationAETitle")]
    ScheduledStationAeTitle,
    /// (0040,0002), to match with only.
    ScheduledProcedureStepStartDate,
    /// (0040,0020)
    ScheduledProcedureStepStatus,
    /// (0040,1003)
    RequestedProcedurePriority,
}

impl DicomAttribute {
    /// All of them, in the order of their tags.
    pub const ALL: [Self; 20] = [
        Self::SopClassUid,
        Self::SopInstanceUid,
        Self::StudyDate,
        Self::InstanceAvailability,
        Self::Modality,
        Self::ModalitiesInStudy,
        Self::SopClassesInStudy,
        Self::BodyPartExamined,
        Self::StudyInstanceUid,
        Self::SeriesInstanceUid,
        Self::SeriesNumber,
        Self::InstanceNumber,
        Self::NumberOfStudyRelatedSeries,
        Self::NumberOfStudyRelatedInstances,
        Self::NumberOfSeriesRelatedInstances,
        Self::NumberOfFrames,
        Self::ScheduledStationAeTitle,
        Self::ScheduledProcedureStepStartDate,
        Self::ScheduledProcedureStepStatus,
        Self::RequestedProcedurePriority,
    ];

    /// Its keyword.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SopClassUid => "SOPClassUID",
            Self::SopInstanceUid => "SOPInstanceUID",
            Self::StudyDate => "StudyDate",
            Self::InstanceAvailability => "InstanceAvailability",
            Self::Modality => "Modality",
            Self::ModalitiesInStudy => "ModalitiesInStudy",
            Self::SopClassesInStudy => "SOPClassesInStudy",
            Self::BodyPartExamined => "BodyPartExamined",
            Self::StudyInstanceUid => "StudyInstanceUID",
            Self::SeriesInstanceUid => "SeriesInstanceUID",
            Self::SeriesNumber => "SeriesNumber",
            Self::InstanceNumber => "InstanceNumber",
            Self::NumberOfStudyRelatedSeries => "NumberOfStudyRelatedSeries",
            Self::NumberOfStudyRelatedInstances => "NumberOfStudyRelatedInstances",
            Self::NumberOfSeriesRelatedInstances => "NumberOfSeriesRelatedInstances",
            Self::NumberOfFrames => "NumberOfFrames",
            Self::ScheduledStationAeTitle => "ScheduledStationAETitle",
            Self::ScheduledProcedureStepStartDate => "ScheduledProcedureStepStartDate",
            Self::ScheduledProcedureStepStatus => "ScheduledProcedureStepStatus",
            Self::RequestedProcedurePriority => "RequestedProcedurePriority",
        }
    }
}

// not an enum of the schema: its message could not say why a patient's name is none of them
impl JsonSchema for DicomAttribute {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DicomAttribute".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "minLength": 1, "maxLength": 64, "x-kubernetes-validations": rules::dicom_attribute()
        })
    }
}

fn sop_classes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    uids(127)
}

fn transfer_syntaxes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    uids(32)
}

/// UIDs (PS3.5 §9.1), so many at most.
fn uids(most: u8) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": most, "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 64, "x-kubernetes-validations": rules::uid() }
    })
}

/// PS3.5 §6.2, value representation AE: spaces at the ends are not significant, so that they are left out.
fn ae_title(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 1, "maxLength": 16, "x-kubernetes-validations": rules::ae_title()
    })
}
