//! What just happened, step by step, for the panel that shows it.

use serde_json::json;

use crate::clock;
use crate::pages::Pages;
use crate::store::PersonId;

/// A row of steps that belong together: a call, a message, a trial.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) id: String,
    /// Whose pages are told.
    pub(crate) teller: PersonId,
}

impl Story {
    /// Tells a step.
    pub(crate) fn step(&self, pages: &Pages, what: &str, detail: &str) {
        let at = clock::now().as_millis();
        let step = json!({ "type": "step", "story": self.id, "what": what, "detail": detail, "at": at });
        pages.tell(self.teller, &step);
    }
}
