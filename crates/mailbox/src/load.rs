//! What the store holds comes into memory page by page when a link opens (PS-8030-6-8).
//!
//! A page is a look into the past: since it was read, messages may have come, been settled or been withdrawn. So what
//! memory knows already is believed before the page, and what is over stays remembered until the page has come.

use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::Entry;
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};

/// Whether memory holds what the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// It does not: no link has been open.
    Unread,
    /// A page is under way, and memory has kept up since it was asked for.
    Reading,
    /// A page is under way that is of no use: after it was asked for the last link closed, and memory forgot.
    Stale,
    /// It does.
    Complete,
}

impl Load {
    pub(crate) fn is_under_way(self) -> bool {
        matches!(self, Self::Reading | Self::Stale)
    }
}

impl Mailbox {
    /// Asks for the first page, unless memory is complete or a page is under way.
    pub(crate) fn begin_load(&mut self, effects: &mut Vec<Effect>) {
        if self.load == Load::Unread {
            self.load = Load::Reading;
            effects.push(Effect::Load { after: None });
        }
    }

    /// Memory has forgotten its messages.
    pub(crate) fn end_load(&mut self) {
        self.load = if self.load.is_under_way() { Load::Stale } else { Load::Unread };
    }

    pub(crate) fn loaded(&mut self, entries: &[Entry], more: bool, now: UnixMs, effects: &mut Vec<Effect>) {
        match self.load {
            Load::Reading => self.take_in(entries, more, now, effects),
            Load::Stale => self.load = Load::Unread,
            Load::Unread | Load::Complete => return,
        }
        self.settled.page_came();
        if !self.queue.links().is_empty() {
            self.begin_load(effects);
        }
    }

    fn take_in(&mut self, entries: &[Entry], more: bool, now: UnixMs, effects: &mut Vec<Effect>) {
        for entry in entries {
            let message = Message::new(entry, false, Place::Ready);
            let known = self.queue.get(entry.id).is_some() || self.settled.lists(entry);
            if !known && !message.is_expired(now) {
                self.queue.insert(entry.id, message);
            }
        }
        match entries.last() {
            Some(last) if more => effects.push(Effect::Load { after: Some(last.id) }),
            _ => self.load = Load::Complete,
        }
    }
}
