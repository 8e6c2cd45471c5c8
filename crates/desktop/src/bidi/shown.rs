//! Which notifications of the woken Firefox are on the screen, under which ids.

use zbus::names::OwnedUniqueName;

/// More notifications than these are not on a screen.
const SHOWN_MAX: usize = 256;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The id under which Firefox knows it.
    pub(super) id: u32,
    /// The connection of Firefox that showed it.
    pub(super) client: OwnedUniqueName,
    /// The server on the session's bus, and its id there.
    pub(super) server: OwnedUniqueName,
    pub(super) real: u32,
    /// The names of its actions.
    pub(super) actions: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    shown: Vec<Shown>,
    last: u32,
}

impl Ledger {
    /// An id for a notification that Firefox shows in place of the one with the id `replaced`; `None` if there are too
    /// many.
    pub(super) fn id_for(&mut self, replaced: u32) -> Option<u32> {
        if self.of(replaced).is_some() {
            return Some(replaced);
        }
        if self.shown.len() >= SHOWN_MAX {
            return None;
        }
        // 0 means "none".
        self.last = self.last.checked_add(1).unwrap_or(1);
        Some(self.last)
    }

    /// The server shows it.
    pub(super) fn insert(&mut self, shown: Shown) {
        self.shown.retain(|one| one.id != shown.id);
        self.shown.push(shown);
    }

    /// The one that Firefox knows under this id.
    pub(super) fn of(&self, id: u32) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.id == id)
    }

    /// The one that the server knows under this id.
    pub(super) fn of_server(&self, server: &str, real: u32) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.real == real && shown.server.as_str() == server)
    }

    /// It is no longer on the screen.
    pub(super) fn remove(&mut self, id: u32) {
        self.shown.retain(|shown| shown.id != id);
    }

    /// Takes out those of all servers but this one, which are gone.
    pub(super) fn without_server(&mut self, server: &str) -> Vec<Shown> {
        self.shown.extract_if(.., |shown| shown.server.as_str() != server).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: u32, server: &str, real: u32) -> Shown {
        let name = |text: &str| OwnedUniqueName::try_from(text.to_owned()).unwrap();
        Shown { id, client: name(":1.1"), server: name(server), real, actions: Vec::new() }
    }

    #[test]
    fn a_changed_notification_keeps_its_id_for_firefox() {
        let mut ledger = Ledger::default();
        let id = ledger.id_for(0).unwrap();
        ledger.insert(shown(id, ":1.5", 70));
        assert_eq!(ledger.id_for(id), Some(id));
        ledger.insert(shown(id, ":1.5", 71));
        assert_eq!(ledger.of(id).map(|shown| shown.real), Some(71));
        assert!(ledger.of_server(":1.5", 70).is_none());
        // It is gone from the screen, and the next one is another one.
        ledger.remove(id);
        assert_ne!(ledger.id_for(id), Some(id));
    }

    #[test]
    fn a_stranger_cannot_name_the_notification_of_a_server() {
        let mut ledger = Ledger::default();
        ledger.insert(shown(1, ":1.5", 70));
        assert!(ledger.of_server(":1.6", 70).is_none());
        assert!(ledger.of_server(":1.5", 70).is_some());
    }

    #[test]
    fn they_go_with_their_server_and_are_bounded() {
        let mut ledger = Ledger::default();
        for real in 0..u32::try_from(SHOWN_MAX).unwrap() {
            let id = ledger.id_for(0).unwrap();
            ledger.insert(shown(id, ":1.5", real));
        }
        assert_eq!(ledger.id_for(0), None);
        assert_eq!(ledger.id_for(7), Some(7));
        assert!(ledger.without_server(":1.5").is_empty());
        assert_eq!(ledger.without_server(":1.6").len(), SHOWN_MAX);
        assert!(ledger.is_empty());
    }
}
