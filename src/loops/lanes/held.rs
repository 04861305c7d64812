//! What the call queues hold of a run, for as long as a look at it lasts.

use super::Lanes;
use crate::core::name::Key;

/// What the queues hold of a run that is looked at: unless the look goes well, it keeps no place that others wait for, and nothing where
/// the run has gone meanwhile.
pub struct HeldBy<'l> {
    pub(super) lanes: &'l Lanes,
    pub(super) run: &'l Key,
    pub(super) uid: &'l str,
    pub(super) kept: bool,
}

impl HeldBy<'_> {
    /// The look has gone well.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for HeldBy<'_> {
    fn drop(&mut self) {
        let present = self.lanes.caches.runs.get(self.run);
        if present.is_none_or(|run| run.metadata.uid.as_deref() != Some(self.uid)) {
            // the watch that tells of that may have passed
            self.lanes.forget(self.uid);
        } else if !self.kept {
            self.lanes.suspend(self.uid);
        }
    }
}
