//! Does a run end as if nothing had happened when the API server and its watches are troubled?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::simulated::{Call, Fault, WatchFault};
use medley::api::workflow_run::RunPhase;
use tokio::time::sleep;

use super::{
    crashes::{Outcome, assert_same, undisturbed},
    steps::story,
    undisturbed::prepared,
};

fn refused(code: u16, reason: &str, after: Option<u64>) -> Fault {
    Fault::Respond { code, reason: reason.to_owned(), retry_after: after.map(Duration::from_secs) }
}

/// Runs the story under a plan for the operator's calls; the outcome must be the undisturbed one, no call repeated.
async fn survives(what: &str, plan: impl FnMut(&Call) -> Fault + Send + 'static) {
    ends_as(&undisturbed().await, what, plan).await;
}

async fn ends_as(expected: &Outcome, what: &str, mut plan: impl FnMut(&Call) -> Fault + Send + 'static) {
    let stage = prepared(story()).await;
    stage.run("r1", "ct").await;
    let struck = Arc::new(AtomicUsize::new(0));
    stage.world.faults({
        let struck = Arc::clone(&struck);
        move |call| {
            let fault = if call.user == "op-1" { plan(call) } else { Fault::None };
            if !matches!(fault, Fault::None) {
                struck.fetch_add(1, Ordering::Relaxed);
            }
            fault
        }
    });
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{what}");
    stage.rest().await;
    assert!(struck.load(Ordering::Relaxed) > 0, "{what}: the plan never struck");
    assert_same(&stage, expected, 0, what);
}

fn is_work(call: &Call) -> bool {
    call.is_write() && !call.is_event() && call.resource != "leases"
}

#[tokio::test(start_paused = true)]
async fn a_reply_lost_after_any_write_changes_nothing() {
    let expected = undisturbed().await;
    for k in 1..=expected.2 {
        let mut seen = 0;
        ends_as(&expected, &format!("reply to write {k} lost"), move |call| {
            seen += usize::from(is_work(call));
            if is_work(call) && seen == k { Fault::LoseReplyAfterCommit } else { Fault::None }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_too_late_changes_nothing() {
    let mut seen = 0;
    survives("every third reply comes after 6 s", move |call| {
        seen += usize::from(is_work(call));
        if is_work(call) && seen % 3 == 0 { Fault::DelayReply(Duration::from_secs(6)) } else { Fault::None }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_every_second_update_changes_nothing() {
    let mut seen = 0;
    survives("every second update conflicts", move |call| {
        let is_update = call.verb == "update" && call.resource != "leases";
        seen += usize::from(is_update);
        if is_update && seen % 2 == 1 { refused(409, "Conflict", None) } else { Fault::None }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_overloaded_for_a_while_changes_nothing() {
    let mut seen = 0;
    survives("the first calls fail with 429 and 500", move |call| {
        seen += usize::from(call.resource != "leases");
        match seen {
            0..=12 => Fault::None,
            n if n > 60 => Fault::None,
            n if n % 3 == 0 => refused(500, "InternalError", None),
            n if n % 3 == 1 => refused(503, "ServiceUnavailable", None),
            _ => refused(429, "TooManyRequests", Some(1)),
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_change_nothing() {
    let mut seen = 0;
    survives("every fourth call breaks", move |_| {
        seen += 1;
        match seen % 8 {
            3 => Fault::DropBefore,
            7 => Fault::LoseReplyAfterCommit,
            _ => Fault::None,
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_or_break_change_nothing() {
    let expected = undisturbed().await;
    for (every, reset) in [(50, false), (130, true), (400, false), (700, true)] {
        let stage = prepared(story()).await;
        stage.run("r1", "ct").await;
        stage.start("op-1");
        let cutter = tokio::spawn({
            let server = stage.server.clone();
            async move {
                loop {
                    sleep(Duration::from_millis(every)).await;
                    for kind in
                        ["WorkflowRun", "Pod", "Workflow", "MedicalService", "EndpointSlice", "ControllerRevision"]
                    {
                        if reset { server.reset_watches(kind) } else { server.cut_watches(kind) }
                    }
                    server.compact();
                }
            }
        });
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "cut every {every} ms");
        cutter.abort();
        stage.rest().await;
        assert_same(&stage, &expected, 0, &format!("cut every {every} ms"));
    }
}

#[tokio::test(start_paused = true)]
async fn watch_events_that_come_late_change_nothing() {
    let expected = undisturbed().await;
    for seed in 0..8_u64 {
        let stage = prepared(story()).await;
        stage.run("r1", "ct").await;
        let mut n = seed;
        stage.server.set_watch_faults(move |event| {
            if event.user != "op-1" {
                return WatchFault::Deliver;
            }
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (n >> 33) % 3 {
                0 => WatchFault::Deliver,
                _ => WatchFault::Delay(Duration::from_millis(5000 + (n >> 33) % 25_000)),
            }
        });
        stage.start("op-1");
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "seed {seed}");
        stage.rest().await;
        assert_same(&stage, &expected, 0, &format!("seed {seed}"));
    }
}
