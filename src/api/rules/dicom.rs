//! Rules of DICOM's names.

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
