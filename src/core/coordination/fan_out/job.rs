//! Items that are pods: one Indexed Job makes and retries them, and its status tells which have succeeded and which have failed.
//!
//! Source: Kubernetes documentation, "Job", sections "Completion mode", "Backoff limit per index" and "Pod replacement policy".

use std::time::Duration;

use jiff::Timestamp;

use super::{Fan, fail_beyond, indexes::Indexes, summary, work::Work};
use crate::{
    api::{
        vocabulary::ErrorClass,
        workflow_run::{StepPhase, StepStatus, WorkflowRunStatus},
    },
    core::{
        coordination::{
            capacity,
            definition::{ContainerDefinition, ITEMS_VARIABLE, StepDefinition},
            pod,
            run::Flow,
            step::{STOP_WAIT, conclude, fail_for_good, later, stopped, told_at},
            view::{JobEnd, JobView, StartJob, View},
        },
        name,
    },
};

/// Longest JSON text of the items that is given to the pods: they are part of every pod.
const MAX_ITEMS_TEXT: usize = 32 * 1024;
/// The longest that the Job controller waits before it makes the next pod of an item.
const BACKOFF: Duration = Duration::from_secs(600);
/// After its deadline a Job has this long to say so.
const GRACE: Duration = Duration::from_secs(60);

/// Starts as many pods at a time as there is capacity for; one at least.
pub(super) fn begin(mut fan: Fan<'_, '_>, container: &ContainerDefinition) {
    let most = fan.fan_out.parallel.min(fan.work.total);
    if capacity::is_admitted(fan.flow, fan.step, &mut fan.status, most) {
        start(fan, container);
    }
}

fn start(mut fan: Fan<'_, '_>, container: &ContainerDefinition) {
    match wish(&mut fan, container) {
        Ok(job) => {
            fan.flow.wake(later(fan.flow.now, job.deadline + GRACE));
            fan.status.phase = StepPhase::Starting;
            fan.status.job = Some(job.pod.name.clone());
            fan.flow.decision.start_jobs.push(job);
            fan.flow.set(fan.step, fan.status);
        }
        Err(problem) => fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::Configuration, problem),
    }
}

fn wish(fan: &mut Fan<'_, '_>, container: &ContainerDefinition) -> Result<StartJob, String> {
    let mut pod = pod::start(fan.flow, fan.step, container, &fan.status).map_err(|e| e.to_string())?;
    pod.name = name::job(fan.flow.name(), &fan.step.id());
    let items = fan.listed()?.map(|items| serde_json::Value::from(items).to_string());
    if let Some(bytes) = items.as_ref().map(String::len).filter(|&n| n > MAX_ITEMS_TEXT) {
        return Err(format!(
            "forEach.items: as JSON the items have {bytes} bytes, and at most {MAX_ITEMS_TEXT} fit into the variable \
             {ITEMS_VARIABLE} of a container: make them references, or give only their number"
        ));
    }
    Ok(StartJob {
        pod,
        total: fan.work.total,
        parallel: fan.parallel().min(fan.work.total),
        retries: fan.step.retry.limit,
        tolerated: fan.limit().min(fan.work.total),
        interruptible: fan.step.interruptible,
        // the kubelet reads `$(NAME)` in values of variables, and halves `$$`
        items: items.map(|text| text.replace('$', "\\u0024")),
        deadline: deadline(fan),
    })
}

/// What all items take at most, as many at a time as may run together.
fn deadline(fan: &Fan<'_, '_>) -> Duration {
    let rounds = fan.work.total.div_ceil(fan.parallel().max(1));
    let retries = fan.step.retry.limit;
    let one = fan.flow.timeout(fan.step).saturating_mul(retries + 1).saturating_add(BACKOFF.saturating_mul(retries));
    one.saturating_mul(rounds).min(Duration::from_secs(u64::from(u32::MAX)))
}

pub(super) fn watch(mut fan: Fan<'_, '_>, container: &ContainerDefinition) {
    // while Kueue holds a Job, its own deadline stands still
    let handed = fan.status.job.as_ref().and_then(|name| fan.flow.view.handed_over.get(name)).cloned();
    let until = match handed {
        Some(_) => Timestamp::MAX,
        None => later(fan.status.started_at.unwrap_or(fan.flow.now), deadline(&fan) + GRACE),
    };
    let job = fan.status.job.as_ref().and_then(|name| fan.flow.view.jobs.get(name)).cloned();
    let stopping = fan.status.phase == StepPhase::Stopping;
    match job {
        Some(job) if job.end.is_some() => ended(fan, &job),
        None if stopping => stopped(fan.flow, fan.step, fan.status),
        Some(_) if stopping => match fan.status.wake_at {
            Some(at) if at > fan.flow.now => fan.flow.wake(at),
            _ => {
                fan.status.message = Some("its Job was told to stop and has not gone yet".to_owned());
                stopped(fan.flow, fan.step, fan.status);
            }
        },
        _ if until <= fan.flow.now => {
            let message = "the Job did not end within its deadline".to_owned();
            fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::Timeout, message);
        }
        Some(job) => {
            fan.flow.wake(until);
            match handed {
                Some(handed) if job.since.is_none() => held(fan, &handed.queue),
                _ => progress(fan, &job),
            }
        }
        None if fan.status.phase == StepPhase::Running || fan.flow.view.has_lost(fan.status.job.as_ref()) => {
            let message = "the Job was deleted".to_owned();
            fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::PodLost, message);
        }
        None => match wish(&mut fan, container) {
            Ok(job) => {
                fan.flow.fence_off();
                fan.flow.wake(until);
                fan.flow.decision.start_jobs.push(job);
            }
            Err(problem) => fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::Configuration, problem),
        },
    }
}

/// Tells, once it has lasted for a while, that Kueue holds a Job.
fn held(fan: Fan<'_, '_>, queue: &str) {
    let Fan { flow, step, mut status, .. } = fan;
    let told = later(status.started_at.unwrap_or(flow.now), pod::DELAY_WORTH_TELLING);
    if told > flow.now {
        return flow.wake(told);
    }
    let why = Some(format!("Kueue has not admitted its Job yet, or has suspended it (LocalQueue `{queue}`)"));
    if status.message != why {
        status.message = why;
        flow.set(step, status);
    }
}

/// A Job that is at work is told once, and then each time that another quarter of the items is over.
fn progress(mut fan: Fan<'_, '_>, job: &JobView) {
    let Some(since) = job.since else { return };
    let told = told_at(since, fan.flow.now);
    if told > fan.flow.now {
        return fan.flow.wake(told);
    }
    let quarter = |succeeded: &Indexes, failed: &Indexes| (succeeded.len() + failed.len()) * 4 / fan.work.total.max(1);
    let now = quarter(&Indexes::parse(Some(&job.succeeded)), &Indexes::parse(Some(&job.failed)));
    if fan.status.phase == StepPhase::Running && now <= quarter(&fan.work.succeeded, &fan.work.failed) {
        return;
    }
    let mut items = read(fan.work.total, job).status();
    items.active = job.active;
    fan.status.phase = StepPhase::Running;
    fan.status.items = Some(items);
    fan.status.message = None; // what held it up
    fan.flow.set(fan.step, fan.status);
}

/// What a Job's status says of its items.
fn read(total: u32, job: &JobView) -> Work {
    let mut work = Work::new(total);
    Indexes::parse(Some(&job.succeeded)).iter().filter(|&i| i < total).for_each(|i| work.succeed(i));
    for index in Indexes::parse(Some(&job.failed)).iter().filter(|&i| i < total) {
        let message =
            format!("its last pod failed; its pods bear the label batch.kubernetes.io/job-completion-index={index}");
        work.fail(index, ErrorClass::ContainerFailed, &message);
    }
    work
}

fn ended(mut fan: Fan<'_, '_>, job: &JobView) {
    fan.work = read(fan.work.total, job);
    let (work, limit) = (&fan.work, fan.limit());
    fan.status.items = Some(work.status());
    let over = work.succeeded.len() + work.failed.len() == work.total;
    let reason = match &job.end {
        Some(JobEnd::Failed(reason)) => reason.as_str(),
        _ => "Complete",
    };
    let timed_out = || format!("the Job ended with {reason}: its items took longer than their timeouts allow");
    if over && !fan.is_beyond() {
        let result = summary(work);
        conclude(fan.flow, fan.step, fan.status, result);
    } else if fan.status.phase == StepPhase::Stopping {
        stopped(fan.flow, fan.step, fan.status);
    } else if fan.is_beyond() {
        fail_beyond(fan.flow, fan.step, fan.status, &fan.work, limit);
    } else if reason == "DeadlineExceeded" {
        let message = timed_out();
        fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::Timeout, message);
    } else {
        let message = format!("the Job ended with {reason} before all items were over");
        fail_for_good(fan.flow, fan.step, fan.status, ErrorClass::ContainerFailed, message);
    }
}

/// The run is told to stop: its Job goes, and its pods with it.
pub(super) fn stop(flow: &mut Flow<'_>, step: &StepDefinition) {
    let until = later(flow.now, STOP_WAIT);
    if let Some(status) = flow.get_mut(step)
        && matches!(status.phase, StepPhase::Starting | StepPhase::Running)
    {
        status.phase = StepPhase::Stopping;
        status.wake_at = Some(until);
        flow.wake(until);
    }
}

/// Jobs that are at work and that nobody waits for.
pub(in crate::core::coordination) fn unwanted(view: &View<'_>, status: &WorkflowRunStatus) -> Vec<String> {
    let is_over = status.phase.is_some_and(crate::api::workflow_run::RunPhase::is_final);
    let waits = |s: &&StepStatus| !is_over && matches!(s.phase, StepPhase::Starting | StepPhase::Running);
    let wanted: Vec<&String> = status.steps.values().filter(waits).filter_map(|s| s.job.as_ref()).collect();
    let at_work = view.jobs.iter().filter(|(_, job)| job.is_at_work());
    at_work.filter(|(name, _)| !wanted.contains(name)).map(|(name, _)| name.clone()).collect()
}
