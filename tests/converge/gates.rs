//! Does the readiness of a workload's pods follow what they answer in their protocol, whatever happens to the operator?

use std::time::Duration;

use harness::simulated::{Call, Fault, Record};
use jiff::SignedDuration;
use medley::{
    api::{MedicalService, medical_service::EndpointReason},
    render::gate,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    service_pods::{Player, address, play, pod},
    services::published,
    stage::{NAMESPACE, Stage},
};

/// The service `archive`, which speaks DICOM: probed every 5 s, out after 3 failures, in after 1 success.
async fn archive(pods: usize) -> (Stage, Player) {
    let stage = Stage::new();
    let player = play(&stage, "archive");
    let probe =
        json!({"level": "Protocol", "interval": "5s", "timeout": "2s", "failureThreshold": 3, "successThreshold": 1});
    let interface = json!({"name": "dicom", "port": 104, "targetPort": 11112, "protocol": "DICOM",
        "dicom": {"calledAeTitle": "ARCHIVE"}, "probe": probe});
    let spec = json!({"workload": {"image": "localhost/archive:1", "replicas": pods}, "interfaces": [interface]});
    stage.create::<MedicalService>("archive", spec).await;
    (stage, player)
}

/// Whether a call tells a pod of its readiness.
fn tells(call: &Call) -> bool {
    call.is_write() && call.resource == "pods" && call.subresource == "status"
}

/// How often pods were told.
fn told(stage: &Stage, operator: &str) -> usize {
    stage.calls_of(operator).iter().filter(|r| tells(&r.call) && r.changed).count()
}

fn addresses(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut all: Vec<String> = numbers.into_iter().map(address).collect();
    all.sort();
    all
}

/// Status and reason of a pod's gate.
fn says(stage: &Stage, number: usize) -> String {
    let stored = stage.server.object("Pod", NAMESPACE, &pod("archive", number)).unwrap_or_default();
    let conditions = stored["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == gate::CONDITION);
    found.map_or_else(String::new, |c| format!("{} {}", c["status"].as_str().unwrap(), c["reason"].as_str().unwrap()))
}

fn status(stage: &Stage) -> Value {
    stage.server.object("MedicalService", NAMESPACE, "archive").unwrap()["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_ready_while_it_answers_and_each_change_is_one_write() {
    let (stage, _player) = archive(2).await;
    stage.start("op-1");
    stage.until("both are in", Duration::from_secs(10), |s| published(s) == addresses([0, 1])).await;
    stage.rest().await;
    assert_eq!((told(&stage, "op-1"), status(&stage)["endpointSummary"].clone()), (2, json!("2/2")));
    stage.world.fails(&address(1), EndpointReason::AeTitleRejected);
    // every 5 s a probe, out after the third failure: three intervals at most
    stage.until("it leaves", Duration::from_millis(15_500), |s| published(s) == addresses([0])).await;
    let tells_why = |s: &Stage| status(s)["endpoints"][1]["reason"] == "AeTitleRejected";
    stage.until("the status says why", Duration::from_secs(1), tells_why).await;
    assert_eq!(says(&stage, 1), "False AeTitleRejected");
    stage.rest().await;
    stage.world.set_well(&address(1), true);
    // it has failed for long: probed at twice its interval
    stage.until("it comes back", Duration::from_millis(10_500), |s| published(s) == addresses([0, 1])).await;
    stage.rest().await;
    assert_eq!(told(&stage, "op-1"), 4, "two in, one out, one in again");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_whose_pods_do_not_answer_says_so() {
    let (stage, _player) = archive(2).await;
    (0..2).for_each(|n| stage.world.fails(&address(n), EndpointReason::PresentationContextRefused));
    stage.start("op-1");
    let says_why = |s: &Stage| {
        let conditions = status(s)["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| {
            c["type"] == "Ready"
                && c["message"].as_str().unwrap().ends_with("held by the readiness gate: 2 PresentationContextRefused")
        })
    };
    stage.until("the condition says what holds it", Duration::from_secs(20), says_why).await;
    assert!(published(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_away_or_cut_off_changes_nothing() {
    let (stage, _player) = archive(3).await;
    stage.start("op-1");
    stage.until("all are in", Duration::from_secs(10), |s| published(s) == addresses(0..3)).await;
    stage.world.kill("op-1");
    stage.world.fails(&address(0), EndpointReason::AeTitleRejected);
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(published(&stage), addresses(0..3));
    // the next leader reaches none of them
    (0..3).for_each(|n| stage.world.fails(&address(n), EndpointReason::TcpTimeout));
    stage.start("op-2");
    sleep(Duration::from_secs(1800)).await;
    assert_eq!((published(&stage), told(&stage, "op-2")), (addresses(0..3), 0));
    assert!(status(&stage).to_string().contains("medley cannot reach 3 of the pods"));
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_the_pods_end_the_same() {
    let story = |stage: Stage| async move {
        stage.until("one is in", Duration::from_secs(120), |s| published(s) == addresses([0])).await;
        stage.rest().await;
        stage
    };
    let counts = |call: &Call| call.is_write() && !call.is_event() && call.resource != "leases";
    let (stage, player) = archive(2).await;
    stage.world.fails(&address(1), EndpointReason::EchoFailed);
    stage.start("op-1");
    let stage = story(stage).await;
    drop(player);
    let writes = stage.calls_of("op-1").iter().filter(|r| counts(&r.call)).count();
    assert!(writes >= 6, "a Service, a Deployment, a budget, two pods and the status: {writes}");
    let expected = status(&stage)["endpoints"].as_array().unwrap().len();
    for k in 1..=writes {
        for after in [false, true] {
            let what = format!("killed {} write {k} of {writes}", if after { "after" } else { "before" });
            let (stage, _player) = archive(2).await;
            stage.world.fails(&address(1), EndpointReason::EchoFailed);
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            stage.until(&what, Duration::from_secs(300), |s| s.world.is_dead("op-1")).await;
            stage.start("op-2");
            let stage = story(stage).await;
            assert_eq!(
                (says(&stage, 0), says(&stage, 1)),
                ("True Healthy".to_owned(), "False EchoFailed".to_owned()),
                "{what}"
            );
            assert_eq!(status(&stage)["endpoints"].as_array().unwrap().len(), expected, "{what}");
            assert!(told(&stage, "op-1") + told(&stage, "op-2") <= 2, "{what}: each pod is told once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_late_for_a_pod_does_not_reach_another_of_its_name() {
    let (stage, _player) = archive(1).await;
    // the word to the first pod is on its way until after that has been replaced, by one with its name and address
    stage.world.faults(|call| if tells(call) { Fault::Late(Duration::from_secs(30)) } else { Fault::None });
    stage.start("op-1");
    stage
        .until("it is on its way", Duration::from_secs(20), |s| s.calls_of("op-1").iter().any(|r| tells(&r.call)))
        .await;
    stage.world.no_faults();
    stage.world.kill("op-1");
    stage.server.delete("Pod", NAMESPACE, &pod("archive", 0), 0).unwrap();
    stage.rest().await;
    assert_eq!((says(&stage, 0).as_str(), published(&stage)), ("", vec![]), "nobody has probed this one");
    stage.start("op-2");
    stage.until("it is in", Duration::from_secs(60), |s| published(s) == addresses([0])).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_replaced_while_the_operator_leads_is_probed_itself() {
    let (stage, _player) = archive(1).await;
    stage.start("op-1");
    stage.until("it is in", Duration::from_secs(10), |s| published(s) == addresses([0])).await;
    stage.rest().await;
    stage.world.fails(&address(0), EndpointReason::AssociationRejected);
    stage.server.delete("Pod", NAMESPACE, &pod("archive", 0), 0).unwrap();
    // its predecessor at this address would have had three failures
    stage.until("it is out", Duration::from_secs(2), |s| says(s, 0) == "False AssociationRejected").await;
    assert!(published(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_that_lead_at_once_the_former_does_not_go_on_telling() {
    let (stage, _player) = archive(1).await;
    // it believes to keep for ten seconds what it tells others to keep for three
    stage.start_with("op-1", SignedDuration::ZERO, Duration::from_secs(3));
    stage.until("it is in", Duration::from_secs(10), |s| published(s) == addresses([0])).await;
    stage.rest().await;
    stage.world.put_out_of_reach("op-2", &address(0));
    stage.world.faults(
        |call| {
            if call.user == "op-1" && call.resource == "leases" { Fault::DropBefore } else { Fault::None }
        },
    );
    stage.start("op-2");
    stage.until("the present leader takes it out", Duration::from_secs(60), |s| published(s).is_empty()).await;
    sleep(Duration::from_secs(15)).await;
    stage.world.no_faults();
    stage.rest().await;
    assert!(published(&stage).is_empty(), "as the present leader sees it");
    assert!(told(&stage, "op-1") <= 2 && told(&stage, "op-2") <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pods_are_told_once_each_and_cost_nothing_afterwards() {
    const PODS: usize = 1000;
    let (stage, _player) = archive(PODS).await;
    stage.start("op-1");
    stage.until("all are in", Duration::from_secs(60), |s| published(s).len() == PODS).await;
    stage.rest().await;
    let told_all = |r: &Record| tells(&r.call);
    assert_eq!(told(&stage, "op-1"), PODS);
    let tried = stage.calls_of("op-1").iter().filter(|r| told_all(r)).count();
    assert!(tried <= PODS + PODS / 10, "{tried} attempts: few pods change while they are told");
    let writes = |user: &str| {
        let is_one = |r: &Record| r.call.is_write() && !r.call.is_event() && r.call.resource != "leases";
        stage.calls_of(user).iter().filter(|r| is_one(r)).count()
    };
    let before = writes("op-1");
    stage.rest().await;
    assert_eq!(writes("op-1"), before);
    stage.world.kill("op-1");
    stage.start("op-2");
    stage.rest().await;
    assert_eq!(told(&stage, "op-2"), 0, "the next leader has nothing to say");
}
