//! What ends listening from outside: SIGINT and SIGTERM, of which the first stops in order and the second at once; and a
//! standard output that takes no more.

use std::process::ExitCode;

use anyhow::Result;
use tokio::sync::watch;

use crate::signals::{self, Signal};

/// What a shell reports for a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// What may end listening from outside.
pub(super) struct Signals {
    exit: watch::Receiver<Option<u8>>,
    /// Ends it with this exit status.
    pub(super) end: watch::Sender<Option<u8>>,
}

impl Signals {
    /// Watches from now on, so that no signal that comes during the start is lost.
    pub(super) fn watch() -> Result<Self> {
        let (end, exit) = watch::channel(None);
        tokio::spawn(forward(signals::Signals::new()?, end.clone()));
        Ok(Self { exit, end })
    }

    /// Resolves when it is time to stop.
    pub(super) async fn stopped(&self) {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.expect("this value holds a sender");
    }

    /// What to exit with after that.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit.borrow().expect("it is asked for after the end"))
    }
}

async fn forward(mut signals: signals::Signals, exit: watch::Sender<Option<u8>>) {
    loop {
        let code = match signals.next().await {
            Signal::Interrupt => INTERRUPTED,
            // A process that sends SIGTERM expects an orderly end, which is a success.
            Signal::Terminate => 0,
        };
        if exit.send_replace(Some(code)).is_some() {
            std::process::exit(code.into());
        }
    }
}
