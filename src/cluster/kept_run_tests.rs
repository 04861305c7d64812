//! Tests of [`super`].

use std::collections::BTreeSet;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::Resource;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    cluster::{
        cache::key,
        family::{child_view, every_step, parent_key, wanted_children},
        jobs::job_view,
        observe::{Caches, owner_of},
        pods::pod_view,
    },
    core::coordination::{
        decide, parent_reference,
        view::{Decision, DefinitionView, View},
    },
    render::RUN_LABEL,
};

/// A run with nothing left out that the operator or a person may put into one.
fn run(name: &str, version: u64, phase: &str) -> WorkflowRun {
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "WorkflowRun",
        "metadata": {
            "namespace": "n", "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": version.to_string(),
            "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": "scanner"}, "annotations": {"note": "for people"},
        },
        "spec": {
            "workflow": "ct", "parameters": {"study": "1.2.3"}, "urgency": "urgent", "deadline": "1h",
            "retryFrom": {"run": "earlier", "step": "read"}, "suspend": false,
        },
        "status": {
            "observedGeneration": 3, "phase": phase, "leaderEpoch": 7, "revision": "ct-0123456789", "urgency": "urgent",
            "startedAt": "2026-01-02T03:04:06.25Z", "finishedAt": "2026-01-02T03:05:07.5Z", "stepSummary": "3/3",
            "deadline": {"at": "2026-01-02T04:04:05Z"},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-02T03:05:07Z"},
                {"type": "Succeeded", "status": "True", "reason": "AllDone", "message": "all", "lastTransitionTime": "2026-01-02T03:05:07Z"},
            ],
        },
    }))
    .unwrap()
}

fn child_of(mut run: WorkflowRun, parent: &str) -> WorkflowRun {
    let parent = Owner {
        kind: "WorkflowRun",
        namespace: "n".to_owned(),
        name: parent.to_owned(),
        uid: format!("uid-of-{parent}"),
    };
    run.metadata.owner_references = Some(vec![parent.reference()]);
    run
}

/// A step's phase, and whether it has a pod, a Job and a child run.
type Step = (StepPhase, bool, bool, bool);

fn step(name: &str, (phase, pod, job, run): Step) -> StepStatus {
    serde_json::from_value(json!({
        "phase": phase, "attempt": 2, "startedAt": "2026-01-02T03:04:06Z", "finishedAt": "2026-01-02T03:05:06Z",
        "pod": pod.then(|| format!("pod-{name}")), "job": job.then(|| format!("job-{name}")),
        "run": run.then(|| format!("run-{name}")), "outputs": {"big": "x".repeat(100)}, "message": "for people",
    }))
    .unwrap()
}

fn ended_run() -> impl Strategy<Value = WorkflowRun> {
    use StepPhase::{Canceled, Failed, Running, Skipped, Starting, Stopping, Succeeded, Unknown};
    let phases = [Succeeded, Skipped, Failed, Canceled, Unknown, Starting, Running, Stopping];
    let shape = (prop::sample::select(phases.to_vec()), any::<bool>(), any::<bool>(), any::<bool>());
    let steps = prop::collection::vec((shape, any::<bool>()), 0..5);
    let phase = prop::sample::select(vec!["Succeeded", "Failed", "Canceled"]);
    // what a run may be without: revision, start, end, conditions, generation
    (phase, steps, any::<[bool; 8]>()).prop_map(|(phase, steps, [child, shares, gives, with @ ..])| {
        let mut run = run("r", 42, phase);
        let status = run.status.as_mut().unwrap();
        for (number, (shape, undoes)) in steps.into_iter().enumerate() {
            let name = format!("s{number}");
            let of = if undoes { &mut status.compensations } else { &mut status.steps };
            of.insert(name.clone(), step(&format!("{name}-{undoes}"), shape));
        }
        status.concurrency_key = shares.then(|| "scanner-1".to_owned());
        status.revision = status.revision.take().filter(|_| with[0]);
        status.started_at = status.started_at.filter(|_| with[1]);
        status.finished_at = status.finished_at.filter(|_| with[2]);
        status.conditions.retain(|_| with[3]);
        if gives {
            status.outputs.insert("volume".to_owned(), json!({"ml": [1, 2.5]}));
        }
        run.metadata.generation = run.metadata.generation.filter(|_| with[4]);
        if child { child_of(run, "parent") } else { run }
    })
}

/// Pods and Jobs of all steps of a run, at work save for those of steps that have ended well.
fn caches_of(run: &WorkflowRun) -> Caches {
    let caches = Caches::default();
    let owner = owner_of(run);
    let metadata = |name: &String| ObjectMeta {
        resource_version: Some("1".to_owned()),
        ..owner.metadata(name, &[(RUN_LABEL, &owner.name)])
    };
    for step in every_step(run) {
        let over = step.phase.is_done();
        if let Some(name) = &step.pod {
            let status = json!({"phase": if over { "Succeeded" } else { "Running" }});
            let status = serde_json::from_value(status).unwrap();
            caches.pods.applied(Pod { metadata: metadata(name), spec: None, status: Some(status) });
        }
        if let Some(name) = &step.job {
            let status =
                json!({"active": 1, "conditions": over.then(|| json!([{"type": "Complete", "status": "True"}]))});
            let status = serde_json::from_value(status).unwrap();
            caches.jobs.applied(Job { metadata: metadata(name), spec: None, status: Some(status) });
        }
    }
    caches
}

fn decision(caches: &Caches, run: &WorkflowRun) -> Decision {
    let view = View {
        run,
        definition: DefinitionView::Lost,
        pods: caches.pods_of(run).into_iter().map(|(name, pod)| (name, pod_view(&pod))).collect(),
        stopping: BTreeSet::new(),
        lost: BTreeSet::new(),
        doubtful: BTreeSet::new(),
        jobs: caches.jobs_of(run).into_iter().map(|(name, job)| (name, job_view(&job))).collect(),
        services: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        in_flight: Vec::new(),
        children: caches.children_of(run),
        depth: caches.depth_of(run),
        unwanted: caches.is_unwanted(run),
        rivals: Vec::new(),
        origin: None,
        model: None,
        outlook: None,
        epoch: 8,
        draining: false,
        scheduling: Default::default(),
        answers: BTreeMap::new(),
        turns: BTreeMap::new(),
        handed_over: BTreeMap::new(),
        refused: None,
    };
    decide(&view, "2026-01-02T03:05:10Z".parse().unwrap())
}

/// All that is read of a run that has ended, wherever it comes from.
fn read(caches: &Caches, run: &WorkflowRun) -> impl PartialEq + std::fmt::Debug {
    let status = run.status.as_ref().unwrap();
    let missing = caches.missing(run, |s| s.pod.as_ref(), |_| false);
    (
        (key(run), version(run), run.uid(), run.metadata.generation, run.object_ref(&()), owner_of(run)),
        KeptRun::Live(Arc::new(run.clone())).view(&key(run)),
        (run.spec.workflow.clone(), status.phase, status.revision.clone(), status.concurrency_key.clone()),
        (parent_reference(run).cloned(), parent_key(run), wanted_children(run)),
        parent_reference(run).map(|_| child_view(run)),
        decision(caches, run),
        missing,
    )
}

proptest! {
    #[test]
    fn what_is_read_of_a_run_that_has_ended_is_kept(run in ended_run()) {
        let (key, caches) = (key(&run), caches_of(&run));
        let kept = KeptRun::of(run.clone());
        prop_assert!(matches!(kept, KeptRun::Ended(_)));
        let whole = kept.whole(&key);
        prop_assert_eq!(
            format!("{:#?}", read(&caches, &whole)),
            format!("{:#?}", read(&caches, &run))
        );
        prop_assert_eq!(kept.view(&key), KeptRun::Live(Arc::new(run.clone())).view(&key));
        prop_assert_eq!((kept.version(), kept.workflow()), (version(&run), run.spec.workflow.as_str()));
        // nothing more is lost when it is kept again
        prop_assert_eq!(KeptRun::of(WorkflowRun::clone(&whole)).whole(&key), whole);
    }
}

#[test]
fn a_run_that_has_ended_asks_for_nothing() {
    let run = run("r", 42, "Succeeded");
    let whole = KeptRun::of(run.clone()).whole(&key(&run));
    assert_eq!(decision(&Caches::default(), &whole), Decision::default());
}

#[test]
fn a_pod_that_a_run_left_at_work_is_stopped_after_its_end() {
    let mut run = run("r", 42, "Canceled");
    let status = run.status.as_mut().unwrap();
    status.steps.insert("late".to_owned(), step("late", (StepPhase::Canceled, true, true, false)));
    status.compensations.insert("late".to_owned(), step("undo", (StepPhase::Canceled, true, false, false)));
    let caches = caches_of(&run);
    caches.runs.applied(run.clone());
    let decision = decision(&caches, &caches.runs.get(&key(&run)).unwrap());
    assert_eq!(
        (decision.stop_pods, decision.stop_jobs),
        (vec!["pod-late".to_owned(), "pod-undo".to_owned()], vec!["job-late".to_owned()])
    );
}

#[test]
fn a_parent_reads_its_child_after_the_childs_end() {
    let caches = Caches::default();
    let mut parent = run("parent", 1, "Running");
    let calls = step("s", (StepPhase::Running, false, false, true));
    parent.status.as_mut().unwrap().steps.insert("s".to_owned(), calls);
    let mut child = child_of(run("run-s", 2, "Failed"), "parent");
    child.status.as_mut().unwrap().outputs.insert("volume".to_owned(), json!(7));
    caches.runs.applied(parent.clone());
    caches.runs.applied(child.clone());
    assert_eq!(caches.children_of(&parent), BTreeMap::from([("run-s".to_owned(), child_view(&child))]));
    let kept = caches.runs.get(&key(&child)).unwrap();
    assert_eq!((caches.depth_of(&kept), caches.is_unwanted(&kept)), (1, false));
    caches.runs.applied(run("parent", 3, "Canceled"));
    assert_eq!((caches.depth_of(&kept), caches.is_unwanted(&kept)), (1, true));
}

/// Names of the runs that have not ended and of those that have, as their workflow finds them.
fn found(caches: &Caches) -> (Vec<String>, Vec<String>) {
    let names = |final_: bool| {
        let of = caches.runs_of("n", "ct").into_iter().filter(move |r| r.phase.is_final() == final_);
        of.map(|r| r.name).collect()
    };
    let live: Vec<String> = caches.live_runs("n", "ct").iter().map(|r| r.name_any()).collect();
    assert_eq!(live, names(false));
    (live, names(true))
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_run_is_found_among_those_under_way_and_then_among_those_that_have_ended() {
    let caches = Caches::default();
    caches.runs.applied(run("b", 1, "Running"));
    caches.runs.wrote(run("a", 2, "Running"));
    assert_eq!(found(&caches), (names(["a", "b"]), names([])));
    assert!(caches.runs.wrote(run("b", 3, "Succeeded")));
    assert_eq!(found(&caches), (names(["a"]), names(["b"])));
    // the event of that write tells nothing new, and an older one takes nothing back
    assert!(caches.runs.applied(run("b", 3, "Succeeded")).is_none());
    assert!(caches.runs.applied(run("b", 1, "Running")).is_none());
    let change = caches.runs.applied(run("a", 4, "Failed")).unwrap();
    let phase = |run: Option<Arc<WorkflowRun>>| run.and_then(|r| r.status.as_ref()?.phase);
    assert_eq!((phase(change.before), phase(change.after)), (Some(RunPhase::Running), Some(RunPhase::Failed)));
    assert_eq!(found(&caches), (names([]), names(["a", "b"])));

    // a list that leaves one out, shows one as it is, and brings another
    caches.runs.list_begins(&None);
    caches.runs.listed(&None, run("b", 3, "Succeeded"));
    caches.runs.listed(&None, run("c", 9, "Canceled"));
    caches.runs.list_ends(&None);
    assert_eq!(found(&caches), (names([]), names(["b", "c"])));
    assert!(caches.runs.all().values().all(|r| matches!(r, KeptRun::Ended(_))));

    let gone = caches.runs.deleted(&run("b", 10, "Succeeded")).unwrap();
    assert_eq!(phase(gone.before), Some(RunPhase::Succeeded));
    caches.runs.gone(&Key::new("n", "c"));
    assert_eq!(found(&caches), (names([]), names([])));
    // one of the same name, made anew
    caches.runs.applied(run("b", 11, "Pending"));
    assert_eq!(found(&caches), (names(["b"]), names([])));
}

#[test]
fn a_run_that_has_ended_is_small() {
    assert!(size_of::<EndedRun>() <= 192, "{}", size_of::<EndedRun>());
    assert_eq!(size_of::<KeptRun>(), 16);
    let KeptRun::Ended(kept) = KeptRun::of(run("r", 42, "Succeeded")) else { panic!("it has ended") };
    // nothing that few of them have
    assert!(kept.child.is_none() && kept.left.is_empty());
}
