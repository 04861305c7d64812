//! What a query may ask for, and what its answers mean.

use serde_json::json;

use super::*;

/// Notes what is wrong.
#[derive(Default)]
struct Noted(Vec<String>);

impl Texts for Noted {
    fn template(&mut self, field: &str, text: &str, kind: TemplateKind) -> Option<Template> {
        let compiled = Template::compile(text, kind, &std::collections::BTreeSet::new());
        compiled.map_err(|e| self.0.push(format!("{field}: {e}"))).ok()
    }

    fn fault(&mut self, field: &str, message: &str) {
        self.0.push(format!("{field}: {message}"));
    }
}

fn read(call: Value) -> Result<DicomDefinition, Vec<String>> {
    let mut noted = Noted::default();
    let read = DicomDefinition::read(&serde_json::from_value(call).unwrap(), &mut noted);
    assert_eq!(read.is_none(), !noted.0.is_empty(), "what is wrong is told");
    read.ok_or(noted.0)
}

fn find(model: Value) -> Result<DicomDefinition, Vec<String>> {
    read(json!({ "find": model }))
}

#[test]
fn what_is_not_of_the_level_is_named_with_what_is() {
    assert!(find(json!({})).is_ok());
    let wrong = find(json!({"matchingKeys": [{"name": "Modality", "value": "CT"}], "returnKeys": ["StudyDate"]}));
    let wrong = wrong.unwrap_err();
    assert_eq!(
        wrong[0],
        "call.dicom.find.matchingKeys[0].name: Modality cannot be matched here: use StudyInstanceUID, StudyDate, ModalitiesInStudy, \
         SOPClassesInStudy"
    );
    assert!(
        wrong[1].starts_with("call.dicom.find.returnKeys[0]: StudyDate is not returned here: use Study"),
        "{wrong:?}"
    );
    let image = json!({"level": "Image", "matchingKeys": [{"name": "StudyInstanceUID", "value": "1.2"}]});
    let message =
        "call.dicom.find.matchingKeys: SeriesInstanceUID must be one of them at this level: it says where to look";
    assert_eq!(find(image).unwrap_err(), [message]);
    let worklist = json!({"model": "ModalityWorklist", "matchingKeys": [{"name": "Modality", "value": "CT"}],
        "returnKeys": ["RequestedProcedurePriority"]});
    assert!(find(worklist).is_ok());
    assert_eq!(read(json!({})).unwrap_err().len(), 1);
    assert_eq!(read(json!({"echo": {}, "find": {}})).unwrap_err().len(), 1);
    assert_eq!(find(json!({"matchingKeys": [{"name": "StudyInstanceUID", "value": "$( 1 +"}]})).unwrap_err().len(), 1);
}

#[test]
fn an_answer_is_of_what_was_asked() {
    let query = find(json!({"returnKeys": ["StudyInstanceUID"]})).unwrap();
    let echo = read(json!({"echo": {}})).unwrap();
    let matches = vec![serde_json::Map::from_iter([("StudyInstanceUID".to_owned(), json!("1.2"))])];
    let found = |status| CallResult::Found(Found { status, matches: matches.clone(), complete: true });
    let wanted = json!({"count": 1, "complete": true, "matches": [{"StudyInstanceUID": "1.2"}]});
    assert_eq!(query.settle(found(0)), Ok(wanted));
    for (status, class) in
        [(0xA700, ErrorClass::Overloaded), (0xC000, ErrorClass::ServerError), (0xA900, ErrorClass::Rejected)]
    {
        let failure = query.settle(found(status)).unwrap_err();
        assert_eq!((failure.class, failure.known), (class, true), "{}", failure.message);
    }
    assert_eq!(echo.settle(CallResult::Echoed { status: 0 }), Ok(json!({"status": 0})));
    assert_eq!(echo.settle(CallResult::Echoed { status: 0x0122 }).unwrap_err().class, ErrorClass::Rejected);
    for (asked, answer) in [(&query, CallResult::Echoed { status: 0 }), (&echo, found(0))] {
        assert_eq!(asked.settle(answer).unwrap_err().class, ErrorClass::InvalidResult);
    }
}
