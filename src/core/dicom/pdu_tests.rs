//! Bytes of real services, bytes that an independent implementation writes, and any bytes.

use dicom_ul::pdu::{
    AssociationAC, PDataValue, PresentationContextResult, PresentationContextResultReason as Result_, write_pdu,
};
use proptest::prelude::*;

use super::{
    super::{command, tests::hex},
    *,
};

/// A-ASSOCIATE-AC of Orthanc 1.10.1, which dcmtk 3.6.7 writes.
const ACCEPTED: &str = "0200000000ba00010000415243484956452020202020202020204d45444c45592020202020202020202000000000000000000000000000\
    0000000000000000000000000000000000000010000015312e322e3834302e31303030382e332e312e312e312100001b01000000400000\
    13312e322e3834302e31303030382e312e322e315000003a51000004000040005200001b312e322e3237362e302e373233303031302e33\
    2e302e332e362e375500000f4f464649535f44434d544b5f333637";
/// A-ASSOCIATE-RJ of Orthanc: the called AE title is another one.
const CALLED: &str = "03000000000400010107";
/// A-ASSOCIATE-RJ of `storescp --refuse`.
const REFUSED: &str = "03000000000400010101";
/// C-ECHO-RSP of Orthanc.
const ECHOED: &str = "0400000000540000005001030000000004000000420000000000020012000000312e322e3834302e31303030382e312e31000000000102\
    0000003080000020010200000001000000000802000000010100000009020000000000";

/// An acceptance of these contexts in Implicit VR Little Endian.
fn contexts(ids: &[u8], max_length: u32) -> Pdu {
    let contexts = ids.iter().map(|id| (*id, "1.2.840.10008.1.2".to_owned())).collect();
    Pdu::Accepted(Acceptance { contexts, max_length })
}

/// What is read when the bytes come in pieces of these sizes. No more may be held than a PDU and a piece.
fn all(bytes: &[u8], pieces: &[usize]) -> (Vec<Pdu>, Option<Invalid>) {
    let (mut pdus, mut found, mut rest) = (Pdus::default(), Vec::new(), bytes);
    let mut sizes = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
        pdus.push(&rest[..size]);
        rest = &rest[size..];
        loop {
            match pdus.next_pdu() {
                Ok(Some(pdu)) => found.push(pdu),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(pdus.held.len() < HEADER + MAX_PDU + size);
    }
    (found, None)
}

fn one(bytes: &[u8]) -> Result<Option<Pdu>, Invalid> {
    let mut pdus = Pdus::default();
    pdus.push(bytes);
    pdus.next_pdu()
}

fn written(pdu: &Known) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).unwrap();
    bytes
}

#[test]
fn what_real_services_answer_is_read() {
    let explicit = (1, "1.2.840.10008.1.2.1".to_owned());
    let wanted = Pdu::Accepted(Acceptance { contexts: vec![explicit], max_length: 16384 });
    assert_eq!(one(&hex(ACCEPTED)), Ok(Some(wanted)));
    assert_eq!(one(&hex(CALLED)), Ok(Some(Pdu::Rejected(Rejection::Called))));
    assert_eq!(one(&hex(REFUSED)), Ok(Some(Pdu::Rejected(Rejection::Other))));
    let Ok(Some(Pdu::Data(fragments))) = one(&hex(ECHOED)) else { panic!() };
    assert_eq!((fragments.len(), fragments[0].context, fragments[0].last), (1, 1, true));
    let answer = command::response(&fragments[0].bytes, command::Answers::Echo);
    assert_eq!(answer, Ok(command::Response { status: 0, data_set: false }));
}

#[test]
fn a_piece_of_a_data_set_is_no_piece_of_a_command() {
    let piece = one(b"\x04\x00\x00\x00\x00\x07\x00\x00\x00\x03\x01\x00\x05");
    let wanted = Fragment { context: 1, data_set: true, last: false, bytes: vec![5] };
    assert_eq!(piece, Ok(Some(Pdu::Data(vec![wanted]))));
}

#[test]
fn of_several_contexts_those_are_found_that_are_accepted() {
    let context =
        |id, reason| PresentationContextResult { id, reason, transfer_syntax: "1.2.840.10008.1.2".to_owned() };
    let pdu = Known::AssociationAC(AssociationAC {
        protocol_version: 1,
        calling_ae_title: "A".to_owned(),
        called_ae_title: "B".to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: vec![
            context(1, Result_::AbstractSyntaxNotSupported),
            context(3, Result_::Acceptance),
            context(5, Result_::UserRejection),
            context(7, Result_::Acceptance),
        ],
        user_variables: Vec::new(),
    });
    assert_eq!(one(&written(&pdu)), Ok(Some(contexts(&[3, 7], 0))));
}

#[test]
fn what_is_not_significant_may_be_missing_and_what_is_reserved_may_be_there() {
    let accepted = |items: &[u8]| {
        let mut body = vec![0; BEFORE_ITEMS];
        body.extend_from_slice(items);
        let mut whole = vec![2, 0, 0, 0, 0, u8::try_from(body.len()).unwrap()];
        whole.extend(body);
        one(&whole)
    };
    // refused, and no transfer syntax beside it
    assert_eq!(accepted(&[0x21, 0, 0, 4, 1, 0, 3, 0]), Ok(Some(contexts(&[], 0))));
    // a result that the standard does not know is no acceptance; an item that it does not know is passed over
    assert_eq!(accepted(&[0x21, 0, 0, 4, 1, 0, 9, 0, 0x77, 0, 0, 1, 5]), Ok(Some(contexts(&[], 0))));
    // accepted, and no transfer syntax that is one
    let untold = |uid: &str| Pdu::Accepted(Acceptance { contexts: vec![(1, uid.to_owned())], max_length: 0 });
    assert_eq!(accepted(&[0x21, 0, 0, 4, 1, 0, 0, 0]), Ok(Some(untold(""))));
    assert_eq!(accepted(&[0x21, 0, 0, 9, 1, 0, 0, 0, 0x40, 0, 0, 1, b'D']), Ok(Some(untold(""))));
    assert_eq!(accepted(&[0x21, 0, 0, 10, 1, 0, 0, 0, 0x40, 0, 0, 2, b'1', 0]), Ok(Some(untold("1"))));
    assert_eq!(accepted(&[0x50, 0, 0, 8, 0x51, 0, 0, 4, 0, 0, 1, 0]), Ok(Some(contexts(&[], 256))));
    for cut in [
        &[0x21, 0, 0][..],
        &[0x21, 0, 0, 5, 1, 0, 0, 0, 0x40],
        &[0x50, 0, 0, 1, 0x51],
        &[0x21, 0, 0, 4, 1, 0, 3],
        &[0x21, 0, 0, 2, 1, 0],
        &[0x50, 0, 0xff, 0xff],
    ] {
        assert_eq!(accepted(cut), Err(Invalid), "{cut:?}");
    }
    assert_eq!(one(&hex("030000000004000101ff")), Ok(Some(Pdu::Rejected(Rejection::Other))));
    assert_eq!(one(&hex("070000000004000002ff")), Ok(Some(Pdu::Aborted)));
    assert_eq!(one(&hex("0700000000040000ffff")), Ok(Some(Pdu::Aborted)));
    assert_eq!(one(&hex("060000000000")), Ok(Some(Pdu::Released)));
}

#[test]
fn what_is_no_pdu_of_a_service_is_refused_as_soon_as_that_is_known() {
    let cases: [&[u8]; 8] = [
        b"H",            // a web server
        b"\x15\x03\x01", // TLS
        b"\x01",         // who asks for an association does not serve
        b"\x00",
        b"\x02\x00\xff\xff\xff\xff",  // larger than is taken in
        b"\x04\x00\x00\x02\x00\x01",  // larger by one byte
        b"\x02\x00\x00\x00\x00\x01x", // too short for what it is
        b"\x03\x00\x00\x00\x00\x03\0\0\0",
    ];
    for case in cases {
        assert_eq!(one(case), Err(Invalid), "{case:?}");
    }
    assert_eq!(one(b"\x04\x00\x00\x02\x00\x00"), Ok(None), "the largest one");
    assert_eq!(one(b""), Ok(None));
}

/// The first byte of a PDU more often than others.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let header = (2_u8..8, 0_u8..200).prop_map(|(kind, length)| vec![kind, 0, 0, 0, 0, length]);
    let item = (prop_oneof![Just(0x10_u8), Just(0x21), Just(0x40), Just(0x50)], 0_u8..30)
        .prop_map(|(kind, length)| vec![kind, 0, 0, length]);
    let real = prop_oneof![Just(ACCEPTED), Just(CALLED), Just(ECHOED)].prop_map(hex);
    let part = prop_oneof![header, item, real, prop::collection::vec(any::<u8>(), 0..30)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm_and_alike_however_they_are_cut(
        bytes in any_bytes(), pieces in prop::collection::vec(1_usize..60, 1..8),
    ) {
        let whole = all(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(all(&bytes, &pieces), whole.clone());
        prop_assert_eq!(all(&bytes, &[1]), whole);
    }

    #[test]
    fn the_crate_takes_any_bytes_of_p_data_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut whole = vec![4, 0];
        whole.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        whole.extend(&bytes);
        if let Ok(fragments) = data(&whole) {
            prop_assert!(fragments.iter().map(|f| f.bytes.len()).sum::<usize>() <= bytes.len());
        }
    }

    #[test]
    fn data_comes_back_as_another_implementation_writes_it(
        list in prop::collection::vec(
            (any::<u8>(), any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5,
        ),
        pieces in prop::collection::vec(1_usize..30, 1..8),
    ) {
        let data = list.iter().map(|(id, data_set, last, bytes)| PDataValue {
            presentation_context_id: *id,
            value_type: if *data_set { PDataValueType::Data } else { PDataValueType::Command },
            is_last: *last,
            data: bytes.clone(),
        });
        let wanted = list.iter().map(|(context, data_set, last, bytes)| Fragment {
            context: *context, data_set: *data_set, last: *last, bytes: bytes.clone(),
        });
        let twice = [written(&Known::PData { data: data.collect() }), hex(CALLED)].concat();
        let wanted = vec![Pdu::Data(wanted.collect()), Pdu::Rejected(Rejection::Called)];
        prop_assert_eq!(all(&twice, &pieces), (wanted, None));
    }
}
