//! The driver: the half of an agent that receives.

mod monitors;
mod removals;
mod run;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::watch;

use crate::agent::Shared;
use crate::app::App;
use crate::driver::run::Run;
use crate::error::Error;

/// Receives the messages of an [`Agent`](crate::Agent)'s subscriptions. It works while [`Driver::run`] or
/// [`Driver::drain`] is polled, usually in a task of its own, and can be run again after it returned.
///
/// Without a running driver the handle still subscribes and unsubscribes; messages wait at the service until the next
/// run.
pub struct Driver {
    shared: Arc<Shared>,
    changes: watch::Receiver<()>,
    urgency: watch::Receiver<Option<Urgency>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The `stop` future completed.
    Stopped,
    /// The application returned `Break` from [`App::message`].
    Enough,
    /// Everything that was stored has been handled.
    Drained,
    /// The service has ended subscriptions (RFC 8030 s7.3), and the application returned `Break` from [`App::ended`].
    /// They are no longer received. Subscribe again, and send the new subscription to the application servers: it takes
    /// their place in the profile. A profile that is opened again without that asks the service again.
    Gone,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        changes: watch::Receiver<()>,
        urgency: watch::Receiver<Option<Urgency>>,
    ) -> Self {
        Self { shared, changes, urgency }
    }

    /// Receives messages and gives them to `app` until something of [`Outcome`] happens. Subscriptions that are added
    /// during the run are received too; connections that fail are made again, with growing waits.
    ///
    /// While there is no subscription it waits for one, and deletes at the service what is still owed there. If no
    /// handle is left that could add one, that is [`Error::NotSubscribed`], after one attempt to delete. A profile that
    /// cannot be written ends it too.
    ///
    /// Dropped before it returns, it stops as a crash would: nothing is lost, and a message that the application was
    /// handling comes again.
    pub async fn run<A: App>(&mut self, app: A, stop: impl Future<Output = ()> + Send) -> Result<Outcome, Error> {
        Run::new(&self.shared, &mut self.changes, self.urgency.clone(), app, false).run(stop).await
    }

    /// Receives what is stored at the service, then returns (RFC 8030 s6, `Prefer: wait=0`). If the service cannot be
    /// reached it fails, and so it does if there is no subscription. If the last one is left meanwhile, what is still
    /// owed for it is tried once, and otherwise left to a later run.
    pub async fn drain<A: App>(&mut self, app: A, stop: impl Future<Output = ()> + Send) -> Result<Outcome, Error> {
        if self.shared.subscriptions().is_empty() {
            return Err(Error::NotSubscribed);
        }
        Run::new(&self.shared, &mut self.changes, self.urgency.clone(), app, true).run(stop).await
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("service", &self.shared.service.host_str()).finish_non_exhaustive()
    }
}
