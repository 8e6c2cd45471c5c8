//! Where the agents' TLS session tickets wait for their next connection (RFC 8446 s4.6.1).
//!
//! A real agent keeps its own. Here all agents share one pool, which has as many as there are agents, since no server
//! can tell whose a ticket is. The oldest goes first: whoever comes back has the ticket of its last connection, not one
//! that somebody else has just been given.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The tickets for one service.
pub(super) struct Tickets {
    waiting: Mutex<VecDeque<Tls13ClientSessionValue>>,
    max: usize,
}

impl Tickets {
    /// A pool for at most `max` tickets.
    pub(super) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), max }
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // Sessions of TLS 1.2 are not kept: the services that are measured speak TLS 1.3.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < self.max {
            waiting.push_back(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Says nothing: a ticket opens a session.
impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}
