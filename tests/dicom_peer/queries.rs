//! Queries of real services: an archive (Orthanc), a worklist (dcmtk's `wlmscpfs`), and what pynetdicom does wrong.

use std::time::Instant;

use medley::{
    api::dicom::{DicomAttribute as A, DicomLevel},
    core::dicom::{
        attribute::Scope,
        find::{Found, MAX_MATCHES, Query},
    },
};
use serde_json::{Value, json};

use super::*;
use crate::programs::Wlmscpfs;

const STUDY: Scope = Scope::StudyRoot(DicomLevel::Study);
const LONG: Duration = Duration::from_secs(20);

fn query(scope: Scope, keys: &[(A, &str)], returned: &[A]) -> Query {
    let keys = keys.iter().map(|(a, v)| (*a, (*v).to_owned())).collect();
    Query { scope, keys, returned: returned.to_vec(), limit: 100 }
}

async fn ask(address: SocketAddr, called: &str, query: Query, timeout: Duration) -> CallResult {
    call(address, Wire::Find(titles(called), query), timeout).await
}

/// What an archive finds, in the order of the first attribute that is asked for.
async fn finds(address: SocketAddr, called: &str, query: Query) -> Vec<Value> {
    let first = query.returned[0].as_str();
    match ask(address, called, query, LONG).await {
        CallResult::Found(Found { status: 0, matches, complete: true }) => {
            let mut all: Vec<Value> = matches.into_iter().map(Value::Object).collect();
            all.sort_by_key(|m| m[first].to_string());
            all
        }
        other => panic!("{other:?}"),
    }
}

const ROOT: &str = "1.2.826.0.1.3680043.10.999";

#[tokio::test]
#[ignore = "needs Orthanc: make test-peers"]
async fn an_archive_tells_its_studies_series_and_images_and_nothing_of_patients() {
    let orthanc = Orthanc::start("ARCHIVE").await;
    orthanc.store_studies("ARCHIVE");
    let (one, two) = (format!("{ROOT}.1"), format!("{ROOT}.2"));
    let wanted = [A::StudyInstanceUid, A::ModalitiesInStudy, A::NumberOfStudyRelatedInstances];
    let all = finds(orthanc.dicom, "ARCHIVE", query(STUDY, &[], &wanted)).await;
    let first = json!({"StudyInstanceUID": one, "ModalitiesInStudy": ["CT", "SR"], "NumberOfStudyRelatedInstances": 3});
    let second = json!({"StudyInstanceUID": two, "ModalitiesInStudy": ["MR"], "NumberOfStudyRelatedInstances": 1});
    assert_eq!(all, [first, second.clone()]);
    for (attribute, value) in
        [(A::ModalitiesInStudy, "MR"), (A::StudyDate, "20261102-20261129"), (A::StudyInstanceUid, two.as_str())]
    {
        let found = finds(orthanc.dicom, "ARCHIVE", query(STUDY, &[(attribute, value)], &wanted)).await;
        assert_eq!(found, std::slice::from_ref(&second), "{attribute:?}");
    }
    let of = |level, keys: &[(A, &str)], returned: &[A]| query(Scope::StudyRoot(level), keys, returned);
    let series = of(
        DicomLevel::Series,
        &[(A::StudyInstanceUid, &one), (A::Modality, "CT")],
        &[A::SeriesInstanceUid, A::Modality, A::SeriesNumber, A::NumberOfSeriesRelatedInstances],
    );
    let series = finds(orthanc.dicom, "ARCHIVE", series).await;
    let wanted = |n: u8| {
        json!({"SeriesInstanceUID": format!("{one}.{n}"), "Modality": "CT", "SeriesNumber": n,
            "NumberOfSeriesRelatedInstances": 1})
    };
    assert_eq!(series, [wanted(1), wanted(2)]);
    let place = format!("{one}.3");
    let image = of(
        DicomLevel::Image,
        &[(A::StudyInstanceUid, &one), (A::SeriesInstanceUid, &place)],
        &[A::SopInstanceUid, A::SopClassUid, A::InstanceNumber],
    );
    let wanted = json!({"SOPInstanceUID": format!("{one}.3.1"), "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "InstanceNumber": 1});
    assert_eq!(finds(orthanc.dicom, "ARCHIVE", image).await, [wanted]);

    let nothing = query(STUDY, &[(A::StudyInstanceUid, "1.2.3.4")], &[A::StudyInstanceUid]);
    assert!(finds(orthanc.dicom, "ARCHIVE", nothing).await.is_empty());
    // it has no worklist
    let refused = ask(orthanc.dicom, "ARCHIVE", query(Scope::Worklist, &[], &[]), LONG).await;
    assert!(matches!(&refused, CallResult::Failed { class: ErrorClass::Configuration, .. }), "{refused:?}");
    let log = orthanc.log();
    let complaints: Vec<&String> =
        log.iter().filter(|l| l.starts_with('E') || l.to_lowercase().contains("abort")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    // it logs a cancel that comes after its last answer as an error
    let one_of_two = Query { limit: 1, ..query(STUDY, &[], &[A::StudyInstanceUid]) };
    let CallResult::Found(found) = ask(orthanc.dicom, "ARCHIVE", one_of_two, LONG).await else { panic!() };
    assert_eq!((found.status, found.matches.len(), found.complete), (0, 1, false));
}

#[tokio::test]
#[ignore = "needs dcmtk: make test-peers"]
async fn a_worklist_tells_its_steps_and_nothing_of_patients() {
    let ris = Wlmscpfs::start("RIS").await;
    let wanted = [A::StudyInstanceUid, A::Modality, A::ScheduledStationAeTitle, A::RequestedProcedurePriority];
    let step = |n: u8, modality: &str, priority: &str| {
        json!({"StudyInstanceUID": format!("{ROOT}.{n}"), "Modality": modality,
            "ScheduledStationAETitle": format!("{modality}1"), "RequestedProcedurePriority": priority})
    };
    let all = finds(ris.address, "RIS", query(Scope::Worklist, &[], &wanted)).await;
    assert_eq!(all, [step(1, "CT", "STAT"), step(2, "MR", "ROUTINE")]);
    for key in [(A::Modality, "CT"), (A::ScheduledStationAeTitle, "CT1")] {
        let keys = [key, (A::ScheduledProcedureStepStartDate, "20261129")];
        let found = finds(ris.address, "RIS", query(Scope::Worklist, &keys, &wanted)).await;
        assert_eq!(found, [step(1, "CT", "STAT")]);
    }
    let past = [(A::ScheduledProcedureStepStartDate, "-20261128")];
    assert!(finds(ris.address, "RIS", query(Scope::Worklist, &past, &wanted)).await.is_empty());
}

/// Each fault of a query by the title that causes it at `tests/peers/dicom/server.py`.
const FAULTS: [(&str, ErrorClass); 5] = [
    ("HANGS-UP-LATER", ErrorClass::Connection),
    ("ABORTS-QUERY", ErrorClass::Connection),
    ("STALLS", ErrorClass::Timeout),
    ("NO-CONTEXT", ErrorClass::Configuration),
    ("UNKNOWN", ErrorClass::Configuration),
];

#[tokio::test]
#[ignore = "needs a service from PyPI: make test-peers"]
async fn each_fault_of_a_query_has_its_class_and_what_has_no_end_is_cancelled() {
    let peer = Peer::start("MEDLEY_DICOM_PYTHON", "dicom/server.py");
    let question = || query(STUDY, &[], &[A::StudyInstanceUid, A::ModalitiesInStudy]);
    let few = finds(peer.address, "FEW", question()).await;
    let study = |n: u8| json!({"StudyInstanceUID": format!("1.2.3.{n}"), "ModalitiesInStudy": ["CT", "SR"]});
    assert_eq!(few, [study(1), study(2), study(3)]);

    for (title, status) in [("NO-ROOM", 0xA700), ("NO-MATCH", 0xA900), ("UNABLE", 0xC001), ("STOPS", 0xFE00)] {
        let what = ask(peer.address, title, question(), LONG).await;
        assert_eq!(what, CallResult::Found(Found { status, matches: Vec::new(), complete: true }), "{title}");
    }
    for (title, class) in FAULTS {
        let timeout = if class == ErrorClass::Timeout { Duration::from_millis(500) } else { LONG };
        let what = ask(peer.address, title, question(), timeout).await;
        let CallResult::Failed { class: found, message, .. } = what else { panic!("{title}: {what:?}") };
        assert_eq!(found, class, "{title}: {message}");
    }
    for title in ["ENDLESS", "LARGE", "DEAF"] {
        let begin = Instant::now();
        let CallResult::Found(found) = ask(peer.address, title, question(), LONG).await else { panic!("{title}") };
        assert_eq!((found.status, found.complete), (0, false), "{title}");
        let most = if title == "LARGE" { MAX_MATCHES / 30_000 } else { 100 };
        assert_eq!(found.matches.len(), most, "{title}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{title}: {:?}", begin.elapsed());
    }
    // who listens was told, by C-CANCEL
    let told = finds(peer.address, "CANCELLED", query(STUDY, &[], &[A::StudyInstanceUid])).await;
    assert_eq!(told.len(), 2);
}
