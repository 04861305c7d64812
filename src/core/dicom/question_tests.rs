//! Associations with a question: what comes of each answer, and how too many are stopped.

use std::collections::BTreeMap;

use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu as Known, read_pdu, write_pdu};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Failure, Titles,
    association::{Ask, Association, Done, Farewell, Next},
    attribute::Scope,
    command::MAX_COMMAND,
    dataset::element,
    find::{Found, MAX_MATCHES, Query},
    tests::hex,
};
use crate::api::dicom::{DicomAttribute as A, DicomLevel};

fn query(limit: u16) -> Query {
    let keys = BTreeMap::from([(A::ModalitiesInStudy, "CT".to_owned())]);
    Query { scope: Scope::StudyRoot(DicomLevel::Study), keys, returned: vec![A::StudyInstanceUid], limit }
}

fn asked(limit: u16) -> Association {
    let titles = Titles { called: "ARCHIVE".to_owned(), calling: "MEDLEY".to_owned() };
    Association::new(&titles, Ask::Find(query(limit), 2)).unwrap()
}

/// Accepts the context with this transfer syntax, and takes PDUs of so many bytes.
fn accepted(syntax: &str, longest: u32) -> Vec<u8> {
    let byte = |n: usize| u8::try_from(n).unwrap();
    let mut bytes = vec![2, 0, 0, 0, 0, byte(68 + 12 + syntax.len() + 12)];
    bytes.extend([0; 68]);
    bytes.extend([0x21, 0, 0, byte(8 + syntax.len()), 1, 0, 0, 0, 0x40, 0, 0, byte(syntax.len())]);
    bytes.extend(syntax.as_bytes());
    bytes.extend([0x50, 0, 0, 8, 0x51, 0, 0, 4]);
    bytes.extend(longest.to_be_bytes());
    bytes
}

const IMPLICIT: &str = "1.2.840.10008.1.2";

/// As P-DATA in pieces of this size.
fn data(value_type: &PDataValueType, whole: &[u8], size: usize) -> Vec<u8> {
    let pieces: Vec<&[u8]> = whole.chunks(size).collect();
    let mut bytes = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let (is_last, data) = (n + 1 == pieces.len(), piece.to_vec());
        let value = PDataValue { presentation_context_id: 1, value_type: value_type.clone(), is_last, data };
        write_pdu(&mut bytes, &Known::PData { data: vec![value] }).unwrap();
    }
    bytes
}

/// C-FIND-RSP with this status and, where one follows, this data set.
fn answer(status: u16, identifier: Option<&[u8]>, size: usize) -> Vec<u8> {
    let data_set = if identifier.is_some() { 0 } else { 0x0101 };
    let numbers: [(u32, u16); 4] = [(0x0100, 0x8020), (0x0120, 1), (0x0800, data_set), (0x0900, status)];
    let command: Vec<u8> = numbers.iter().flat_map(|(n, value)| element(*n, &value.to_le_bytes(), 0)).collect();
    let mut bytes = data(&PDataValueType::Command, &command, size);
    bytes.extend(identifier.map(|i| data(&PDataValueType::Data, i, size)).unwrap_or_default());
    bytes
}

fn study(uid: &str) -> Vec<u8> {
    [element(0x0010_0010, b"DOE^JOHN", b' '), element(0x0020_000D, uid.as_bytes(), 0)].concat()
}

/// Runs it until it waits or has ended.
fn run(association: &mut Association) -> Option<Result<Done, Failure>> {
    loop {
        match association.step() {
            Next::Send(_) => {}
            Next::Receive => return None,
            Next::Ended(what) => return Some(what),
        }
    }
}

/// What comes of a question with this limit when the service answers so.
fn after(answers: &[u8], limit: u16) -> (Option<Result<Done, Failure>>, Association) {
    let mut association = asked(limit);
    association.push(&accepted(IMPLICIT, 16384));
    association.push(answers);
    (run(&mut association), association)
}

fn found(status: u16, uids: &[&str], complete: bool) -> Option<Result<Done, Failure>> {
    let matches = uids.iter().map(|uid| match json!({"StudyInstanceUID": uid}) {
        Value::Object(map) => map,
        _ => unreachable!(),
    });
    Some(Ok(Done::Found(Found { status, matches: matches.collect(), complete })))
}

fn release() -> Farewell {
    Farewell::Release(hex("05000000000400000000"))
}

fn abort() -> Farewell {
    Farewell::Abort(hex("07000000000400000000"))
}

#[test]
fn a_question_is_asked_in_the_default_syntax_and_answered_match_by_match() {
    let mut association = asked(10);
    let Next::Send(request) = association.step() else { panic!() };
    let Ok(Some(Known::AssociationRQ(request))) = read_pdu(request.as_slice(), 16384, true) else { panic!() };
    let [context] = request.presentation_contexts.as_slice() else { panic!() };
    assert_eq!(context.abstract_syntax, "1.2.840.10008.5.1.4.1.2.2.1");
    assert_eq!(context.transfer_syntaxes, [IMPLICIT]);
    association.push(&accepted(IMPLICIT, 16384));
    let Next::Send(sent) = association.step() else { panic!() };
    let mut rest = sent.as_slice();
    let mut kinds = Vec::new();
    while let Ok(Some(Known::PData { data })) = read_pdu(&mut rest, 16384, true) {
        kinds.extend(data.into_iter().map(|v| (v.value_type, v.is_last, v.data)));
    }
    let [(PDataValueType::Command, true, _), (PDataValueType::Data, true, identifier)] = kinds.as_slice() else {
        panic!("{kinds:?}")
    };
    assert_eq!(*identifier, query(10).identifier());
    assert_eq!(association.step(), Next::Receive);
    for size in [1, 3, 1000] {
        let answers = [
            answer(0xFF00, Some(&study("1.2")), size),
            answer(0xFF01, Some(&study("1.3")), size),
            answer(0, None, size),
        ];
        let (what, mut association) = after(&answers.concat(), 10);
        assert_eq!((what, association.farewell()), (found(0, &["1.2", "1.3"], true), release()));
    }
}

#[test]
fn no_piece_is_longer_than_the_service_takes() {
    for (longest, most) in [(64, 64), (7, 7), (1, 7), (0, 16384)] {
        let mut association = asked(10);
        association.step();
        association.push(&accepted(IMPLICIT, longest));
        let Next::Send(sent) = association.step() else { panic!() };
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_be_bytes([rest[2], rest[3], rest[4], rest[5]])).unwrap();
            assert!(length <= most, "{length} bytes to who takes {longest}");
            rest = &rest[6 + length..];
        }
    }
}

#[test]
fn each_answer_to_a_question_is_told() {
    let one = answer(0xFF00, Some(&study("1.2")), 1000);
    let with = |last: Vec<u8>| [one.clone(), last].concat();
    let invalid = || Some(Err(Failure::Invalid));
    let cases = [
        ("nothing matches", answer(0, None, 100), found(0, &[], true), release()),
        ("out of resources", with(answer(0xA700, None, 100)), found(0xA700, &[], true), release()),
        ("it stops by itself", with(answer(0xFE00, None, 100)), found(0xFE00, &[], true), release()),
        ("an abort in the middle", with(hex("07000000000400000200")), Some(Err(Failure::Aborted)), Farewell::Nothing),
        ("a match without a data set", answer(0xFF00, None, 100), invalid(), abort()),
        ("a data set that is none", answer(0xFF00, Some(b"DOE^JOHN"), 100), invalid(), abort()),
        ("a data set of nobody", data(&PDataValueType::Data, &study("1.2"), 100), invalid(), abort()),
        ("two commands for one match", [&one[..one.len() / 3], &one[..]].concat(), invalid(), abort()),
        ("an endless command", data(&PDataValueType::Command, &vec![0; MAX_COMMAND + 1], 10_000), invalid(), abort()),
    ];
    for (name, answers, what, farewell) in cases {
        let (told, mut association) = after(&answers, 10);
        assert_eq!((told, association.farewell()), (what, farewell), "{name}");
    }
    let mut explicit = asked(10);
    explicit.push(&accepted("1.2.840.10008.1.2.1", 16384));
    assert_eq!((run(&mut explicit), explicit.farewell()), (invalid(), abort()), "a syntax that was not proposed");
}

#[test]
fn more_than_may_come_is_cancelled_and_the_last_answer_awaited() {
    let matches: Vec<Vec<u8>> = ["1.1", "1.2", "1.3"].map(|uid| answer(0xFF00, Some(&study(uid)), 100)).to_vec();
    let (what, _) = after(&[matches[..2].concat(), answer(0, None, 100)].concat(), 2);
    assert_eq!(what, found(0, &["1.1", "1.2"], true), "as many as may come are all");

    let ends = [
        ("cancelled", [answer(0xFF00, Some(&study("1.4")), 100), answer(0xFE00, None, 100)].concat(), release()),
        ("not cancelled", answer(0, None, 100), release()),
        ("aborted", hex("07000000000400000200"), Farewell::Nothing),
        ("nonsense", b"HTTP/1.1 400".to_vec(), abort()),
        ("an endless command", data(&PDataValueType::Command, &vec![0; MAX_COMMAND + 1], 10_000), abort()),
        ("another answer", data(&PDataValueType::Command, &[0; 8], 100), abort()),
    ];
    for (name, rest, farewell) in ends {
        let (what, mut association) = after(&matches.concat(), 2);
        assert_eq!(what, found(0, &["1.1", "1.2"], false), "{name}");
        let Farewell::Cancel(cancel) = association.farewell() else { panic!("{name}") };
        assert_eq!(cancel.len(), 12 + 42, "one PDU with one piece");
        association.cancelled();
        assert_eq!(association.farewell(), Farewell::Receive);
        association.push(&rest);
        assert_eq!(association.farewell(), farewell, "{name}");
        assert_eq!(association.step(), Next::Ended(what.unwrap()), "what is known stays so");
    }
    let (_, mut association) = after(&[matches.concat(), answer(0, None, 100)].concat(), 2);
    assert_eq!(association.farewell(), release(), "the last answer is there already");
    let (_, mut association) = after(&matches.concat(), 2);
    association.cancelled();
    association.closed();
    assert_eq!(association.farewell(), Farewell::Nothing);
    let (_, mut association) = after(&matches.concat(), 2);
    association.cancelled();
    association.give_up();
    assert_eq!(association.farewell(), abort());
}

#[test]
fn matches_without_an_end_are_cut() {
    let large = [element(0x0010_4000, &vec![b'x'; 20_000], b' '), study("1.2")].concat();
    let answers = answer(0xFF00, Some(&large), 10_000).repeat(MAX_MATCHES / 20_000 + 1);
    let (what, mut association) = after(&answers, 500);
    let Some(Ok(Done::Found(Found { status: 0, matches, complete: false }))) = what else { panic!("{what:?}") };
    assert_eq!(matches.len(), MAX_MATCHES / large.len());
    assert!(matches!(association.farewell(), Farewell::Cancel(_)));
}

proptest! {
    #[test]
    fn any_answers_end_it_or_wait_for_more(
        parts in prop::collection::vec(prop_oneof![
            4 => Just(answer(0xFF00, Some(&study("1.2")), 7)),
            1 => Just(answer(0, None, 9)),
            1 => prop::collection::vec(any::<u8>(), 0..20),
            1 => Just(data(&PDataValueType::Data, b"\0", 10)),
        ], 0..12),
        piece in 1_usize..60, limit in 1_u16..6,
    ) {
        let answers = parts.concat();
        let (whole, _) = after(&answers, limit);
        let mut association = asked(limit);
        association.push(&accepted(IMPLICIT, 0));
        let mut what = run(&mut association);
        for piece in answers.chunks(piece) {
            association.push(piece);
            what = run(&mut association);
            if what.is_some() { break; }
        }
        prop_assert_eq!(&what, &whole, "alike however it is cut");
        if let Some(Ok(Done::Found(found))) = what {
            prop_assert!(found.matches.len() <= usize::from(limit));
        }
    }
}
