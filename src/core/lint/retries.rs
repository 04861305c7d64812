//! Can each retry ever apply?

use super::{
    activity::Activity,
    finding::{Findings, Severity},
    object::Object,
};
use crate::{
    api::{
        step::Backoff,
        vocabulary::{ErrorClass, Safety},
    },
    core::coordination::retry::RetryPolicy,
};

pub(super) fn check(object: &Object, activities: &[Activity<'_>], findings: &mut Findings) {
    for activity in activities {
        let Some(retry) = activity.retry else { continue };
        let path = format!("{}.retry", activity.at);
        let mut warn = |field: String, message: String| {
            findings.at(object, Severity::Warning, "retry", &field, message);
        };
        let policy = RetryPolicy::new(Some(retry), activity.safety());
        let applies = |class: ErrorClass| refusal(activity, class).is_none() && policy.retries(class);
        if !ErrorClass::ALL.into_iter().any(applies) {
            let field = if retry.errors.is_empty() { path.clone() } else { format!("{path}.errors") };
            let message = if retry.errors.is_empty() {
                "never applies: what is tried again by default cannot happen to this step, or may not be repeated with safety AtMostOnce; name the classes in errors"
            } else {
                "never applies: none of these can happen to this step and be tried again"
            };
            warn(field, message.to_owned());
        } else {
            for (e, class) in retry.errors.iter().enumerate() {
                if let Some(why) = refusal(activity, *class) {
                    warn(format!("{path}.errors[{e}]"), format!("{class:?} is never tried again here: {why}"));
                }
            }
        }
        if let Some(Backoff { initial, max: Some(max), .. }) = retry.backoff {
            let first = initial.unwrap_or(crate::api::Span::from_secs(1));
            if first > max {
                let message = format!("is shorter than the first wait of {first}: every wait is {max}");
                warn(format!("{path}.backoff.max"), message);
            }
        }
    }
}

/// Why a kind of failure never leads to another attempt.
fn refusal(activity: &Activity<'_>, class: ErrorClass) -> Option<&'static str> {
    let (call, container) = (activity.call.is_some(), activity.container.is_some());
    match class {
        ErrorClass::Configuration => Some("the same text fails in the same way"),
        ErrorClass::Connection | ErrorClass::Overloaded | ErrorClass::ServerError | ErrorClass::Rejected if !call => {
            Some("it happens to calls only")
        }
        ErrorClass::ContainerFailed | ErrorClass::PodNotStarted | ErrorClass::PodLost if !container => {
            Some("it happens to containers only")
        }
        ErrorClass::ChildFailed if activity.child.is_none() => Some("it happens to child runs only"),
        ErrorClass::Timeout | ErrorClass::PodLost
            if activity.safety() == Safety::AtMostOnce && activity.child.is_none() =>
        {
            Some("the step may have taken effect, and with safety AtMostOnce it becomes Unknown")
        }
        ErrorClass::ServerError if is_echo(activity) => Some("an echo has no such failure"),
        // what answers can be of no such protocol, and then nobody knows what came of the request
        ErrorClass::InvalidResult if is_typed(activity) => (activity.safety() == Safety::AtMostOnce)
            .then_some("the step may have taken effect, and with safety AtMostOnce it becomes Unknown"),
        ErrorClass::InvalidResult if activity.for_each().is_some() => {
            Some("the outputs of a step with forEach are read once, when its items are over")
        }
        ErrorClass::InvalidResult if activity.outputs.is_empty() => Some("the step declares no outputs"),
        _ => None,
    }
}

/// Whether what it calls must answer in more than HTTP.
fn is_typed(activity: &Activity<'_>) -> bool {
    activity.call.is_some_and(|c| c.http.is_none())
}

fn is_echo(activity: &Activity<'_>) -> bool {
    activity.call.and_then(|c| c.dicom.as_ref()).is_some_and(|d| d.echo.is_some())
}
