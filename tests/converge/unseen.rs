//! What no watch shows, or not yet: is it noticed, and is nothing done twice for it?

use std::{sync::Arc, time::Duration};

use harness::simulated::{Fault, WatchFault};
use medley::{api::workflow_run::RunPhase, render::RUN_LABEL, telemetry::ServiceCall};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, child, container, transform},
    undisturbed::{prepared, prepared_with},
    world::{answer, hangs, vanishes, works},
};

/// Deletes an object so that no watch of the operator ever tells of it.
async fn delete_unseen(stage: &Stage, kind: &'static str, name: &'static str) {
    stage.server.set_watch_faults(move |event| {
        let hit = event.user == "op-1" && event.kind == kind && event.event == "DELETED";
        if hit { WatchFault::Drop } else { WatchFault::Deliver }
    });
    stage.server.delete(kind, NAMESPACE, name, 0).unwrap();
    sleep(Duration::from_secs(5)).await;
    // the history is forgotten: the next watch cannot tell either, and a list has to
    stage.server.compact();
    stage.server.clear_watch_faults();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_deleted_unseen_is_forgotten() {
    let stage = prepared(vec![call("slow").timeout("1h").step()]).await;
    stage.world.replies("/slow", [answer(200, json!({})).after(Duration::from_secs(600))]);
    stage.run("r1", "ct").await;
    let operator = stage.start("op-1");
    let active = |s: &Stage| s.server.object("Workflow", NAMESPACE, "ct").unwrap()["status"]["active"].clone();
    let at_work = |s: &Stage| s.world.asked("/slow") == 1 && active(s) == json!(1);
    stage.until("the call is under way", Duration::from_secs(60), at_work).await;

    delete_unseen(&stage, "WorkflowRun", "r1").await;
    assert_eq!(active(&stage), json!(1), "nobody has told the operator");
    stage.server.reset_watches("WorkflowRun");
    // counts are written every 10 s at most
    stage.until("the workflow counts it no more", Duration::from_secs(15), |s| active(s) == json!(0)).await;
    let last = stage.server.object("Workflow", NAMESPACE, "ct").unwrap()["status"]["lastRun"].clone();
    assert_eq!(last["name"], "r1", "what the workflow last did stays told");

    // its call was dropped: nothing comes of it, also not for another run of the same name
    stage.world.replies("/slow", [answer(200, json!({})), answer(200, json!({}))]);
    sleep(Duration::from_secs(1200)).await;
    let answered = || operator.metrics.calls.get_or_create(&ServiceCall { outcome: "answered" }).get();
    assert_eq!(answered(), 0, "nobody waits for the answer");
    stage.run("r1", "ct").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!((stage.world.asked("/slow"), answered()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_deleted_unseen_is_lost() {
    let stage = prepared(vec![container("tool").timeout("2h").step()]).await;
    stage.world.fates("tool", [hangs()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let running = |s: &Stage| s.step("r1", "tool")["phase"] == "Running";
    stage.until("the pod runs", Duration::from_secs(60), running).await;

    delete_unseen(&stage, "Pod", "r1-tool-1").await;
    assert!(running(&stage), "nobody has told the operator");
    stage.server.reset_watches("Pod");
    stage.until("the run ends", Duration::from_secs(15), |s| s.phase("r1") == Some(RunPhase::Failed)).await;
    assert_eq!(stage.step("r1", "tool")["reason"], "PodLost");
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-tool-1"], "it is not made again behind the status's back");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_somebody_hides_is_stopped_when_its_time_is_over_and_when_its_run_is_cancelled() {
    for cancel in [false, true] {
        let stage = prepared(vec![container("tool").timeout("2m").step()]).await;
        stage.world.fates("tool", [hangs()]);
        stage.run("r1", "ct").await;
        stage.start("op-1");
        let running = |s: &Stage| s.step("r1", "tool")["phase"] == "Running";
        stage.until("the pod runs", Duration::from_secs(60), running).await;
        let without_label = json!({"metadata": {"labels": {RUN_LABEL: null}}});
        stage.server.patch("Pod", NAMESPACE, "r1-tool-1", &without_label).unwrap();
        sleep(Duration::from_secs(30)).await;
        assert!(running(&stage), "it is not lost");

        // that it could not be stopped is not forgotten, although no step waits for it any more
        let mut failures = 0;
        stage.world.faults(move |call| {
            let hit = call.verb == "delete" && call.name == "r1-tool-1" && failures < 2;
            failures += usize::from(hit);
            let overloaded =
                || Fault::Respond { code: 503, reason: "ServiceUnavailable".to_owned(), retry_after: None };
            if hit { overloaded() } else { Fault::None }
        });
        if cancel {
            stage.cancel("r1").await;
        }
        assert_eq!(stage.ended("r1").await, if cancel { RunPhase::Canceled } else { RunPhase::Failed });
        let gone = |s: &Stage| s.server.object("Pod", NAMESPACE, "r1-tool-1").is_none();
        stage.until("the pod is stopped", Duration::from_secs(5), gone).await;
        stage.rest().await;
        assert_eq!(stage.pods_created(), ["r1-tool-1"]);
        stage.assert_monotone();
    }
}

/// A run whose pod runs for ten seconds.
async fn with_a_pod_at_work() -> Stage {
    let stage = prepared(vec![container("tool").output("n", "Integer", "result.n").step()]).await;
    stage.world.fates("tool", [works(Duration::from_secs(10), &json!({"n": 7}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let running = |s: &Stage| s.step("r1", "tool")["phase"] == "Running";
    stage.until("the pod runs", Duration::from_secs(60), running).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_ended_unseen_when_its_run_is_cancelled_is_left_alone_and_its_result_counts() {
    let stage = with_a_pod_at_work().await;
    stage.server.set_watch_faults(|event| {
        let hit = event.user == "op-1" && event.kind == "Pod";
        if hit { WatchFault::Delay(Duration::from_secs(60)) } else { WatchFault::Deliver }
    });
    let over = |s: &Stage| {
        let pod = s.server.object("Pod", NAMESPACE, "r1-tool-1");
        pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded")
    };
    stage.until("the pod has ended", Duration::from_secs(60), over).await;
    assert_eq!(stage.step("r1", "tool")["phase"], "Running", "nobody has told the operator");
    stage.cancel("r1").await;
    let canceled = |s: &Stage| s.phase("r1") == Some(RunPhase::Canceled);
    stage.until("the run ends", Duration::from_secs(5), canceled).await;
    let step = stage.step("r1", "tool");
    assert_eq!((&step["phase"], &step["outputs"]["n"]), (&json!("Succeeded"), &json!(7)));
    stage.rest().await;
    assert!(over(&stage), "it is left to its run");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_changes_all_the_time_is_stopped_all_the_same() {
    let stage = with_a_pod_at_work().await;
    let mut changes = 0;
    stage.world.faults(move |call| {
        let hit = call.verb == "delete" && call.name == "r1-tool-1" && changes < 5;
        changes += usize::from(hit);
        let conflict = || Fault::Respond { code: 409, reason: "Conflict".to_owned(), retry_after: None };
        if hit { conflict() } else { Fault::None }
    });
    stage.cancel("r1").await;
    let canceled = |s: &Stage| s.phase("r1") == Some(RunPhase::Canceled);
    stage.until("the run ends", Duration::from_secs(4), canceled).await;
    assert!(stage.server.object("Pod", NAMESPACE, "r1-tool-1").is_none(), "its pod was stopped");
    let deletes = stage.calls_of("op-1").iter().filter(|r| r.call.verb == "delete").count();
    assert!(deletes <= 7, "{deletes} deletes");
}

/// A step whose pods go away as long after their creation as is said; the last works.
async fn vanishing(after: &[u64], step: super::steps::Step) -> Stage {
    let stage = prepared(vec![step.timeout("1h").step()]).await;
    let gone = after.iter().map(|&millis| vanishes(Duration::from_millis(millis)));
    stage.world.fates("tool", gone.chain([works(Duration::from_millis(300), &json!({}))]));
    stage.run("r1", "ct").await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_away_before_its_start_is_told_is_lost_and_not_made_again_as_the_same_attempt() {
    let stage = vanishing(&[10, 250, 1900], container("tool").retries(3)).await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-tool-1", "r1-tool-2", "r1-tool-3", "r1-tool-4"]);
    assert_eq!(stage.step("r1", "tool")["attempt"], json!(4));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_made_and_has_gone_before_its_maker_hears_of_it_is_lost() {
    let stage = vanishing(&[10], container("tool").retries(1)).await;
    // the pod has come and gone for the watch when the reply to its creation arrives
    stage.world.faults(|call| {
        let hit = call.verb == "create" && call.name == "r1-tool-1";
        if hit { Fault::DelayReply(Duration::from_secs(2)) } else { Fault::None }
    });
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-tool-1", "r1-tool-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_may_run_once_and_that_a_new_leader_never_saw_is_not_made_again() {
    let stage = vanishing(&[10], container("tool").retries(1).with("safety", json!("AtMostOnce"))).await;
    let world = Arc::clone(&stage.world);
    stage.world.faults(move |call| {
        if call.user != "op-1" || call.verb != "create" || call.name != "r1-tool-1" {
            return Fault::None;
        }
        let world = Arc::clone(&world);
        Fault::CrashAfter(Box::new(move || world.kill("op-1")))
    });
    stage.start("op-1");
    stage.until("its maker is dead", Duration::from_secs(60), |s| s.world.is_dead("op-1")).await;
    stage.start("op-2");
    let unknown = |s: &Stage| s.step("r1", "tool")["phase"] == "Unknown";
    stage.until("nobody knows what it has done", Duration::from_secs(60), unknown).await;
    stage.rest().await;
    assert_eq!(stage.pods_created(), ["r1-tool-1"]);
}

/// How often the pod of a step that may run once is made whose creation gets no answer and that no watch shows, and the step's phase
/// in the end.
async fn made_without_an_answer(gone_after: &[u64]) -> (usize, String) {
    let stage = vanishing(gone_after, container("tool").retries(1).with("safety", json!("AtMostOnce"))).await;
    stage.world.faults(|call| {
        let hit = call.verb == "create" && call.name == "r1-tool-1";
        if hit { Fault::LoseReplyAfterCommit } else { Fault::None }
    });
    stage.server.set_watch_faults(|event| if event.kind == "Pod" { WatchFault::Drop } else { WatchFault::Deliver });
    stage.start("op-1");
    let settled = |s: &Stage| matches!(s.step("r1", "tool")["phase"].as_str(), Some("Unknown" | "Succeeded"));
    stage.until("it is known, or known not to be", Duration::from_secs(60), settled).await;
    stage.rest().await;
    (stage.pods_created().len(), stage.step("r1", "tool")["phase"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_may_run_once_is_not_made_again_when_no_answer_came() {
    assert_eq!(made_without_an_answer(&[10]).await, (1, "Unknown".to_owned()));
    assert_eq!(made_without_an_answer(&[]).await, (1, "Succeeded".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_child_run_of_which_a_new_leader_has_not_heard_yet_is_not_lost() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    stage.workflow("part", [call("slow").timeout("1h").step()]).await;
    stage.workflow("ct", [child("whole", "part", json!([])).timeout("2h").step()]).await;
    stage.world.replies("/slow", [answer(200, json!({})).after(Duration::from_secs(40))]);
    stage.start("op-1");
    sleep(Duration::from_secs(5)).await;
    stage.start("op-2");
    sleep(Duration::from_secs(5)).await;
    // the other hears of the run in time, and of its child run a minute late
    stage.server.set_watch_faults(|event| {
        let hit = event.user == "op-2" && event.name == "r1-whole-1";
        if hit { WatchFault::Delay(Duration::from_secs(60)) } else { WatchFault::Deliver }
    });
    stage.run("r1", "ct").await;
    let running = |s: &Stage| s.step("r1", "whole")["phase"] == "Running";
    stage.until("the child run is under way", Duration::from_secs(60), running).await;
    stage.world.kill("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{}", stage.message("r1"));
    assert_eq!(stage.phase("r1-whole-1"), Some(RunPhase::Succeeded));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_finds_no_revision_goes_on_when_there_is_one_again() {
    let stage = Stage::new();
    stage.workflow("ct", [transform("one", "1").step()]).await;
    stage.start("op-1");
    stage.rest().await;
    let revision = stage.server.objects("ControllerRevision")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    stage.world.faults(|call| {
        let hit = call.verb == "create" && call.resource == "controllerrevisions";
        let respond = || Fault::Respond { code: 500, reason: "InternalError".to_owned(), retry_after: None };
        if hit { respond() } else { Fault::None }
    });
    stage.server.delete("ControllerRevision", NAMESPACE, &revision, 0).unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.run("r1", "ct").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Pending), "WorkflowNotStored"));
    stage.world.no_faults();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_label_was_taken_off_is_not_lost_and_is_stopped_with_its_run() {
    for cancel in [false, true] {
        let stage = prepared(vec![container("tool").each(json!({"count": 2})).timeout("1h").step()]).await;
        stage.world.fates("tool", [works(Duration::from_secs(60), &json!({}))]);
        stage.run("r1", "ct").await;
        stage.start("op-1");
        let running = |s: &Stage| s.step("r1", "tool")["phase"] == "Running";
        stage.until("the Job is at work", Duration::from_secs(60), running).await;
        let job = stage.step("r1", "tool")["job"].as_str().unwrap().to_owned();
        let hide = json!({"metadata": {"labels": {RUN_LABEL: null}}});
        stage.server.patch("Job", NAMESPACE, &job, &hide).unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(stage.step("r1", "tool")["phase"], "Running");
        if cancel {
            stage.cancel("r1").await;
        }
        assert_eq!(stage.ended("r1").await, if cancel { RunPhase::Canceled } else { RunPhase::Succeeded });
        stage.rest().await;
        let at_work = |job: &Value| job["status"]["conditions"].is_null();
        assert!(!stage.server.objects("Job").iter().any(at_work), "it is left behind");
        stage.assert_monotone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_watch_has_shown_goes_with_the_volume_of_its_run() {
    let spec = json!({"workspace": {"size": "1Gi"}, "steps": [container("tool").step()]});
    let stage = prepared_with(spec).await;
    stage.world.fates("tool", [works(Duration::from_millis(50), &json!({}))]);
    let mut lost = false;
    stage.world.faults(move |call| {
        let hit = call.verb == "create" && call.resource == "pods" && !std::mem::replace(&mut lost, true);
        if hit { Fault::LoseReplyAfterCommit } else { Fault::None }
    });
    stage.server.set_watch_faults(|event| {
        if event.user == "op-1" && event.kind == "Pod" {
            WatchFault::Delay(Duration::from_secs(90))
        } else {
            WatchFault::Deliver
        }
    });
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    for kind in ["Pod", "PersistentVolumeClaim"] {
        assert_eq!(stage.server.objects(kind), Vec::<Value>::new(), "{kind}");
    }
}
