//! The clinical stories of the documentation, as far as their parts exist: do they end as they should wherever the operator
//! dies? Names follow the stories; patient data never comes near a workflow, and so there is none here either.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use medley::api::vocabulary::ErrorClass;

use super::{
    disturbed,
    plan::Plan,
    scenario::{Act, Each, Fare, Retry, Scenario, Step, Undo},
    story,
    troubles::{Trouble, counts},
    undisturbed,
};

/// Nothing may be written for so long after the end.
const CALM: Duration = Duration::from_secs(60);

fn step(name: &str, act: Act, after: &[&str]) -> Step {
    Step { name: name.to_owned(), act, after: after.iter().map(|&a| a.to_owned()).collect(), ..Step::default() }
}

fn call(name: &str, after: &[&str]) -> Step {
    step(name, Act::Call, after)
}

fn container(name: &str, after: &[&str]) -> Step {
    step(name, Act::Container, after)
}

impl Step {
    fn fares(self, fares: &[Fare]) -> Self {
        Self { fares: fares.to_vec(), ..self }
    }

    fn retries(self, limit: u8, errors: &[ErrorClass]) -> Self {
        Self { retry: Some(Retry { limit, errors: errors.to_vec() }), ..self }
    }

    fn once(self) -> Self {
        Self { once: true, ..self }
    }

    fn each(self, count: u16, parallel: u16, tolerate: u16, bad: &[u16]) -> Self {
        Self { each: Some(Each { count, parallel, tolerate, bad: bad.to_vec() }), ..self }
    }

    fn undone(self, container: bool) -> Self {
        Self { undo: Some(Undo { container, fares: Vec::new() }), ..self }
    }
}

fn of(steps: impl IntoIterator<Item = Step>) -> Scenario {
    Scenario { steps: steps.into_iter().collect(), runs: 1, person: true, ..Scenario::default() }
}

/// Each story by its name.
fn stories() -> Vec<(&'static str, Scenario)> {
    let part = |scenario: Scenario, steps: Vec<Step>| Scenario { part: steps, ..scenario };
    let finally = |scenario: Scenario, steps: Vec<Step>| Scenario { finally: steps, ..scenario };
    vec![
        (
            // the model fails once; the archive is away for a moment; the report waits for neither more than it must
            "stroke triage of a head CT",
            of([
                call("complete", &[]),
                call("series", &["complete"]),
                container("infer", &["series"])
                    .fares(&[Fare::Exit(1), Fare::Well(1500)])
                    .retries(1, &[ErrorClass::ContainerFailed, ErrorClass::PodLost]),
                call("archive", &["complete"]).fares(&[Fare::Refused, Fare::Well(50)]).retries(3, &[]),
                call("report", &["infer"]),
                call("raise", &["report"]),
                call("notify", &["report"]).once(),
            ]),
        ),
        (
            // each message is written once, in two runs at a time
            "admissions from HL7 v2 to FHIR",
            Scenario {
                runs: 2,
                ..of([
                    step("validate", Act::Transform, &[]),
                    step("map", Act::Transform, &["validate"]),
                    call("upsert", &["map"])
                        .fares(&[Fare::Status(409), Fare::Well(50)])
                        .retries(2, &[ErrorClass::Rejected, ErrorClass::Connection]),
                    call("publish", &["upsert"]).once(),
                ])
            },
        ),
        (
            // a critical value is told and read back
            "laboratory results with a critical value",
            part(
                of([
                    step("units", Act::Transform, &[]),
                    call("check", &["units"]),
                    call("observe", &["check"]),
                    Step { when: Some(true), ..step("critical", Act::Child, &["observe"]) },
                    Step { when: Some(false), ..call("routine", &["observe"]) },
                ]),
                vec![call("tell", &[]).once(), call("readback", &["tell"])],
            ),
        ),
        (
            // the score's service fails and comes back
            "early warning of sepsis",
            of([
                call("window", &[]),
                call("score", &["window"]).fares(&[Fare::Status(503), Fare::Reset, Fare::Well(50)]).retries(3, &[]),
                step("threshold", Act::Transform, &["score"]),
                call("flag", &["threshold"]).once(),
            ]),
        ),
        (
            // the quality gate fails: nothing is published, what was exported is removed
            "nightly cohort",
            finally(
                of([
                    call("consent", &[]),
                    container("export", &["consent"]).undone(true),
                    container("deidentify", &["export"]).each(5, 2, 0, &[]),
                    call("gate", &["deidentify"]).fares(&[Fare::Status(422)]),
                    call("publish", &["gate"]).once(),
                ]),
                vec![call("note", &[])],
            ),
        ),
        (
            // one of five sites is too slow, and four are enough
            "a round of federated training",
            of([
                container("train", &[]).each(5, 5, 2, &[4]).fares(&[Fare::Exit(1)]),
                call("join", &["train"]),
                call("validate", &["join"]),
                call("register", &["validate"]).once(),
            ]),
        ),
        (
            // one tile in twelve may fail; the files go with the run
            "tiles of a pathology slide",
            Scenario {
                workspace: true,
                ..of([
                    container("focus", &[]),
                    container("tiles", &["focus"]).each(12, 5, 1, &[7]).fares(&[Fare::Exit(1)]),
                    container("merge", &["tiles"]),
                    call("report", &["merge"]),
                ])
            },
        ),
        (
            // the payer is overloaded for a while, and is then asked again until it answers
            "prior authorisation",
            of([
                call("coverage", &[]),
                call("collect", &["coverage"]).each(3, 2, 0, &[]),
                call("payer", &["collect"])
                    .fares(&[Fare::Status(503), Fare::Status(503), Fare::Well(50)])
                    .retries(4, &[])
                    .once(),
                step("pause", Act::Wait(40), &["payer"]),
                call("poll", &["pause"]),
                call("task", &["poll"]),
            ]),
        ),
        (
            // what was restored does not match: it is destroyed, and the evidence is kept
            "drill of backup and restore",
            finally(
                of([
                    call("snapshot", &[]).undone(false),
                    container("copy", &["snapshot"]),
                    container("restore", &["copy"]).undone(true),
                    call("compare", &["restore"]).fares(&[Fare::Status(422)]),
                ]),
                vec![call("evidence", &[])],
            ),
        ),
        (
            // one source is silent, and the result says so; the grant is given back in any case
            "access in an emergency",
            finally(
                of([
                    call("verify", &[]),
                    call("grant", &["verify"]).once().undone(false),
                    call("query", &["grant"]).each(4, 4, 1, &[2]).fares(&[Fare::Status(500)]),
                    step("merge", Act::Transform, &["query"]),
                ]),
                vec![call("revoke", &[])],
            ),
        ),
    ]
}

/// Crashes a story before and after each of its writes; how many crashes there were, and the stories of those that went wrong.
fn crash_everywhere(name: &str, scenario: &Scenario) -> (usize, Vec<String>) {
    let plan = Plan { scenario: scenario.clone(), troubles: Vec::new() };
    let (expected, wrong) = undisturbed(&plan, CALM);
    if !wrong.is_empty() {
        return (0, vec![format!("{name}: {}", story::tell(&plan, &expected, &wrong))]);
    }
    let writes = expected.calls.iter().filter(|r| counts(&r.call) && r.at < expected.quiet).count();
    let mut failed = Vec::new();
    let points = 2 * writes;
    for point in 0..points {
        let crash =
            Trouble::Crash { write: u16::try_from(point / 2 + 1).unwrap(), after: point % 2 == 1, back: 1, past: 0 };
        let plan = Plan { scenario: scenario.clone(), troubles: vec![crash] };
        let (outcome, mut wrong) = disturbed(&plan, &expected, CALM);
        if outcome.struck.is_empty() {
            wrong.push("nothing was struck".to_owned());
        }
        if !wrong.is_empty() {
            failed.push(format!("{name}: {}", story::tell(&plan, &outcome, &wrong)));
        }
    }
    (points, failed)
}

#[test]
fn each_clinical_story_ends_the_same_wherever_the_operator_dies() {
    let stories = stories();
    assert_eq!(stories.len(), 10);
    let next = AtomicUsize::new(0);
    let found: Mutex<(usize, Vec<String>)> = Mutex::default();
    let work = || {
        while let Some((name, scenario)) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (count, failed) = crash_everywhere(name, scenario);
            let mut found = found.lock().unwrap();
            found.0 += count;
            found.1.extend(failed);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let (count, failed) = found.into_inner().unwrap();
    println!("{count} crashes in {} stories: {} failed", stories.len(), failed.len());
    assert!(failed.is_empty(), "{}", failed.into_iter().take(3).collect::<Vec<_>>().join("\n\n"));
}
