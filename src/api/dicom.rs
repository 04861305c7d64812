//! DICOM's upper layer: what an interface needs to be told, and what a step asks for.
//!
//! Source: DICOM PS3.8 (associations), PS3.7 §9.1.5 (C-ECHO), PS3.5 §6.2 (AE titles).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Settings of a DICOM interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DicomInterface {
    /// The service's AE title: 1 to 16 characters. Where it is set, external hosts are probed with
    /// C-ECHO unless `probe.level` is Transport, and steps can call the interface.
    #[schemars(schema_with = "ae_title")]
    pub called_ae_title: String,
    /// medley's AE title, where the service must know who calls; `MEDLEY` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ae_title")]
    pub calling_ae_title: Option<String>,
}

/// An association with a DICOM service, which is asked for one thing. The called AE title is the interface's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DicomCall {
    /// medley's AE title in this association; the interface's when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ae_title")]
    pub calling_ae_title: Option<String>,
    /// C-ECHO: does the service take associations and answer? A status of 0 is a success, and `result` is `{"status": 0}`.
    pub echo: DicomEcho,
}

/// C-ECHO (PS3.7 §9.1.5), which has nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DicomEcho {}

/// PS3.5 §6.2, value representation AE: spaces at the ends are not significant, so that they are left out.
fn ae_title(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 1, "maxLength": 16, "x-kubernetes-validations": rules::ae_title()
    })
}
