//! SIGINT and SIGTERM: the first stops in order, the second at once.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{Notify, watch};

use crate::signals::{self, Signal};

/// What a shell reports for a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// What may end listening from outside: a signal, or a closed standard output.
pub(super) struct Signals {
    exit: watch::Receiver<Option<u8>>,
    pub(super) output_closed: Arc<Notify>,
}

impl Signals {
    /// Watches from now on, so that no signal that comes during the start is lost.
    pub(super) fn watch() -> Result<Self> {
        let (sender, exit) = watch::channel(None);
        tokio::spawn(forward(signals::Signals::new()?, sender));
        Ok(Self { exit, output_closed: Arc::new(Notify::new()) })
    }

    /// Resolves when it is time to stop.
    pub(super) async fn stopped(&self) {
        let mut exit = self.exit.clone();
        tokio::select! {
            _ = exit.wait_for(Option::is_some) => {}
            () = self.output_closed.notified() => {}
        }
    }

    /// What to exit with after that.
    pub(super) fn exit_code(&self) -> ExitCode {
        // Without a signal the output was closed, which is a success.
        ExitCode::from(self.exit.borrow().unwrap_or(0))
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
