//! Steps that are done for many items.

use super::*;

/// One step `a` with a `forEach`, and what else it has.
fn step(each: Value, more: Value) -> Value {
    let mut step = json!({"name": "a", "forEach": each});
    let Some(fields) = more.as_object().cloned() else { panic!("an object of fields") };
    step.as_object_mut().unwrap().extend(fields);
    json!({"steps": [step], "outputs": [{"name": "done", "value": "steps.a.phase"}]})
}

fn call(each: Value) -> Value {
    step(each, json!({"call": {"service": "s", "http": {"path": "/$( index )"}}}))
}

fn retried(mut spec: Value, retry: Value) -> Value {
    spec["steps"][0]["retry"] = retry;
    spec
}

fn seconds(span: &str) -> Plan {
    Plan { durations: durations(&[("a", span)]), ..Plan::default() }
}

fn failing(list: &[(&str, &str)]) -> Plan {
    Plan { failures: failures(list), ..seconds("1s") }
}

/// Phase of the step, its time, and how many items have succeeded, failed, and were tried again.
fn told(timeline: &Timeline) -> (StepPhase, i64, u32, u32, u32) {
    let [row] = &timeline.attempts[..] else { panic!("one row: {:?}", timeline.attempts) };
    let items = row.items.as_ref().unwrap();
    (row.phase, row.to.unwrap_or(-1) - row.from, items.succeeded, items.failed, items.repeated)
}

#[test]
fn as_many_calls_as_may_are_at_work_together() {
    let timeline = run(call(json!({"count": 7, "maxParallel": 3})), seconds("1s")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 3_000, 7, 0, 0));
    assert_eq!(timeline.outputs["done"], json!("Succeeded"));
    // the plan is for each item: one takes longer than the others
    let plan = Plan { durations: durations(&[("a", "1s"), ("a[0]", "5s")]), ..Plan::default() };
    let timeline = run(call(json!({"count": 7, "maxParallel": 3})), plan).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 5_000, 7, 0, 0));
}

#[test]
fn what_fails_is_tried_again_for_each_item() {
    let retry = json!({"limit": 2, "backoff": {"initial": "2s", "jitter": 0}});
    let spec = retried(call(json!({"count": 6, "maxParallel": 3})), retry);
    let timeline = run(spec.clone(), failing(&[("a", "ServerError:1")])).unwrap();
    // items of one attempt wait together, for a quarter longer at most: 1 s, 2.5 s, 1 s, twice
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 9_000, 6, 0, 6));
    let timeline = run(spec, failing(&[("a[4]", "ServerError:1")])).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 5_500, 6, 0, 1));
}

#[test]
fn items_that_fail_are_tolerated_up_to_a_bound() {
    let plan = || failing(&[("a[2]", "Rejected"), ("a[5]", "Rejected")]);
    let timeline = run(call(json!({"count": 40, "maxParallel": 4, "tolerate": "5%"})), plan()).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 10_000, 38, 2, 0));
    let items = timeline.attempts[0].items.clone().unwrap();
    assert_eq!(items.failures.iter().map(|f| f.index).collect::<Vec<_>>(), [2, 5]);

    let timeline = run(call(json!({"count": 40, "maxParallel": 4, "tolerate": "1"})), plan()).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Failed, 2_000, 6, 2, 0));
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Failed, "StepFailed"));
    assert!(timeline.text().contains("40 items: 6 succeeded, 2 failed, 32 not done"), "{}", timeline.text());
}

#[test]
fn items_of_unknown_outcome_wait_for_a_person() {
    let post = json!({"call": {"service": "s", "http": {"method": "POST", "path": "/"}}, "timeout": "5s"});
    let timeline = run(step(json!({"count": 3}), post), failing(&[("a[1]", "Timeout")])).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Unknown, 5_000, 2, 0, 0));
    assert_eq!(timeline.attempts[0].items.as_ref().unwrap().unknown, 1);
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Running, "OutcomeUnknown"));
}

#[test]
fn items_that_are_computed_take_no_time() {
    let mut spec = step(json!({"items": "[1, 2, 3]"}), json!({"transform": {"expression": "item * 2 + index"}}));
    spec["steps"][0]["outputs"] = json!([{"name": "last", "type": "Integer", "value": "result.items[2]"}]);
    spec["outputs"] = json!([{"name": "last", "value": "steps.a.outputs.last"}]);
    let timeline = run(spec, Plan::default()).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 0, 3, 0, 0));
    assert_eq!(timeline.outputs["last"], json!(8));
}

#[test]
fn the_pods_of_a_job_start_and_fail_as_the_job_controller_has_it() {
    let job = |each: Value, more: Value| {
        let mut spec = step(each, json!({"container": {"image": "x"}}));
        spec["steps"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let four = || json!({"count": 4, "maxParallel": 2});
    let timeline = run(job(four(), json!({})), seconds("10s")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 20_000, 4, 0, 0));
    // work, a wait of 10 s, work again: twice
    let fails = |class: &str| Plan { failures: failures(&[("a", class)]), ..seconds("10s") };
    let timeline = run(job(four(), json!({"retry": {"limit": 1}})), fails("ContainerFailed:1")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 60_000, 4, 0, 4));
    // the first two fail for good, and the Job with them
    let timeline = run(job(four(), json!({"retry": {"limit": 1}})), fails("ContainerFailed")).unwrap();
    let (phase, took, succeeded, failed, _) = told(&timeline);
    assert_eq!((phase, took, succeeded), (StepPhase::Failed, 30_000, 0));
    assert!(failed >= 1, "{timeline:?}");
    // a pod that is taken away costs nothing where the step is interruptible
    let timeline = run(job(four(), json!({"interruptible": true})), fails("PodLost:1")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 60_000, 4, 0, 4));
    let timeline = run(job(four(), json!({})), fails("PodLost:1")).unwrap();
    assert_eq!(timeline.phase, RunPhase::Failed);
    // the kubelet ends a pod at the step's timeout
    let slow = json!({"count": 4, "maxParallel": 4, "tolerate": "100%"});
    let timeline = run(job(slow, json!({"timeout": "5s"})), seconds("10s")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 5_000, 0, 4, 0));
}

#[test]
fn child_runs_are_items_too() {
    let children = |more: Value| {
        let mut spec = step(json!({"count": 5, "maxParallel": 2}), json!({"workflow": {"name": "other"}}));
        spec["steps"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let timeline = run(children(json!({})), seconds("1m")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 180_000, 5, 0, 0));
    let retry =
        json!({"retry": {"limit": 1, "errors": ["ChildFailed", "Timeout"], "backoff": {"initial": "4s", "jitter": 0}}});
    let timeline = run(children(retry.clone()), failing(&[("a[0]", "ChildFailed:1")])).unwrap();
    let (phase, _, succeeded, failed, repeated) = told(&timeline);
    assert_eq!((phase, succeeded, failed, repeated), (StepPhase::Succeeded, 5, 0, 1));
    // one that hangs is told to stop at the step's timeout
    let mut hangs = retry;
    hangs["timeout"] = json!("10s");
    let timeline = run(children(hangs), failing(&[("a[3]", "Timeout")])).unwrap();
    let (phase, _, succeeded, failed, repeated) = told(&timeline);
    assert_eq!((phase, succeeded, failed, repeated), (StepPhase::Failed, 4, 1, 1));
    assert_eq!(timeline.attempts[0].reason, Some(crate::api::ErrorClass::Timeout));
}

#[test]
fn what_is_under_way_at_the_deadline_is_stopped() {
    let mut spec = call(json!({"count": 9, "maxParallel": 3}));
    spec["deadline"] = json!("5s");
    let timeline = run(spec, seconds("2s")).unwrap();
    assert_eq!((timeline.phase, timeline.reason.as_str()), (RunPhase::Failed, "DeadlineExceeded"));
    assert_eq!(told(&timeline), (StepPhase::Canceled, 5_000, 6, 0, 0));
    assert_eq!(timeline.attempts[0].items.as_ref().unwrap().canceled, 3);
}

#[test]
fn ten_thousand_items_come_to_their_end() {
    let ten_thousand = || json!({"count": 10_000, "maxParallel": 500});
    let timeline = run(call(ten_thousand()), seconds("1s")).unwrap();
    assert_eq!(told(&timeline), (StepPhase::Succeeded, 20_000, 10_000, 0, 0));
    for action in [json!({"container": {"image": "x"}}), json!({"workflow": {"name": "other"}})] {
        let timeline = run(step(ten_thousand(), action), seconds("1m")).unwrap();
        assert_eq!(told(&timeline), (StepPhase::Succeeded, 1_200_000, 10_000, 0, 0));
    }
}

#[test]
fn a_step_for_many_items_is_one_bar_with_counts() {
    let plan = Plan { durations: durations(&[("a", "1s"), ("a[6]", "9s")]), ..failing(&[("a[2]", "Rejected")]) };
    let text = run(call(json!({"count": 8, "maxParallel": 4, "tolerate": "1"})), plan.clone()).unwrap().text();
    let want = "\
a     1        0s    10s  10s   Succeeded  │████████████████████████████████│  8 items: 7 succeeded, 1 failed
";
    assert!(text.contains(want), "{text}");
    let timeline = run(call(json!({"count": 8, "maxParallel": 4, "tolerate": "1"})), plan).unwrap();
    let row = &serde_json::to_value(&timeline).unwrap()["attempts"][0];
    let counts = json!({"total": 8, "succeeded": 7, "failed": 1, "unknown": 0, "canceled": 0, "repeated": 0,
        "failures": [{"index": 2, "reason": "Rejected", "message": "the service answered HTTP 400"}]});
    assert_eq!(row["items"], counts);
}

#[test]
fn a_plan_for_items_that_are_not_there_is_refused() {
    let spec = || call(json!({"count": 4}));
    for (key, words) in [
        ("a[4]", "there is no item 4"),
        ("a[x]", "in brackets comes the number of an item"),
        ("a[1", "in brackets comes the number of an item"),
        ("b[1]", "the workflow has no step `b`"),
    ] {
        let error = run(spec(), failing(&[(key, "Rejected")])).unwrap_err();
        assert!(error.contains(words), "{key}: {error}");
    }
    let plan = Plan { failures: failures(&[("count[0]", "Timeout")]), ..Plan::default() };
    assert!(run(study(), plan).unwrap_err().contains("has no forEach"));
    let mut spec = spec();
    spec["steps"][0]["outputs"] = json!([{"name": "n", "type": "Integer", "value": "result.total"}]);
    let outputs = BTreeMap::from([(("a".to_owned(), "n".to_owned()), json!(1))]);
    assert!(run(spec.clone(), Plan { outputs, ..Plan::default() }).unwrap_err().contains("are computed"));
    assert!(run(spec, failing(&[("a", "InvalidResult")])).unwrap_err().contains("cannot fail with InvalidResult"));
}
