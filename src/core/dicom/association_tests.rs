//! Whole associations: what is sent, what each answer means, and how it ends.

use std::collections::BTreeSet;

use dicom_ul::pdu::{PDataValue, UserVariableItem, read_pdu};
use proptest::prelude::*;

use super::{
    super::{
        Rejection,
        sent::{APPLICATION_CONTEXT, IMPLEMENTATION, VERSION},
        tests::hex,
    },
    *,
};

/// Accepts the context 1, as short as an answer can be.
fn accepted(result: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 76];
    bytes.extend([0; 68]);
    bytes.extend([0x21, 0, 0, 4, 1, 0, result, 0]);
    bytes
}

/// C-ECHO-RSP with this status, in pieces of this size.
fn echoed(context: u8, status: u16, size: usize) -> Vec<u8> {
    let mut command = Vec::new();
    for (number, value) in [(0x0100_u16, 0x8030), (0x0120, 1), (0x0800, 0x0101), (0x0900, status)] {
        command.extend([0, 0]);
        command.extend(number.to_le_bytes());
        command.extend([2, 0, 0, 0]);
        command.extend(u16::to_le_bytes(value));
    }
    let pieces: Vec<&[u8]> = command.chunks(size).collect();
    let data = pieces.iter().enumerate().map(|(n, piece)| PDataValue {
        presentation_context_id: context,
        value_type: PDataValueType::Command,
        is_last: n + 1 == pieces.len(),
        data: piece.to_vec(),
    });
    data.map(|value| bytes(&Known::PData { data: vec![value] }).unwrap()).collect::<Vec<_>>().concat()
}

fn titles() -> Titles {
    Titles { called: "ARCHIVE".to_owned(), calling: "MEDLEY".to_owned() }
}

fn echo() -> Association {
    Association::new(&titles(), Ask::Echo(Proposal::default())).unwrap()
}

const ECHOED: Result<Done, Failure> = Ok(Done::Echoed(Accepted::new()));

/// What comes of it when the other side sends this, and closes then; `None` while it waits for more.
fn after(answers: &[u8], closes: bool) -> (Option<Result<Done, Failure>>, Farewell) {
    let mut echo = echo();
    echo.push(answers);
    if closes {
        while matches!(echo.step(), Next::Send(_)) {}
        echo.closed();
    }
    loop {
        match echo.step() {
            Next::Send(_) => {}
            Next::Receive => return (None, echo.farewell()),
            Next::Ended(what) => return (Some(what), echo.farewell()),
        }
    }
}

#[test]
fn an_echo_is_asked_for_and_answered_and_the_association_released() {
    let mut echo = echo();
    assert_eq!(echo.farewell(), Farewell::Nothing, "nothing has been sent");
    let Next::Send(request) = echo.step() else { panic!() };
    assert_eq!(echo.step(), Next::Receive);
    let Ok(Some(Known::AssociationRQ(request))) = read_pdu(request.as_slice(), 16384, true) else { panic!() };
    assert_eq!((request.called_ae_title.as_str(), request.calling_ae_title.as_str()), ("ARCHIVE", "MEDLEY"));
    assert_eq!((request.protocol_version, request.application_context_name.as_str()), (1, APPLICATION_CONTEXT));
    let [context] = request.presentation_contexts.as_slice() else { panic!() };
    assert_eq!((context.id, context.abstract_syntax.as_str()), (1, "1.2.840.10008.1.1"));
    assert_eq!(context.transfer_syntaxes, ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]);
    assert_eq!(request.user_variables[0], UserVariableItem::MaxLength(16384));

    echo.push(&accepted(0));
    let Next::Send(sent) = echo.step() else { panic!() };
    // PDU and PDV headers, then the command
    assert_eq!((sent.len(), &sent[..12]), (80, &[4, 0, 0, 0, 0, 74, 0, 0, 0, 70, 1, 3][..]));
    assert_eq!(echo.step(), Next::Receive);
    assert_eq!(echo.farewell(), Farewell::Abort(hex("07000000000400000000")), "it waits for its answer");
    echo.push(&echoed(1, 0, 100));
    assert_eq!(echo.step(), Next::Ended(ECHOED));
    assert_eq!(echo.farewell(), Farewell::Release(hex("05000000000400000000")));
    echo.closed();
    assert_eq!(echo.step(), Next::Ended(ECHOED), "what is known stays so");
}

#[test]
fn what_is_accepted_besides_is_told_with_the_echo() {
    let set = |uid: &str| BTreeSet::from([uid.to_owned()]);
    let proposal = Proposal { classes: set("1.2.840.10008.5.1.4.1.1.2"), syntaxes: set("1.2.840.10008.1.2.4.90") };
    let ask = |answer: Vec<u8>| {
        let mut echo = Association::new(&titles(), Ask::Echo(proposal.clone())).unwrap();
        echo.push(&answer);
        echo.push(&echoed(1, 0, 100));
        loop {
            match echo.step() {
                Next::Send(_) => {}
                Next::Receive => panic!("it waits"),
                Next::Ended(what) => return what,
            }
        }
    };
    let mut answer = accepted(0);
    answer.extend([0x21, 0, 0, 30, 3, 0, 0, 0, 0x40, 0, 0, 22]);
    answer.extend(b"1.2.840.10008.1.2.4.90");
    answer[5] = u8::try_from(answer.len() - 6).unwrap();
    let wanted = Accepted::from([("1.2.840.10008.5.1.4.1.1.2".to_owned(), set("1.2.840.10008.1.2.4.90"))]);
    assert_eq!(ask(answer), Ok(Done::Echoed(wanted)));
    assert_eq!(ask(accepted(0)), ECHOED, "the echo is well all the same");

    let mut echo = Association::new(&titles(), Ask::Echo(proposal)).unwrap();
    let Next::Send(request) = echo.step() else { panic!() };
    let Ok(Some(Known::AssociationRQ(request))) = read_pdu(request.as_slice(), 16384, true) else { panic!() };
    assert_eq!(request.presentation_contexts.len(), 2);
    assert_eq!((request.presentation_contexts[1].id, request.presentation_contexts[1].transfer_syntaxes.len()), (3, 1));
}

#[test]
fn names_of_the_implementation_are_as_long_as_they_may_be() {
    assert!(VERSION.len() <= 16 && VERSION.is_ascii(), "{VERSION}");
    assert!(IMPLEMENTATION.len() <= 64 && IMPLEMENTATION.split('.').all(|n| n == "0" || !n.starts_with('0')));
}

#[test]
fn a_title_that_cannot_be_sent_is_refused() {
    for bad in ["", "    ", "SEVENTEEN-LETTERS"] {
        let titles = |called: &str, calling: &str| Titles { called: called.to_owned(), calling: calling.to_owned() };
        assert_eq!(
            Association::new(&titles(bad, "A"), Ask::Echo(Proposal::default())).err(),
            Some(Failure::Titles),
            "{bad}"
        );
        assert_eq!(
            Association::new(&titles("A", bad), Ask::Echo(Proposal::default())).err(),
            Some(Failure::Titles),
            "{bad}"
        );
    }
}

#[test]
fn each_answer_is_told_by_the_layer_that_failed() {
    let with = |answer: &[u8]| [accepted(0).as_slice(), answer].concat();
    let release = || Farewell::Release(hex("05000000000400000000"));
    let abort = || Farewell::Abort(hex("07000000000400000000"));
    let piece = PDataValue {
        presentation_context_id: 1,
        value_type: PDataValueType::Command,
        is_last: false,
        data: vec![0; 1000],
    };
    let large = bytes(&Known::PData { data: vec![piece; 20] }).unwrap();
    let cases = [
        ("a wrong status", with(&echoed(1, 0x0122, 100)), Err(Failure::Status(0x0122)), release()),
        ("the answer in pieces", with(&echoed(1, 0, 3)), ECHOED, release()),
        ("no context", accepted(3), Err(Failure::ContextRefused), release()),
        ("a rejection", hex("03000000000400010107"), Err(Failure::Rejected(Rejection::Called)), Farewell::Nothing),
        ("an abort at once", hex("07000000000400000000"), Err(Failure::Aborted), Farewell::Nothing),
        ("an abort in the middle", with(&hex("07000000000400000200")), Err(Failure::Aborted), Farewell::Nothing),
        ("a release in the middle", with(&hex("05000000000400000000")), Err(Failure::Aborted), abort()),
        ("a second acceptance", with(&accepted(0)), Err(Failure::Invalid), abort()),
        ("data without an association", echoed(1, 0, 100), Err(Failure::Invalid), abort()),
        ("another context", with(&echoed(3, 0, 100)), Err(Failure::Invalid), abort()),
        ("what is no command", with(&hex("040000000008000000040103ffff")), Err(Failure::Invalid), abort()),
        ("an endless command", with(&large), Err(Failure::Invalid), abort()),
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Err(Failure::Invalid), abort()),
    ];
    for (name, answers, what, farewell) in cases {
        assert_eq!(after(&answers, false), (Some(what), farewell), "{name}");
    }
    assert_eq!(after(b"", true), (Some(Err(Failure::Closed)), Farewell::Nothing));
    assert_eq!(after(&accepted(0), true), (Some(Err(Failure::Closed)), Farewell::Nothing));
    assert_eq!(after(b"", false), (None, abort()));
}

proptest! {
    #[test]
    fn any_answer_ends_it_or_waits_for_more(
        begins in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50,
    ) {
        let start = [accepted(0), echoed(1, 0, 10)].concat();
        let all = [&start[..start.len() * begins / 2], bytes.as_slice()].concat();
        let whole = after(&all, false);
        let mut echo = echo();
        let mut found = None;
        for piece in all.chunks(piece) {
            echo.push(piece);
            // three things are sent at most, each of them once
            for _ in 0..4 {
                match echo.step() {
                    Next::Send(_) => {}
                    Next::Receive => break,
                    Next::Ended(what) => { found = Some(what); break; }
                }
            }
            prop_assert!(echo.command.len() <= MAX_COMMAND + 100);
            if found.is_some() { break; }
        }
        prop_assert_eq!(&found, &whole.0, "alike however it is cut");
        if begins == 2 { prop_assert_eq!(found, Some(ECHOED)); }
    }
}
