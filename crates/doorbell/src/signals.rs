//! SIGTERM and SIGINT: how the system or a user stops a verb. SIGHUP makes a service reload.

use std::fmt;
use std::io::{IsTerminal, stdin};

use anyhow::{Context, Result};
use tokio::signal::unix::{self, SignalKind};

/// A signal that asks a process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Both signals. From its creation on they no longer end the process.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Create it before anything else starts, so that no signal that comes during the start is lost.
    pub(crate) fn new() -> Result<Self> {
        let on = |kind| unix::signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// What a SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// A person or a program sent it, so that the configuration is read again.
    Reload,
    /// The system sent it, because the terminal was closed.
    TerminalClosed,
}

/// The SIGHUPs. From its creation on they no longer end the process.
pub(crate) struct Hangups {
    signals: unix::Signal,
    has_terminal: bool,
}

impl Hangups {
    /// Create it where the process still has its terminal, if it has one.
    pub(crate) fn new() -> Result<Self> {
        let signals = unix::signal(SignalKind::hangup()).context("cannot listen for signals")?;
        Ok(Self { signals, has_terminal: stdin().is_terminal() })
    }

    /// The next one. Several that come at once are one.
    pub(crate) async fn next(&mut self) -> Hangup {
        self.signals.recv().await;
        if self.has_terminal && !stdin().is_terminal() { Hangup::TerminalClosed } else { Hangup::Reload }
    }
}
