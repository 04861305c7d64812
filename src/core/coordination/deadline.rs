//! A run's deadline: how long its steps may take, what happens when it passes, and whether it will be kept.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::{
        Span,
        workflow_run::{Deadline, RunPhase},
    },
    core::{
        coordination::{
            definition::{Role, StepDefinition},
            forecast::DEADLINE_EXCEEDED,
            risk::{self, Ahead},
            run::{End, Flow},
            view::{DefinitionView, View},
        },
        note::Note,
    },
};

/// A run's deadline, and when it passes.
pub(super) fn of(view: &View<'_>) -> Option<(Span, Timestamp)> {
    let definition = match &view.definition {
        DefinitionView::Found { definition, .. } => Some(definition.as_ref()),
        _ => None,
    };
    let span = risk::span(view.run, definition)?;
    Some((span, risk::at(view.run, span)?))
}

impl Flow<'_> {
    /// How the run ends when its deadline has passed.
    pub(super) fn overdue(&self) -> Option<(RunPhase, &'static str, String)> {
        let (span, _) = self.deadline.filter(|(_, at)| *at <= self.now)?;
        Some((RunPhase::Failed, DEADLINE_EXCEEDED, format!("the run did not end within {span} of its creation")))
    }

    /// How long one attempt of a step may take in this run.
    pub(super) fn timeout(&self, step: &StepDefinition) -> Duration {
        match (step.deadline_share, self.deadline) {
            (Some(share), Some((deadline, _))) => deadline.duration() * u32::from(share) / 100,
            _ => step.timeout,
        }
    }

    /// What a service asks to wait for, within what is left until the deadline: that ends the steps, and not what follows them.
    pub(super) fn bounded(&self, step: &StepDefinition, asked: Option<Duration>) -> Option<Duration> {
        match self.deadline {
            Some((_, at)) if step.role == Role::Main => {
                let left = Duration::try_from(at.duration_since(self.now)).unwrap_or_default();
                asked.map(|asked| asked.min(left))
            }
            _ => asked,
        }
    }

    /// Writes the deadline down, and looks again when it passes.
    pub(super) fn keep_deadline(&mut self, end: &End) {
        let (Some((_, at)), End::Open(..)) = (self.deadline, end) else { return };
        self.status.deadline.get_or_insert(Deadline {
            at,
            predicted: None,
            earliest: None,
            latest: None,
            at_risk: None,
        });
        if at > self.now {
            self.wake(at);
        }
    }

    /// Brings the prediction up to date; says so when the deadline will likely be missed.
    pub(super) fn look_ahead(&mut self) {
        if self.status.phase.is_some_and(RunPhase::is_final) || self.status.ending.is_some() {
            risk::settle(&mut self.status);
            return;
        }
        let DefinitionView::Found { definition, .. } = &self.view.definition else { return };
        let ahead = Ahead {
            uid: self.view.run.metadata.uid.as_deref().unwrap_or_default(),
            definition,
            model: self.view.model.as_ref(),
            outlook: self.view.outlook.as_ref(),
            now: self.now,
        };
        let seen = risk::look(&mut self.status, &self.present, ahead);
        if let (Some(percent), Some((span, _))) = (seen.alarm, self.deadline) {
            let text = format!(
                "the run will miss its deadline of {span} with a chance of {percent} %; the steps that decide: {}",
                self.status.critical_path.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
            );
            self.decision.notes.push(Note::warning("DeadlineAtRisk", text));
        }
        if let Some(at) = seen.wake_at {
            self.wake(at);
        }
        self.decision.outlook = seen.outlook;
    }
}
