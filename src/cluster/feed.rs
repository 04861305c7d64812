//! Tells listeners which services have changed. A listener that is slow loses names and is told that it did: nothing waits for it.

use tokio::sync::broadcast;

use crate::core::name::Key;

/// Names that are kept for a listener.
const KEPT: usize = 1024;

/// Changes of services.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Key>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Feed {
    /// A service, or its endpoints, have changed.
    pub fn tell(&self, key: &Key) {
        if self.0.receiver_count() > 0 {
            // nobody listens any more: then nobody needs it
            let _ = self.0.send(key.clone());
        }
    }

    /// What changes from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Key> {
        self.0.subscribe()
    }
}
