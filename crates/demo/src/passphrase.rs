//! Passphrases: what is kept of them, and a bounded number of threads that compute it, so that pushes and calls do not
//! wait while strangers sign in.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::pbkdf2;
use doorbell_protocol::base64url;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::allowance::Shares;
use crate::error::DemoError;
use crate::limits::{HASHES_AT_ONCE, HASHES_OF_SOURCE_MAX, HASHES_WAITING_MAX};

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Some 50 ms of work: nothing for a person, much for a client that guesses.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
/// When a client should come back that found no room: by then the ones before it are done.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// The threads that hash, and the requests that wait for them.
pub(crate) struct Hashing {
    threads: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// How many requests of each source hash or wait.
    sources: Arc<Shares>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            room: Arc::new(Semaphore::new(HASHES_AT_ONCE + HASHES_WAITING_MAX)),
            sources: Arc::default(),
        }
    }
}

impl Hashing {
    /// What is kept of a passphrase that comes from an address: salt and hash.
    pub(crate) async fn keep(&self, passphrase: String, from: IpAddr) -> Result<String, DemoError> {
        self.run(from, move || keep(&passphrase)).await
    }

    /// Whether a passphrase is the one that was kept.
    pub(crate) async fn fits(&self, kept: String, given: String, from: IpAddr) -> Result<bool, DemoError> {
        self.run(from, move || fits(&kept, &given)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        from: IpAddr,
        work: impl FnOnce() -> Result<T, DemoError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let full = || DemoError::TooManyAtOnce(COME_BACK_AFTER);
        let turn = self.sources.take(from, HASHES_OF_SOURCE_MAX).ok_or_else(full)?;
        let place = self.room.clone().try_acquire_owned().map_err(|_| full())?;
        let thread = self.threads.clone().acquire_owned().await.expect("the semaphore is never closed");
        let done = spawn_blocking(move || {
            let done = work();
            // Here and not where it is awaited: a client that is gone does not stop the work.
            drop((thread, place, turn));
            done
        });
        match done.await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

fn keep(passphrase: &str) -> Result<String, DemoError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| DemoError::Random)?;
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, passphrase.as_bytes(), &mut hash);
    Ok(format!("{}.{}", base64url::encode(&salt), base64url::encode(&hash)))
}

/// What is kept and cannot be read is a damaged store, not a wrong passphrase.
fn fits(kept: &str, given: &str) -> Result<bool, DemoError> {
    let damaged = || DemoError::Store(rusqlite::Error::InvalidQuery);
    let (salt, hash) = kept.split_once('.').ok_or_else(damaged)?;
    let [salt, hash] = [salt, hash].map(base64url::decode);
    let (salt, hash) = (salt.map_err(|_| damaged())?, hash.map_err(|_| damaged())?);
    Ok(pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, given.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;
    use crate::lock::lock;

    fn address(number: usize) -> IpAddr {
        format!("192.0.2.{number}").parse().unwrap()
    }

    #[tokio::test]
    async fn the_runtime_serves_while_all_threads_hash_and_further_clients_are_refused_at_once() {
        let (hashing, in_progress) = (Arc::new(Hashing::default()), Arc::new(Notify::new()));
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let all = HASHES_AT_ONCE + HASHES_WAITING_MAX;
        let running: Vec<_> = (0..all)
            .map(|number| {
                let (hashing, in_progress, gate) = (hashing.clone(), in_progress.clone(), gate.clone());
                tokio::spawn(async move {
                    let work = move || {
                        in_progress.notify_one();
                        lock(&gate).recv().unwrap();
                        Ok(())
                    };
                    hashing.run(address(number), work).await.unwrap();
                })
            })
            .collect();
        // This task runs on the only thread of the runtime, which no hash blocks.
        in_progress.notified().await;
        while hashing.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = hashing.run(address(all), || Ok(())).await;
        assert!(matches!(refused, Err(DemoError::TooManyAtOnce(_))));
        (0..all).for_each(|_| release.send(()).unwrap());
        join_all(running).await.into_iter().for_each(|done| done.unwrap());
        hashing.run(address(all), || Ok(())).await.unwrap();
        assert!(hashing.sources.is_empty());
    }

    #[tokio::test]
    async fn one_source_has_a_part_of_the_queue_and_others_get_in() {
        const { assert!(HASHES_OF_SOURCE_MAX * 2 < HASHES_AT_ONCE + HASHES_WAITING_MAX) }
        let hashing = Hashing::default();
        let thread = hashing.threads.clone().acquire_owned().await.unwrap();
        let from = |number| Box::pin(hashing.run(address(number), || Ok(())));
        let mut waiting: Vec<_> = (0..HASHES_OF_SOURCE_MAX).map(|_| from(1)).collect();
        waiting.iter_mut().for_each(|run| assert!(run.now_or_never().is_none()));
        assert!(matches!(from(1).await, Err(DemoError::TooManyAtOnce(_))));
        waiting.push(from(2));
        drop(thread);
        join_all(waiting).await.into_iter().for_each(|done| done.unwrap());
    }

    #[test]
    fn a_passphrase_fits_what_was_kept_of_it_and_no_other_does() {
        let kept = keep("open sesame").unwrap();
        assert!(fits(&kept, "open sesame").unwrap() && !fits(&kept, "open sesam").unwrap());
        assert!(fits("no hash", "open sesame").is_err());
    }
}
