//! Tells listeners which services and which answers have changed. A listener that is slow loses names and is told that it did: nothing waits for it.

use tokio::sync::broadcast;

use crate::core::registry::Item;

/// Names that are kept for a listener.
const KEPT: usize = 1024;

/// Changes of what the registry tells.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Item>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Feed {
    /// A service, its endpoints, or the answer to a query have changed.
    pub fn tell(&self, item: &Item) {
        if self.0.receiver_count() > 0 {
            // nobody listens any more: then nobody needs it
            let _ = self.0.send(item.clone());
        }
    }

    /// What changes from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Item> {
        self.0.subscribe()
    }
}
