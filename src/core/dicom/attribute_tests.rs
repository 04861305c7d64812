//! The table of attributes, and what their values may be.

use serde_json::json;

use super::*;
use crate::api::rules;

const SCOPES: [Scope; 4] = [
    Scope::StudyRoot(DicomLevel::Study),
    Scope::StudyRoot(DicomLevel::Series),
    Scope::StudyRoot(DicomLevel::Image),
    Scope::Worklist,
];

#[test]
fn the_schemas_rule_and_the_type_name_the_same_attributes() {
    let rule = rules::dicom_attribute()[0]["rule"].as_str().unwrap().to_owned();
    let names: Vec<&str> = rule.split('\'').skip(1).step_by(2).collect();
    assert_eq!(names, DicomAttribute::ALL.map(DicomAttribute::as_str));
    for attribute in DicomAttribute::ALL {
        assert_eq!(json!(attribute), json!(attribute.as_str()), "as it is read");
        let somewhere = SCOPES.iter().any(|s| s.matched().contains(&attribute) || s.returned().contains(&attribute));
        assert!(somewhere, "{attribute:?} can be asked for");
    }
    assert!(DicomAttribute::ALL.map(tag).is_sorted(), "in the order of their tags");
}

#[test]
fn nothing_that_identifies_a_patient_is_returned() {
    // PS3.15 annex E: the group 0010, and of the others names, dates, numbers of orders and free text
    for scope in SCOPES {
        for &attribute in scope.returned() {
            assert_ne!(tag(attribute) >> 16, 0x0010, "{attribute:?}");
            assert_ne!(form(attribute), Form::Date, "{attribute:?}");
        }
        assert!(scope.required().iter().all(|k| scope.matched().contains(k)));
    }
}

#[test]
fn a_key_is_one_value_and_never_a_pattern() {
    for (form, good) in [
        (Form::Uid, &["1.2.840", "0"][..]),
        (Form::Codes, &["CT", "US_2", "A B"]),
        (Form::Integer, &["0", "-3", "2147483647"]),
        (Form::Date, &["20261129", "20261101-20261129", "20261101-", "-20261129"]),
        (Form::Title, &["ARCHIVE", "Ward 1"]),
    ] {
        for text in good {
            assert!(form.is_key(text), "{form:?} {text}");
        }
        for text in ["", " ", "*", "C*", "C?", "1.2\\1.3", "CT\\MR", " CT", "\0"] {
            assert!(!form.is_key(text), "{form:?} {text}");
        }
    }
    for text in ["1..2", "DOE^JOHN"] {
        assert!(![Form::Uid, Form::Code, Form::Integer, Form::Date].iter().any(|form| form.is_key(text)), "{text}");
    }
    for text in ["2026-11-29", "20261129-20261101", "-", "2026112", "20261129-2026"] {
        assert!(!Form::Date.is_key(text), "{text}");
    }
    assert!(!Form::Uid.is_key(&"1".repeat(65)) && !Form::Integer.is_key("2147483648"));
}

#[test]
fn what_is_returned_has_the_standards_form_or_is_left_out() {
    let read = |form: Form, text: &str| form.read(text.as_bytes());
    assert_eq!(read(Form::Uid, "1.2.3\0"), Some(json!("1.2.3")));
    assert_eq!(read(Form::Code, "CT "), Some(json!("CT")));
    assert_eq!(read(Form::Codes, "CT\\MR\\Doe^John \\SEG"), Some(json!(["CT", "MR", "SEG"])));
    assert_eq!(read(Form::Uids, "1.2\\1.3\0"), Some(json!(["1.2", "1.3"])));
    assert_eq!(read(Form::Integer, " 12 "), Some(json!(12)));
    assert_eq!(read(Form::Title, "WARD  "), Some(json!("WARD")));
    for (form, text) in [
        (Form::Uid, "Doe^John"),
        (Form::Uid, ""),
        (Form::Code, "Doe^John"),
        (Form::Code, "SEVENTEEN LETTERS"),
        (Form::Codes, "doe"),
        (Form::Integer, "1.5"),
        (Form::Integer, "12345678901234567890"),
        (Form::Date, "19700101"),
        (Form::Title, "DOE\\JOHN"),
    ] {
        assert_eq!(read(form, text), None, "{form:?} {text}");
    }
    assert_eq!(Form::Code.read(&[0xff, 0xfe]), None);
    let many = vec!["CT"; 1000].join("\\");
    assert_eq!(read(Form::Codes, &many).unwrap().as_array().unwrap().len(), MAX_VALUES);
}
