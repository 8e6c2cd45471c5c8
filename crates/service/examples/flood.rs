//! How a flood at one subscription affects another of the same agent: the time from POST to push, with and without.
//!
//! `cargo run --release -p doorbell-service --example flood`

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use doorbell_service::Clock;
use doorbell_service::config::Settings;
use http::StatusCode;
use support::{Subscription, TestService};

/// Messages that are timed in each half.
const TIMED: usize = 500;
/// Application servers that flood, each as fast as it gets answers.
const FLOODERS: usize = 16;

#[tokio::main]
async fn main() {
    let service = Arc::new(TestService::with_clock(Settings::default(), Clock::system()).await);
    let flooded = service.subscribe().await;
    let quiet = service.join(&flooded).await;
    println!("POST to push, milliseconds, {TIMED} messages to the quiet subscription of an agent, one after the other");
    print("no flood", &mut measure(&service, &quiet).await);

    let flood = Flood::start(&service, &flooded);
    print("flood", &mut measure(&service, &quiet).await);
    let (accepted, refused) = flood.stop().await;
    println!(
        "meanwhile {FLOODERS} senders flooded the other subscription: {accepted} accepted, {refused} answered 429"
    );
}

/// Times each message to `to` while its agent acknowledges everything that comes.
async fn measure(service: &Arc<TestService>, to: &Subscription) -> Vec<Duration> {
    let mut agent = service.agent().await;
    let mut stream = agent.monitor(&to.set, &[]).await;
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let receiving = tokio::spawn(async move {
        while let Some(push) = stream.next().await {
            // The reader of the channel is gone when the measurement is over.
            let _ = arrived.send(support::path(&push.uri));
            let acknowledged = agent.delete(&push.uri).await;
            assert!(matches!(acknowledged, StatusCode::NO_CONTENT | StatusCode::TOO_MANY_REQUESTS), "{acknowledged}");
        }
    });
    let mut times = Vec::new();
    let mut posts = service.agent().await;
    for _ in 0..TIMED {
        let begun = now();
        let message = loop {
            if let Some(message) = posts.post(&to.push).await {
                break support::path(&message);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        while support::within(arrivals.recv()).await.unwrap() != message {}
        times.push(begun.elapsed());
    }
    receiving.abort();
    times
}

#[allow(clippy::disallowed_methods, reason = "a measurement of time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{what:>9}: p50 {:6.2}  p90 {:6.2}  p99 {:6.2}  max {:6.2}", at(50), at(90), at(99), at(100));
}

/// Senders that ignore the answers.
struct Flood {
    on: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    accepted: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

impl Flood {
    fn start(service: &Arc<TestService>, to: &Subscription) -> Self {
        let (on, accepted, refused) = (Arc::new(AtomicBool::new(true)), Arc::default(), Arc::default());
        let sender = |_| {
            let (service, to, on) = (service.clone(), to.clone(), on.clone());
            let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut posts = service.agent().await;
                while on.load(Ordering::Relaxed) {
                    let count: &AtomicU32 = if posts.post(&to.push).await.is_some() { &accepted } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let senders = (0..FLOODERS).map(sender).collect();
        Self { on, senders, accepted, refused }
    }

    async fn stop(self) -> (u32, u32) {
        self.on.store(false, Ordering::Relaxed);
        for sender in self.senders {
            sender.await.unwrap();
        }
        (self.accepted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}
