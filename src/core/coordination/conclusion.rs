//! What a pass over a run comes to: the next status with its conditions, and what must not go on.

use crate::{
    api::{
        status::{COMPENSATED, READY, RECONCILING, STALLED, SUCCEEDED},
        workflow_run::{RunPhase, StepPhase},
    },
    core::{
        condition::{Conditions, State},
        coordination::{
            capacity, fan_out, pod,
            run::{End, Flow},
            stages,
            view::Decision,
            workspace,
        },
        note::Note,
    },
};

impl Flow<'_> {
    /// Ends the pass.
    pub(super) fn finish(mut self, end: End) -> Decision {
        let generation = self.view.run.metadata.generation;
        let mut conditions = Conditions::from(&self.present.conditions, generation, self.now);
        match workspace::release(&mut self, end) {
            End::Open(phase, reason, message, stalled) => {
                self.status.phase = Some(phase);
                let (reason, message, stalled) = match self.view.refused {
                    Some(refused) if !stalled => {
                        self.decision.notes.extend(refused.note(&self.present.conditions));
                        (refused.reason(), refused.message().to_owned(), true)
                    }
                    _ => (reason, message, stalled),
                };
                conditions.set(SUCCEEDED, State::Unknown, reason, message.clone());
                conditions.set(READY, State::False, reason, "the run has not ended");
                if stalled {
                    conditions.set(STALLED, State::True, reason, message);
                    conditions.remove(RECONCILING);
                } else {
                    conditions.set(RECONCILING, State::True, reason, "the run has not ended");
                    conditions.remove(STALLED);
                }
            }
            End::Over(phase, reason, message) => {
                let reason = reason.as_str();
                if self.present.ending.is_none() {
                    // it came to its end in one pass: nobody has to know how it was going to
                    self.status.ending = None;
                }
                self.status.phase = Some(phase);
                self.status.finished_at = Some(self.now);
                conditions.remove(RECONCILING);
                conditions.remove(STALLED);
                conditions.set(SUCCEEDED, State::of(phase == RunPhase::Succeeded), reason, message.clone());
                conditions.set(READY, State::of(phase == RunPhase::Succeeded), reason, message.clone());
                if phase != RunPhase::Succeeded {
                    conditions.set(
                        STALLED,
                        State::True,
                        reason,
                        "a finished run does not start again; create a new one",
                    );
                }
                self.decision.notes.push(match phase {
                    RunPhase::Succeeded => Note::normal("Succeeded", message),
                    RunPhase::Canceled => Note::normal("Canceled", message),
                    _ => Note::warning("Failed", message),
                });
                self.decision.start_nothing();
                self.decision.wake_at = None;
            }
        }
        if let Some((all, message)) = stages::compensated(&self) {
            let reason = if all { "AllUndone" } else { "NotAllUndone" };
            conditions.set(COMPENSATED, State::of(all), reason, message);
        }
        self.status.conditions = conditions.into_list();
        self.status.observed_generation = generation;
        self.status.leader_epoch = self.present.leader_epoch;
        self.look_ahead();
        capacity::give_back(&mut self.status);
        let displaced = capacity::displaced_pods(self.view, &self.status);
        let wanted: Vec<String> = self
            .status
            .steps
            .values()
            .chain(self.status.compensations.values())
            .filter(|s| matches!(s.phase, StepPhase::Starting | StepPhase::Running))
            .filter_map(|s| s.pod.clone())
            .filter(|pod| !displaced.contains(pod))
            .collect();
        self.decision.stop_pods = pod::unwanted(self.view, &wanted);
        self.decision.stop_jobs = fan_out::unwanted_jobs(self.view, &self.status);
        self.decision.stop_calls = fan_out::unwanted_calls(self.view, &self.status);
        if (self.status != self.present || self.fence) && !self.untold {
            self.status.leader_epoch = Some(self.view.epoch);
            self.decision.status = Some(self.status);
        }
        self.decision
    }
}
