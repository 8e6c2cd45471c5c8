//! The configuration that is in force: a reload replaces it as a whole while everything runs.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;

/// The configuration in force. Its users share this cell and read it at each use, so that no connection holds a copy.
#[derive(Debug)]
pub(crate) struct Live(watch::Sender<Arc<Config>>);

impl Live {
    pub(crate) fn new(config: Config) -> Self {
        Self(watch::Sender::new(Arc::new(config)))
    }

    /// The present one. Later settings do not change it: take it anew for each use.
    pub(crate) fn get(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    pub(crate) fn replace(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }

    /// For the few that must act when it changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }
}
