//! One stream of the wake door: `GET /wake` with the credential of one profile, held open and opened again.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Connector;
use super::events::Parser;
use super::{DoorEvent, Follower, Retry};
use crate::browser::ProfileName;
use crate::clock::Clock;
use crate::file_watch::FileWatch;
use crate::report::{ProfileEvent, Report};

/// How long after its file was written a credential is read again: a browser may write some files one after the other.
const SETTLE: Duration = Duration::from_millis(500);
/// When a credential is read again if its file cannot be watched.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// When a service is asked again that has no wake door: it may have been updated.
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
    /// The service has answered with this status.
    Status(StatusCode),
    /// The stream ended, in order or not.
    Stream,
}

impl Stream {
    /// On the connection of `requests`.
    pub(super) fn new(connector: &Connector, requests: SendRequest<Bytes>, floor: Urgency) -> Self {
        Self { url: connector.resource("wake").to_string(), requests, floor }
    }

    /// Follows the door for a profile, until the connection takes no more requests.
    pub(super) async fn hold(self, follower: Follower, reports: mpsc::Sender<Report>) {
        let Follower { profile, events } = follower;
        // What an earlier stream reported may have been below the floor of this one.
        events.send(DoorEvent::Lost).await.ok();
        let mut retry = Retry::default();
        let mut last = None;
        loop {
            let clock = Clock::start();
            // A credential that is written from now on is not missed.
            let mut watch = FileWatch::of(profile.browser.credential_file(&profile.folder)).ok();
            let end = self.follow(&profile, &mut watch, &events, &reports).await;
            // The other end is gone when the program ends, and this task with it.
            events.send(DoorEvent::Lost).await.ok();
            let (wait, problem) = match end {
                End::Connection => return,
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
                    (retry.after(clock.now()).max(READ_AGAIN), Some(why))
                }
                End::Status(StatusCode::NOT_FOUND) => {
                    (ASK_AGAIN, Some("the service has no wake door (404)".to_owned()))
                }
                End::Status(status) => {
                    (retry.after(clock.now()).max(READ_AGAIN), Some(format!("the service answers {status}")))
                }
            };
            if let Some(why) = problem.clone().filter(|_| problem != last) {
                reports.send(ProfileEvent::NotFollowed(why).of(&profile)).await.ok();
            }
            let may_be_written = problem.is_some();
            last = problem;
            if may_be_written {
                rest(wait, watch).await;
            } else {
                sleep(wait).await;
            }
        }
    }

    async fn follow(
        &self,
        profile: &ProfileName,
        watch: &mut Option<FileWatch>,
        events: &mpsc::Sender<DoorEvent>,
        reports: &mpsc::Sender<Report>,
    ) -> End {
        // Read anew each time: a browser may get another one.
        let credential = match profile.browser.credential(&profile.folder) {
            Ok(Some(credential)) => credential,
            Ok(None) => return End::NoCredential,
            Err(error) => return End::Unreadable(error),
        };
        let mut credential =
            HeaderValue::try_from(format!("Bearer {credential}")).expect("a credential is letters and digits");
        credential.set_sensitive(true);
        let request = Request::get(&self.url).header(AUTHORIZATION, credential).header(ACCEPT, "text/event-stream");
        let request = request.header(URGENCY, self.floor.as_str());
        let request = request.body(()).expect("the URL of a service is a valid target");
        let Ok(mut requests) = self.requests.clone().ready().await else { return End::Connection };
        let Ok((answer, _)) = requests.send_request(request, true) else { return End::Connection };
        let Ok(answer) = answer.await else { return End::Stream };
        if answer.status() != StatusCode::OK {
            return End::Status(answer.status());
        }
        *watch = None;
        reports.send(ProfileEvent::Followed.of(profile)).await.ok();
        pass_on(answer.into_body(), events).await;
        End::Stream
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
async fn pass_on(mut body: RecvStream, events: &mpsc::Sender<DoorEvent>) {
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
            events.send(event).await.ok();
        }
    }
}
