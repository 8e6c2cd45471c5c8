//! One stream of the wake door: `GET /wake` with the credential of one profile, held open and opened again.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use doorbell_protocol::problem;
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::connection::Connector;
use super::events::Parser;
use super::{DoorEvent, Follower, Retry};
use crate::browser::ProfileName;
use crate::clock::Clock;
use crate::file_watch::FileWatch;
use crate::report::{ProfileEvent, Report};

/// How long after its file was written a credential is read again: a browser may write some files one after the other.
const SETTLE: Duration = Duration::from_millis(500);
/// A service without a subscription of a profile is asked no more often than this while its browser runs.
const WRITES: Duration = Duration::from_secs(5);
/// When a credential is read again if its file cannot be watched.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// The type of an answer that is a stream of events.
const EVENT_STREAM: &str = "text/event-stream";
/// An error of the service takes some hundred bytes.
const EXPLANATION_BYTES_MAX: usize = 16 * 1024;
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(10);
/// When a service is asked again that has no wake door, or no subscription of the profile: that may have changed.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// Sends the requests of one profile on one connection.
pub(super) struct Stream {
    url: String,
    requests: SendRequest<Bytes>,
    /// Messages below it are not reported.
    floor: Urgency,
}

/// Why a stream has ended.
enum End {
    /// The connection takes no more requests.
    Connection,
    /// The profile has no credential.
    NoCredential,
    /// The file with the credential cannot be read.
    Unreadable(io::Error),
    /// It was answered with something else than events, as a captive portal does.
    NoEvents,
    /// The service has answered with this status, in its own form.
    Status(StatusCode),
    /// A proxy has answered with this status, most likely because the service is away: it decides nothing.
    Stranger(StatusCode),
    /// The stream ended, in order or not.
    Stream,
    /// The profile has another credential.
    Renewed,
}

impl Stream {
    /// On the connection of `requests`.
    pub(super) fn new(connector: &Connector, requests: SendRequest<Bytes>, floor: Urgency) -> Self {
        Self { url: connector.resource("wake").to_string(), requests, floor }
    }

    /// Follows the door for a profile, until the connection takes no more requests.
    pub(super) async fn hold(self, follower: Follower, reports: mpsc::Sender<Report>) {
        let profile = &follower.profile;
        // What an earlier stream reported may have been below the floor of this one.
        follower.send(DoorEvent::Connected);
        let mut retry = Retry::default();
        let mut last = None;
        loop {
            let clock = Clock::start();
            // A credential that is written from now on is not missed.
            let mut watch = FileWatch::of(profile.browser.credential_file(&profile.folder)).ok();
            let end = self.follow(&follower, &mut watch, &reports).await;
            if matches!(end, End::Connection | End::Stream | End::Renewed) {
                follower.send(DoorEvent::Lost);
            }
            let (mut least, mut settings) = (Duration::ZERO, None);
            let (wait, problem) = match end {
                End::Connection => return,
                End::Renewed => continue,
                End::Stream => (retry.after(clock.now()), None),
                // The browser writes it into its profile.
                End::NoCredential => (ASK_AGAIN, Some("it has not connected to its push service yet".to_owned())),
                End::Unreadable(error) => {
                    let file = profile.browser.credential_file(&profile.folder);
                    let why = format!("cannot read {} ({error}); it must belong to you", file.display());
                    (ASK_AGAIN, Some(why))
                }
                End::Status(status @ StatusCode::UNAUTHORIZED) => (
                    ASK_AGAIN,
                    Some(format!("the service does not know it ({status}); start its {} once", profile.browser)),
                ),
                End::Status(status @ StatusCode::GONE) => {
                    let why = format!("the service has no subscription of it ({status}); subscribe at a site first");
                    // A browser that runs writes this file, and often. At rest the service is not asked.
                    least = WRITES;
                    settings = FileWatch::of(profile.folder.join(profile.browser.settings_file())).ok();
                    (ASK_AGAIN, Some(why))
                }
                End::NoEvents => {
                    (retry.after(clock.now()), Some("what answers at this address has no wake door".to_owned()))
                }
                End::Stranger(status) => {
                    let why = format!("{status}, which is not the service's own answer: is it away? It is asked again");
                    (retry.after(clock.now()), Some(why))
                }
                End::Status(StatusCode::NOT_FOUND) => {
                    (ASK_AGAIN, Some("the service has no wake door (404)".to_owned()))
                }
                End::Status(status) => {
                    (retry.after(clock.now()).max(READ_AGAIN), Some(format!("the service answers {status}")))
                }
            };
            if let Some(why) = problem.clone().filter(|_| problem != last) {
                reports.send(ProfileEvent::NotFollowed(why).of(profile)).await.ok();
            }
            let may_be_written = problem.is_some();
            last = problem;
            if !may_be_written {
                sleep(wait).await;
                continue;
            }
            let rest = async {
                sleep(least).await;
                tokio::select! {
                    () = rest(wait, watch) => {}
                    Ok(()) = written(&mut settings) => sleep(SETTLE).await,
                }
            };
            tokio::select! {
                () = rest => {}
                () = follower.credential.notified() => {}
            }
        }
    }

    async fn follow(&self, follower: &Follower, watch: &mut Option<FileWatch>, reports: &mpsc::Sender<Report>) -> End {
        let profile = &follower.profile;
        // Read anew each time: a browser may get another one.
        let read = match profile.browser.credential(&profile.folder) {
            Ok(Some(credential)) => credential,
            Ok(None) => return End::NoCredential,
            Err(error) => return End::Unreadable(error),
        };
        let mut credential =
            HeaderValue::try_from(format!("Bearer {read}")).expect("a credential is letters and digits");
        credential.set_sensitive(true);
        let request = Request::get(&self.url).header(AUTHORIZATION, credential).header(ACCEPT, EVENT_STREAM);
        let request = request.header(URGENCY, self.floor.as_str());
        let request = request.body(()).expect("the URL of a service is a valid target");
        let Ok(mut requests) = self.requests.clone().ready().await else { return End::Connection };
        let Ok((answer, _)) = requests.send_request(request, true) else { return End::Connection };
        let Ok(answer) = answer.await else { return End::Stream };
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = timeout(EXPLANATION_TIMEOUT, explanation(answer.into_body())).await.unwrap_or_default();
            let is_own = problem::errno_in(status, &body).is_some();
            return if is_own { End::Status(status) } else { End::Stranger(status) };
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with(EVENT_STREAM) {
            return End::NoEvents;
        }
        follower.send(DoorEvent::Followed);
        reports.send(ProfileEvent::Followed.of(profile)).await.ok();
        tokio::select! {
            () = pass_on(answer.into_body(), follower) => End::Stream,
            () = another_credential(follower, watch, &read) => End::Renewed,
        }
    }
}

/// The body of an error answer, as far as it is read.
async fn explanation(mut body: RecvStream) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        read.extend_from_slice(&piece);
        if read.len() > EXPLANATION_BYTES_MAX || body.flow_control().release_capacity(piece.len()).is_err() {
            break;
        }
    }
    read
}

/// Waits until the profile has another credential than `known`, or none.
async fn another_credential(follower: &Follower, watch: &mut Option<FileWatch>, known: &str) {
    let ProfileName { browser, folder } = &follower.profile;
    loop {
        tokio::select! {
            () = follower.credential.notified() => {}
            written = written(watch) => match written {
                Ok(()) => sleep(SETTLE).await,
                Err(_) => *watch = None,
            },
        }
        // One that cannot be read now is likely to be the same.
        if browser.credential(folder).is_ok_and(|read| read.as_deref() != Some(known)) {
            return;
        }
    }
}

/// Waits until the file is written; forever if it is not watched.
async fn written(watch: &mut Option<FileWatch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// Waits for `wait`, or until the file is written.
async fn rest(wait: Duration, watch: Option<FileWatch>) {
    let Some(mut watch) = watch else { return sleep(wait.min(READ_AGAIN)).await };
    tokio::select! {
        () = sleep(wait) => {}
        written = watch.changed() => match written {
            Ok(()) => sleep(SETTLE).await,
            Err(_) => sleep(READ_AGAIN).await,
        },
    }
}

/// Passes events on until the stream ends.
async fn pass_on(mut body: RecvStream, follower: &Follower) {
    let mut parser = Parser::default();
    while let Some(Ok(piece)) = body.data().await {
        if body.flow_control().release_capacity(piece.len()).is_err() {
            return;
        }
        let Ok(read) = parser.feed(&piece) else {
            tracing::warn!("the service sends something else than events of its wake door");
            return;
        };
        for event in read {
            follower.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;
    use crate::browser::Browser;

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn another_credential_is_read_while_a_stream_is_open_and_the_same_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = Browser::Chromium.credential_file(folder.path());
        let credential = Arc::new(Notify::new());
        let name = ProfileName { browser: Browser::Chromium, folder: folder.path().to_owned() };
        let (follower, _events) = Follower::of(name, Arc::clone(&credential));

        // Its profile is begun anew: the folder that was watched is another one.
        fs::write(&file, "old").unwrap();
        let mut unwatched = None;
        let another = another_credential(&follower, &mut unwatched, "old");
        tokio::pin!(another);
        credential.notify_one();
        timeout(SETTLE, &mut another).await.expect_err("it is the same");
        fs::remove_file(&file).unwrap();
        credential.notify_one();
        timeout(PATIENCE, another).await.expect("there is none any more");

        // It changes in place.
        fs::write(&file, "old").unwrap();
        let mut watch = FileWatch::of(file.clone()).ok();
        let another = another_credential(&follower, &mut watch, "old");
        tokio::pin!(another);
        fs::write(&file, "old").unwrap();
        timeout(SETTLE * 2, &mut another).await.expect_err("it is the same");
        fs::write(&file, "new").unwrap();
        timeout(PATIENCE, another).await.expect("it is another one");
    }
}
