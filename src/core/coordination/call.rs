//! A step that calls a service: which endpoint gets the request, what it says, and what came of it.

use crate::{
    api::{
        vocabulary::{ErrorClass, Safety},
        workflow_run::{CallTarget, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            definition::{CallDefinition, StepDefinition},
            outcome::CallResult,
            run::Flow,
            step::{fail, fill, later, succeed},
            view::{Attempt, StartCall},
        },
        expression::ExpressionError,
        name::chance,
    },
};

pub(super) fn start(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, mut status: StepStatus) {
    let number = status.attempt.unwrap_or(1);
    let (endpoint, interface, dns_name) = match endpoint(flow, step, call, number, status.target.as_ref()) {
        Ok(found) => found,
        Err(missing) => {
            let since = status.started_at.unwrap_or(flow.now);
            let until = later(since, step.timeout);
            if until <= flow.now {
                fail(flow, step, status, ErrorClass::Connection, true, format!("{missing}, for {:?}", step.timeout));
            } else {
                flow.wake(until);
                status.phase = StepPhase::Waiting;
                status.message = Some(missing);
                flow.set(step, status);
            }
            return;
        }
    };
    let request = (|| -> Result<StartCall, ExpressionError> {
        let base = interface.1.trim_end_matches('/');
        let path = format!("{base}{}", fill(flow, &call.path)?);
        let mut headers = Vec::with_capacity(call.headers.len());
        for (name, value) in &call.headers {
            headers.push((name.clone(), fill(flow, value)?));
        }
        let body = call.body.as_ref().map(|b| fill(flow, b)).transpose()?;
        let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
        Ok(StartCall {
            attempt: Attempt { step: step.id(), number },
            endpoint: endpoint.0,
            host: if interface.0 == 80 { dns_name } else { format!("{dns_name}:{}", interface.0) },
            method: call.method.as_str(),
            path,
            headers,
            body,
            idempotency_key: format!("{uid}-{}-{}", step.id(), status.known_failures.unwrap_or(0)),
            timeout: step.timeout,
        })
    })();
    match request {
        Ok(request) => {
            status.phase = StepPhase::Starting;
            status.message = None;
            status.target = Some(CallTarget { endpoint: endpoint.0.to_string(), probability: endpoint.1 });
            flow.set(step, status);
            flow.decision.start_calls.push(request);
        }
        Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
    }
}

type Target = ((std::net::SocketAddr, u8), (u16, String), String);

/// The endpoint for an attempt: each that is ready with the same probability, and the same one again while it stays ready.
fn endpoint(
    flow: &Flow<'_>,
    step: &StepDefinition,
    call: &CallDefinition,
    number: u32,
    present: Option<&CallTarget>,
) -> Result<Target, String> {
    let service = flow
        .view
        .services
        .get(&call.service)
        .ok_or_else(|| format!("there is no MedicalService `{}` in this namespace", call.service))?;
    let interface = match &call.interface {
        Some(name) => service.interfaces.iter().find(|i| i.name == *name),
        None => service.interfaces.first(),
    }
    .ok_or_else(|| format!("MedicalService `{}` has no such interface that speaks HTTP", call.service))?;
    let all = &interface.endpoints;
    if all.is_empty() {
        return Err(format!("MedicalService `{}` has no endpoint that is ready", call.service));
    }
    let same = present.and_then(|t| all.iter().find(|e| e.to_string() == t.endpoint));
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (chance(&[uid, &step.id(), &number.to_string()]) * all.len() as f64) as usize;
    let chosen = *same.unwrap_or(&all[index.min(all.len() - 1)]);
    let probability = u8::try_from(100 / all.len()).unwrap_or(0);
    Ok(((chosen, probability), (interface.port, interface.base_path.clone()), service.dns_name.clone()))
}

pub(super) fn watch(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, status: StepStatus) {
    let this = Attempt { step: step.id(), number: status.attempt.unwrap_or(1) };
    if let Some(outcome) = flow.view.outcomes.get(&this) {
        match outcome.what.clone() {
            CallResult::Answered(answer) if answer.is_expected(&call.expect_status) => {
                succeed(flow, step, status, answer.to_value());
            }
            CallResult::Answered(answer) => {
                fail(flow, step, status, answer.class(), true, format!("the service answered HTTP {}", answer.status));
            }
            CallResult::Failed { class, sent, message } => fail(flow, step, status, class, !sent, message),
        }
    } else if flow.view.in_flight.contains(&this) {
        // its end will be told
    } else if !flow.taken_over {
        // this leader wrote the intent and has not started it: the status write's own answer was lost
        start(flow, step, call, status);
    } else if step.safety == Safety::Idempotent {
        flow.fence = true;
        start(flow, step, call, status);
    } else {
        let message = "medley was interrupted during the call".to_owned();
        fail(flow, step, status, ErrorClass::Connection, false, message);
    }
}
