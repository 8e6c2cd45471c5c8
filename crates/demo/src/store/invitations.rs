//! Which invitations were used: each lets one device in, once.

use doorbell_protocol::time::UnixMs;
use rusqlite::{Transaction, params};

use super::devices::insert_device;
use super::people::insert_person;
use super::{Newcomer, Person, ServiceTime, Store};
use crate::error::DemoError;
use crate::limits::USED_INVITATIONS_KEPT;
use crate::session::Invitation;
use crate::token::Token;

impl Store {
    /// Lets a device in by an invitation: whether it had not been used before. Both are one change, so of two devices
    /// that use it at the same time one gets in, and a power cut does not make it good again.
    pub(crate) fn add_invited_device(
        &self,
        invitation: &Invitation,
        device: &Token,
        label: &str,
        now: UnixMs,
    ) -> Result<bool, DemoError> {
        self.durably(|transaction| {
            let is_first = use_up(transaction, invitation, now)?;
            if is_first {
                insert_device(transaction, device, invitation.person, label, now)?;
            }
            Ok(is_first)
        })
    }
}

impl Store {
    /// A new person by an invitation: none if it had been used before. Both are one change.
    pub(crate) fn add_guest(
        &self,
        invitation: &Invitation,
        newcomer: &Newcomer<'_>,
        (at, now): (UnixMs, ServiceTime),
    ) -> Result<Option<Person>, DemoError> {
        self.durably(|transaction| {
            if !use_up(transaction, invitation, at)? {
                return Ok(Ok(None));
            }
            let added = insert_person(transaction, newcomer, now)?;
            if added.is_err() {
                let again = "DELETE FROM used_invitations WHERE id = ?1";
                transaction.execute(again, [invitation.id.as_str()])?;
            }
            Ok(added.map(Some))
        })?
    }

    /// An invitation lets a person in under a name that is free again: whether it had not been used before.
    pub(crate) fn use_up_guest(&self, invitation: &Invitation, now: UnixMs) -> Result<bool, DemoError> {
        self.durably(|transaction| use_up(transaction, invitation, now))
    }
}

fn use_up(transaction: &Transaction<'_>, invitation: &Invitation, now: UnixMs) -> rusqlite::Result<bool> {
    let old = now.minus(USED_INVITATIONS_KEPT).as_millis();
    transaction.execute("DELETE FROM used_invitations WHERE until < ?1", [old])?;
    let insert = "INSERT OR IGNORE INTO used_invitations (id, until) VALUES (?1, ?2)";
    Ok(transaction.execute(insert, params![invitation.id.as_str(), invitation.until.as_millis()])? == 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::clock;
    use crate::limits::INVITATION_KEPT;
    use crate::name::Name;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn setting(file: &std::path::Path) -> (Store, Invitation) {
        let store = Store::open(file, clock::moment().instant).unwrap();
        let name = Name::parse("Alice").unwrap();
        let person = match store.person_named(&name).unwrap() {
            Some(person) => person.id,
            None => {
                store
                    .add_person(&Newcomer { name: &name, passphrase: None, source: "home" }, ServiceTime(0))
                    .unwrap()
                    .id
            }
        };
        let invitation = Invitation { person, id: Token::random().unwrap(), until: NOW.plus(INVITATION_KEPT) };
        (store, invitation)
    }

    fn is_let_in(store: &Store, invitation: &Invitation) -> bool {
        store.add_invited_device(invitation, &Token::random().unwrap(), "a browser", NOW).unwrap()
    }

    #[test]
    fn of_many_devices_that_use_an_invitation_at_once_one_gets_in() {
        const DEVICES: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        let (store, invitation) = setting(&folder.path().join("demo.sqlite"));
        let barrier = Barrier::new(DEVICES);
        let in_at_once = || {
            barrier.wait();
            is_let_in(&store, &invitation)
        };
        let let_in = thread::scope(|scope| {
            let threads: Vec<_> = (0..DEVICES).map(|_| scope.spawn(in_at_once)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count()
        });
        assert_eq!((let_in, store.devices_of(invitation.person).unwrap().len()), (1, 1));
    }

    #[test]
    fn a_used_invitation_stays_used_after_a_restart_and_is_forgotten_when_it_is_long_void() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.sqlite");
        let (store, invitation) = setting(&file);
        assert!(is_let_in(&store, &invitation));
        drop(store);
        let (store, another) = setting(&file);
        assert!(!is_let_in(&store, &invitation));
        let late = NOW.plus(INVITATION_KEPT).plus(USED_INVITATIONS_KEPT * 2);
        assert!(store.add_invited_device(&another, &Token::random().unwrap(), "a browser", late).unwrap());
        let count =
            store.connection().query_row("SELECT count(*) FROM used_invitations", [], |row| row.get::<_, u32>(0));
        assert_eq!(count.unwrap(), 1);
    }

    #[test]
    fn an_invitation_for_a_person_is_good_for_one_name_and_not_used_up_by_a_name_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (store, invitation) = setting(&folder.path().join("demo.sqlite"));
        let takes = |name: &str| {
            let name = Name::parse(name).unwrap();
            store.add_guest(
                &invitation,
                &Newcomer { name: &name, passphrase: None, source: "home" },
                (NOW, ServiceTime(0)),
            )
        };
        assert!(matches!(takes("Alice"), Err(DemoError::NameTaken(_))));
        assert_eq!(takes("Mom").unwrap().expect("it was not used").name, "Mom");
        assert!(takes("Bob").unwrap().is_none());
        assert!(store.person_named(&Name::parse("Bob").unwrap()).unwrap().is_none());
    }
}
