//! Runs in a simulated world.

mod items;

use serde_json::{Value, json};

use super::*;
use crate::api::WorkflowSpec;

fn definition(spec: Value) -> Definition {
    let spec: WorkflowSpec = serde_json::from_value(spec).unwrap();
    Definition::parse(&spec).unwrap()
}

fn run(spec: Value, plan: Plan) -> Result<Timeline, String> {
    simulate(Input {
        workflow: "w".to_owned(),
        definition: definition(spec),
        parameters: BTreeMap::new(),
        deadline: None,
        plan,
    })
}

fn durations(list: &[(&str, &str)]) -> BTreeMap<String, Span> {
    list.iter().map(|(step, span)| ((*step).to_owned(), span.parse().unwrap())).collect()
}

fn failures(list: &[(&str, &str)]) -> BTreeMap<String, Failing> {
    list.iter().map(|(step, failing)| ((*step).to_owned(), failing.parse().unwrap())).collect()
}

/// Step, attempt, from, to, phase of each attempt.
fn rows(timeline: &Timeline) -> Vec<(String, u32, i64, Option<i64>, String)> {
    timeline.attempts.iter().map(|r| (r.step.clone(), r.attempt, r.from, r.to, format!("{:?}", r.phase))).collect()
}

fn row(step: &str, attempt: u32, from: i64, to: i64, phase: &str) -> (String, u32, i64, Option<i64>, String) {
    (step.to_owned(), attempt, from, Some(to), phase.to_owned())
}

fn study() -> Value {
    json!({
        "steps": [
            {"name": "count", "call": {"service": "archive", "http": {"path": "/"}},
             "retry": {"limit": 3, "backoff": {"initial": "1s", "jitter": 0}},
             "outputs": [{"name": "images", "type": "Integer", "value": "result.body.CountInstances"}]},
            {"name": "settle", "wait": {"for": "30s"}},
            {"name": "measure", "after": ["count", "settle"], "when": "steps.count.outputs.images > 1",
             "container": {"image": "x"}, "timeout": "5m", "outputs": [{"name": "noise", "type": "Number"}]},
            {"name": "judge", "after": ["measure"],
             "transform": {"expression": "{'good': steps.measure.phase == 'Skipped' || steps.measure.outputs.noise < 2.0}"},
             "outputs": [{"name": "good", "type": "Boolean"}]}
        ],
        "outputs": [{"name": "good", "value": "steps.judge.outputs.good"}]
    })
}

#[test]
fn steps_start_when_those_before_them_are_done() {
    let plan = Plan {
        durations: durations(&[("count", "2s"), ("measure", "1m")]),
        outputs: BTreeMap::from([(("count".to_owned(), "images".to_owned()), json!(12))]),
        ..Plan::default()
    };
    let timeline = run(study(), plan).unwrap();
    let want = [
        row("count", 1, 0, 2_000, "Succeeded"),
        row("settle", 1, 0, 30_000, "Succeeded"),
        row("measure", 1, 30_000, 90_000, "Succeeded"),
        row("judge", 1, 90_000, 90_000, "Succeeded"),
    ];
    assert_eq!(rows(&timeline), want);
    assert_eq!((timeline.phase, timeline.total), (RunPhase::Succeeded, 90_000));
    assert_eq!(timeline.outputs, BTreeMap::from([("good".to_owned(), json!(true))]));
}

#[test]
fn a_step_whose_condition_is_false_is_skipped() {
    // an output that nobody gives is 1
    let timeline = run(study(), Plan::default()).unwrap();
    assert_eq!(rows(&timeline)[2], row("measure", 0, 30_000, 30_000, "Skipped"));
    assert_eq!((timeline.phase, timeline.total), (RunPhase::Succeeded, 30_000));
}

#[test]
fn failed_attempts_are_repeated_after_the_operators_own_waits() {
    let plan = Plan {
        durations: durations(&[("count", "500ms")]),
        failures: failures(&[("count", "ServerError:2")]),
        ..Plan::default()
    };
    let timeline = run(study(), plan).unwrap();
    let of_count: Vec<_> = rows(&timeline).into_iter().filter(|r| r.0 == "count").collect();
    let want = [
        row("count", 1, 0, 500, "Retrying"),
        row("count", 2, 1_500, 2_000, "Retrying"),
        row("count", 3, 4_000, 4_500, "Succeeded"),
    ];
    assert_eq!(of_count, want);
    assert_eq!(timeline.attempts[0].reason, Some(crate::api::ErrorClass::ServerError));
}

#[test]
fn a_run_fails_when_no_attempt_is_left_and_undoes_what_was_done() {
    let spec = json!({
        "steps": [
            {"name": "hold", "call": {"service": "archive", "http": {"method": "PUT", "path": "/"}},
             "compensate": {"call": {"service": "archive", "http": {"method": "DELETE", "path": "/"}}}},
            {"name": "measure", "after": ["hold"], "container": {"image": "x"}, "timeout": "1m",
             "retry": {"limit": 1, "backoff": {"initial": "10s", "jitter": 0}, "errors": ["Timeout"]}},
            {"name": "never", "after": ["measure"], "wait": {"for": "1s"}}
        ],
        "finally": [{"name": "tell", "workflow": {"name": "notify"}}]
    });
    let plan = Plan {
        durations: durations(&[("hold", "1s"), ("hold.compensate", "2s"), ("measure", "2m"), ("tell", "3s")]),
        ..Plan::default()
    };
    let timeline = run(spec, plan).unwrap();
    let want = [
        row("hold", 1, 0, 1_000, "Succeeded"),
        // the container works for longer than it may
        row("measure", 1, 1_000, 61_000, "Retrying"),
        row("measure", 2, 71_000, 131_000, "Failed"),
        row("hold.compensate", 1, 131_000, 133_000, "Succeeded"),
        row("tell", 1, 133_000, 136_000, "Succeeded"),
    ];
    assert_eq!(rows(&timeline), want);
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Failed, "StepFailed"));
    assert_eq!(timeline.total, 136_000);
}

#[test]
fn every_kind_of_failure_comes_out_as_itself() {
    let step = |action: &str| match action {
        "call" => json!({"name": "a", "call": {"service": "s", "http": {"path": "/"}},
                         "outputs": [{"name": "x", "type": "String", "value": "result.body.x"}]}),
        "container" => json!({"name": "a", "container": {"image": "x"}, "outputs": [{"name": "x", "type": "String"}]}),
        _ => json!({"name": "a", "workflow": {"name": "other"}, "outputs": [{"name": "x", "type": "String"}]}),
    };
    for (action, classes) in [
        ("call", vec!["Connection", "Timeout", "Overloaded", "ServerError", "Rejected", "InvalidResult"]),
        ("container", vec!["Timeout", "ContainerFailed", "PodNotStarted", "PodLost", "InvalidResult"]),
        ("workflow", vec!["Timeout", "ChildFailed", "InvalidResult"]),
    ] {
        for class in classes {
            let plan = Plan { failures: failures(&[("a", class)]), ..Plan::default() };
            let timeline = run(json!({"steps": [step(action)]}), plan).unwrap();
            let reason = timeline.attempts[0].reason.map(|r| format!("{r:?}"));
            assert_eq!(reason.as_deref(), Some(class), "{action}: {timeline:?}");
            assert_eq!(timeline.phase, RunPhase::Failed, "{action} {class}");
        }
    }
}

#[test]
fn an_unknown_outcome_waits_for_a_person() {
    let spec = json!({"steps": [
        {"name": "a", "call": {"service": "s", "http": {"method": "POST", "path": "/"}}, "timeout": "5s"},
        {"name": "b", "after": ["a"], "wait": {"for": "1s"}}
    ]});
    let timeline = run(spec, Plan { failures: failures(&[("a", "Timeout")]), ..Plan::default() }).unwrap();
    assert_eq!(rows(&timeline), [row("a", 1, 0, 5_000, "Unknown")]);
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Running, "OutcomeUnknown"));
    assert!(timeline.text().contains("nothing more happens by itself"), "{}", timeline.text());
}

#[test]
fn a_fhir_server_is_simulated_too() {
    let spec = json!({"steps": [
        {"name": "read", "call": {"service": "fhir", "fhir": {"read": {"type": "ServiceRequest", "id": "a"}}},
         "outputs": [{"name": "status", "type": "String", "value": "result.resource.status"}]},
        {"name": "put", "after": ["read"], "call": {"service": "fhir", "fhir": {"create": {
            "resource": "{\"resourceType\": \"Task\", \"status\": \"$( steps.read.outputs.status )\"}"}}}}
    ], "outputs": [{"name": "status", "value": "steps.read.outputs.status"}]});
    let plan = Plan {
        outputs: BTreeMap::from([(("read".to_owned(), "status".to_owned()), json!("active"))]),
        failures: failures(&[("put", "InvalidResult")]),
        ..Plan::default()
    };
    let timeline = run(spec.clone(), Plan { failures: BTreeMap::new(), ..plan.clone() }).unwrap();
    assert_eq!((timeline.phase, timeline.total), (RunPhase::Succeeded, 400));
    assert_eq!(timeline.outputs["status"], json!("active"));
    // what a server has done whose answer cannot be read, nobody knows
    assert_eq!(rows(&run(spec, plan).unwrap())[1], row("put", 1, 200, 400, "Unknown"));
}

#[test]
fn a_message_is_simulated_with_its_own_failures() {
    let spec = json!({"steps": [
        {"name": "tell", "call": {"service": "engine", "hl7v2": {"message": "MSH|^~\\&|A|B|C|D|||ADT^A08||P|2.5"}},
         "retry": {"limit": 1}, "outputs": [{"name": "code", "type": "String", "value": "result.code"}]}
    ], "outputs": [{"name": "code", "value": "steps.tell.outputs.code"}]});
    let timeline = run(spec.clone(), Plan::default()).unwrap();
    assert_eq!((timeline.phase, timeline.outputs["code"].clone()), (RunPhase::Succeeded, json!("AA")));
    for (class, again) in [("Overloaded", true), ("ServerError", true), ("Rejected", false), ("InvalidResult", false)] {
        let plan = Plan { failures: failures(&[("tell", class)]), ..Plan::default() };
        let rows = rows(&run(spec.clone(), plan).unwrap()).len();
        assert_eq!(rows, if again { 2 } else { 1 }, "{class}");
    }
    let given =
        Plan { outputs: BTreeMap::from([(("tell".to_owned(), "code".to_owned()), json!("CA"))]), ..Plan::default() };
    assert!(run(spec, given).is_err(), "its outputs follow from the acknowledgement");
}

#[test]
fn an_echo_is_simulated_with_its_own_failures() {
    let spec = json!({"steps": [
        {"name": "echo", "call": {"service": "pacs", "dicom": {"echo": {}}}, "retry": {"limit": 1},
         "outputs": [{"name": "status", "type": "Integer", "value": "result.status"}]}
    ], "outputs": [{"name": "status", "value": "steps.echo.outputs.status"}]});
    let timeline = run(spec.clone(), Plan::default()).unwrap();
    assert_eq!((timeline.phase, timeline.outputs["status"].clone()), (RunPhase::Succeeded, json!(0)));
    for (class, again) in
        [("Overloaded", true), ("Rejected", false), ("Configuration", false), ("InvalidResult", false)]
    {
        let plan = Plan { failures: failures(&[("echo", class)]), ..Plan::default() };
        let rows = rows(&run(spec.clone(), plan).unwrap()).len();
        assert_eq!(rows, if again { 2 } else { 1 }, "{class}");
    }
    let plan = Plan { failures: failures(&[("echo", "ServerError")]), ..Plan::default() };
    assert!(run(spec, plan).is_err(), "an echo has no such failure");
}

#[test]
fn a_query_finds_what_the_plan_says() {
    let spec = json!({"steps": [
        {"name": "find", "retry": {"limit": 1},
         "call": {"service": "pacs", "dicom": {"find": {"returnKeys": ["StudyInstanceUID"]}}},
         "outputs": [{"name": "studies", "type": "Integer", "value": "result.count"}]}
    ], "outputs": [{"name": "studies", "value": "steps.find.outputs.studies"}]});
    let outputs = BTreeMap::from([(("find".to_owned(), "studies".to_owned()), json!(7))]);
    let timeline = run(spec.clone(), Plan { outputs, ..Plan::default() }).unwrap();
    assert_eq!((timeline.phase, timeline.outputs["studies"].clone()), (RunPhase::Succeeded, json!(7)));
    for (class, again) in [("Overloaded", true), ("ServerError", true), ("Rejected", false), ("Configuration", false)] {
        let plan = Plan { failures: failures(&[("find", class)]), ..Plan::default() };
        assert_eq!(rows(&run(spec.clone(), plan).unwrap()).len(), if again { 2 } else { 1 }, "{class}");
    }
}

#[test]
fn a_run_stops_at_its_deadline_and_shares_of_it_are_timeouts() {
    let spec = json!({
        "deadline": "1m",
        "steps": [
            {"name": "a", "deadlineShare": 50, "container": {"image": "x"}, "retry": {"limit": 3, "backoff": {"initial": "1s", "jitter": 0}}},
            {"name": "b", "after": ["a"], "container": {"image": "x"}}
        ]
    });
    let plan = Plan {
        durations: durations(&[("a", "1s"), ("b", "2m")]),
        failures: failures(&[("a", "Timeout:1")]),
        ..Plan::default()
    };
    let timeline = run(spec, plan).unwrap();
    assert_eq!(rows(&timeline)[0], row("a", 1, 0, 30_000, "Retrying"));
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Failed, "DeadlineExceeded"));
    assert_eq!(timeline.total, 60_000);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_differs() {
    let with = |seed: u64| {
        let plan = Plan { durations: durations(&[("count", "1s..20s")]), seed, ..Plan::default() };
        run(study(), plan).unwrap()
    };
    assert_eq!(with(7), with(7));
    assert_ne!(with(7).attempts, with(8).attempts);
    let count = |t: &Timeline| t.attempts.iter().find(|r| r.step == "count").and_then(|r| r.to).unwrap();
    for seed in 0..50 {
        assert!((1_000..=20_000).contains(&count(&with(seed))), "{seed}");
    }
}

#[test]
fn a_plan_for_what_is_not_there_is_refused() {
    for (plan, words) in [
        (Plan { durations: durations(&[("cuont", "1s")]), ..Plan::default() }, "did you mean `count`?"),
        (Plan { durations: durations(&[("settle", "1s")]), ..Plan::default() }, "a wait as long as it says"),
        (Plan { failures: failures(&[("count", "PodLost")]), ..Plan::default() }, "it can fail with Connection"),
        (Plan { failures: failures(&[("judge", "Timeout")]), ..Plan::default() }, "cannot fail by itself"),
        (
            Plan { outputs: BTreeMap::from([(("count".to_owned(), "image".to_owned()), json!(1))]), ..Plan::default() },
            "did you mean `images`?",
        ),
        (
            Plan { outputs: BTreeMap::from([(("judge".to_owned(), "good".to_owned()), json!(1))]), ..Plan::default() },
            "are computed",
        ),
    ] {
        let error = run(study(), plan).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    for (text, words) in
        [("Timeuot", "did you mean Timeout?"), ("Timeout:x", "how many attempts"), ("Timeout:0", "how many")]
    {
        assert!(text.parse::<Failing>().unwrap_err().contains(words), "{text}");
    }
    assert!("5s..1s".parse::<Span>().is_err() && "5".parse::<Span>().is_err());
}

#[test]
fn the_text_shows_every_attempt() {
    let plan = Plan {
        durations: durations(&[("count", "1s"), ("measure", "32s")]),
        failures: failures(&[("count", "Overloaded:1")]),
        outputs: BTreeMap::from([(("count".to_owned(), "images".to_owned()), json!(12))]),
        ..Plan::default()
    };
    let want = "\
w: Succeeded after 1m2s

step     attempt  from  to    took  phase
count    1        0s    1s    1s    Retrying   │█                               │  Overloaded: the service answered HTTP 503
settle   1        0s    30s   30s   Succeeded  │███████████████                 │
count    2        2s    3s    1s    Succeeded  │ █                              │
measure  1        30s   1m2s  32s   Succeeded  │               █████████████████│
judge    1        1m2s  1m2s  0s    Succeeded  │                               █│

outputs
  good = true
";
    assert_eq!(run(study(), plan).unwrap().text(), want);
}

#[test]
fn the_largest_workflow_comes_to_its_end() {
    let steps: Vec<Value> = (0..500)
        .map(|n| {
            let after: Vec<String> = (n - n.min(1)..n).map(|m| format!("s{m}")).collect();
            json!({"name": format!("s{n}"), "after": after, "call": {"service": "s", "http": {"path": "/"}}})
        })
        .collect();
    let timeline = run(json!({ "steps": steps }), Plan::default()).unwrap();
    assert_eq!((timeline.phase, timeline.total), (RunPhase::Succeeded, 500 * 200));
}
