//! Probes over a stream: what each way to answer means, whatever pieces it comes in, and how long it may take.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Duration, sleep},
};

use super::{super::dicom::FAREWELL, *};

/// The parts of a scripted service: what it sends, each part after a PDU came.
type Script = &'static [&'static str];

/// A-ASSOCIATE-AC for the context 1; the same with a context that is refused.
const ACCEPTED: &str = "02000000004c00010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000002100000401000000";
const REFUSED: &str = "02000000004c00010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000002100000401000300";
/// C-ECHO-RSP with the status 0, and with 0x0122.
const ECHOED: &str =
    "04000000002e0000002a010300000001020000003080000020010200000001000000000802000000010100000009020000000000";
const FAILED: &str =
    "04000000002e0000002a010300000001020000003080000020010200000001000000000802000000010100000009020000002201";
const RELEASED: &str = "06000000000400000000";

fn hex(text: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.as_bytes().chunks(2).map(byte).collect()
}

/// Who calls whom in all of them.
fn titles() -> Titles {
    Titles { called: "ARCHIVE".to_owned(), calling: "MEDLEY".to_owned() }
}

/// How a probe that proposes nothing else ends.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S, deadline: Instant) -> Result<(), EndpointReason> {
    match ask(stream, &titles(), &Proposal::default(), deadline).await {
        Probed { outcome: ProbeOutcome::Answered, facts: None, .. } => Ok(()),
        Probed { outcome: ProbeOutcome::Failed(reason), facts: None, .. } => Err(reason),
        other => panic!("{other:?}"),
    }
}

/// The type of the next PDU that comes; `None` when the other side closes.
async fn receive(stream: &mut DuplexStream) -> Option<u8> {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.ok()?;
    let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(header[0])
}

/// What a probe with 3 s says of a service that keeps to this script, sends pieces of this size, and closes then where it is to; the
/// PDUs that it got, and how long the probe took.
async fn asked(script: Script, size: usize, closes: bool) -> (Result<(), EndpointReason>, Vec<u8>, Duration) {
    let (here, mut there) = duplex(64 * 1024);
    let service = tokio::spawn(async move {
        let mut got = Vec::new();
        for part in script {
            got.extend(receive(&mut there).await);
            for piece in hex(part).chunks(size) {
                if there.write_all(piece).await.is_err() {
                    return got;
                }
                tokio::task::yield_now().await;
            }
        }
        if !closes {
            while let Some(kind) = receive(&mut there).await {
                got.push(kind);
            }
        }
        got
    });
    let begin = Instant::now();
    let found = echo(here, begin + Duration::from_secs(3)).await;
    let took = begin.elapsed();
    (found, service.await.unwrap(), took)
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_answered_in_whatever_pieces_and_the_association_released() {
    for size in [1, 7, 1000] {
        let (found, got, took) = asked(&[ACCEPTED, ECHOED, RELEASED], size, true).await;
        assert_eq!((found, got, took), (Ok(()), vec![1, 4, 5], Duration::ZERO), "in pieces of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_outcome_stands_when_the_release_is_not_answered() {
    let (found, got, took) = asked(&[ACCEPTED, ECHOED], 1000, false).await;
    assert_eq!((found, got, took), (Ok(()), vec![1, 4, 5], FAREWELL));
}

#[tokio::test(start_paused = true)]
async fn each_fault_has_a_reason() {
    use EndpointReason as R;
    let cases: [(&str, Script, R, &[u8]); 10] = [
        ("an unknown called title", &["03000000000400010107"], R::AeTitleRejected, &[1]),
        ("an unknown calling title", &["03000000000400010103"], R::AeTitleRejected, &[1]),
        ("no reason", &["03000000000400010101"], R::AssociationRejected, &[1]),
        ("for now", &["03000000000400020101"], R::Overloaded, &[1]),
        ("a limit", &["03000000000400010302"], R::Overloaded, &[1]),
        ("an abort", &["07000000000400000200"], R::AssociationAborted, &[1]),
        ("a refused context", &[REFUSED, RELEASED], R::PresentationContextRefused, &[1, 5]),
        ("HTML", &["485454502f312e3120343030"], R::DicomInvalid, &[1, 7]),
        ("a wrong status", &[ACCEPTED, FAILED, RELEASED], R::EchoFailed, &[1, 4, 5]),
        ("a wrong answer", &[ACCEPTED, "040000000008000000040103ffff"], R::DicomInvalid, &[1, 4, 7]),
    ];
    for (name, script, reason, sent) in cases {
        let (found, got, _) = asked(script, 1000, false).await;
        assert_eq!((found, got.as_slice()), (Err(reason), sent), "{name}");
    }
    for script in [&[""][..], &[ACCEPTED, ""]] {
        assert_eq!(asked(script, 1000, true).await.0, Err(R::AssociationAborted), "it closes");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_timeout_and_an_abort() {
    for (script, sent) in [(&[] as Script, vec![1, 7]), (&[ACCEPTED], vec![1, 4, 7]), (&["0200"], vec![1, 7])] {
        let (found, got, took) = asked(script, 1000, false).await;
        assert_eq!((found, got), (Err(EndpointReason::AssociationTimeout), sent));
        assert_eq!(took, Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_ends_with_the_timeout_and_is_not_kept() {
    let (here, mut there) = duplex(1024);
    let service = tokio::spawn(async move {
        receive(&mut there).await;
        there.write_all(&hex(ACCEPTED)).await.unwrap();
        receive(&mut there).await;
        // pieces of a command that hold nothing
        while there.write_all(&hex("040000000006000000020101")).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let found = echo(here, Instant::now() + Duration::from_secs(3)).await;
    assert_eq!(found, Err(EndpointReason::AssociationTimeout));
    service.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_and_not_accepted_is_a_mismatch_and_told() {
    let proposal = Proposal { classes: ["1.2.3".to_owned()].into(), ..Proposal::default() };
    // a second context, in Implicit VR Little Endian
    let taken = format!(
        "{}210000190300000040000011312e322e3834302e31303030382e312e32",
        ACCEPTED.replacen("02000000004c", "020000000069", 1)
    );
    let lacks = ProbeOutcome::Failed(EndpointReason::CapabilityMismatch);
    for (answer, outcome, classes) in [(taken, ProbeOutcome::Answered, 1), (ACCEPTED.to_owned(), lacks, 0)] {
        let (here, mut there) = duplex(64 * 1024);
        let service = tokio::spawn(async move {
            for part in [answer.as_str(), ECHOED, RELEASED] {
                receive(&mut there).await;
                there.write_all(&hex(part)).await.unwrap();
            }
        });
        let probed = ask(here, &titles(), &proposal, Instant::now() + Duration::from_secs(3)).await;
        let Some(Facts::Dicom(found)) = probed.facts else { panic!("{probed:?}") };
        assert_eq!((probed.outcome, found.accepted.len(), &found.proposed), (outcome, classes, &proposal));
        service.await.unwrap();
    }
}
