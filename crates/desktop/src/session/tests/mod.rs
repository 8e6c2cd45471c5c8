//! The session on a real bus, with stand-ins for the services.

mod bus_daemon;
mod notifying;
mod showing;
mod stand_ins;
mod watching;

use std::future::Future;
use std::time::Duration;

/// What a test waits for comes within this time, or never.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it comes to this soon")
}
