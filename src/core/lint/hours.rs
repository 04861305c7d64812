//! Are the hours of a pool those of a time zone that there is?

use super::{
    finding::{Findings, Severity},
    object::Object,
};
use crate::{api::CapacityPoolSpec, core::scheduling::windows};

pub(super) fn check(object: &Object, spec: &CapacityPoolSpec, findings: &mut Findings) {
    for (i, window) in spec.windows.iter().enumerate() {
        if let Err(message) = windows::zone(window) {
            findings.at(object, Severity::Error, "time-zone", &format!("spec.windows[{i}].timeZone"), message);
        }
    }
}
