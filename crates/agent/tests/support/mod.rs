//! The grammar of the tests: a push service of their own, an app that records what it gets, and a running agent.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod app;
pub(crate) mod service;

use std::future::Future;
use std::time::Duration;

use doorbell_agent::{Backoff, Limits};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, it).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The usual limits, with waits that a test can sit out.
pub(crate) fn quick() -> Limits {
    let backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50) };
    Limits {
        reconnect: backoff,
        redeliver: backoff,
        acknowledge: backoff,
        steady_after: Duration::ZERO,
        answer_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}
