//! One stream of the wake door: `GET /wake` with the credential of one profile, held open and opened again.

use std::future::pending;
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

/// When a profile is read again whose browser has no credential, or one that the service does not accept: it gets a
/// new one when it connects to its push service the next time.
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
        // Before the first reading, so that no credential is missed.
        let mut credentials = profile.browser.credential_watch(&profile.folder);
        let mut retry = Retry::default();
        let mut last = None;
        loop {
            let clock = Clock::start();
            let end = self.follow(&profile, &events, &reports).await;
            // The other end is gone when the program ends, and this task with it.
            events.send(DoorEvent::Lost).await.ok();
            let (wait, problem) = match end {
                End::Connection => return,
                End::Stream => (retry.after(clock.now()), None),
                End::NoCredential => (READ_AGAIN, Some("it has not connected to its push service yet".to_owned())),
                End::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::GONE)) => (
                    READ_AGAIN,
                    Some(format!("the service does not know it ({status}); start its {} once", profile.browser)),
                ),
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
            last = problem;
            tokio::select! {
                () = sleep(wait) => {}
                () = written(&mut credentials) => {}
            }
        }
    }

    async fn follow(
        &self,
        profile: &ProfileName,
        events: &mpsc::Sender<DoorEvent>,
        reports: &mpsc::Sender<Report>,
    ) -> End {
        // Read anew each time: a browser may get another one.
        let credential = match profile.browser.credential(&profile.folder) {
            Ok(Some(credential)) => credential,
            Ok(None) => return End::NoCredential,
            Err(error) => {
                tracing::warn!(%error, "the settings of a profile cannot be read");
                return End::NoCredential;
            }
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
        reports.send(ProfileEvent::Followed.of(profile)).await.ok();
        pass_on(answer.into_body(), events).await;
        End::Stream
    }
}

/// Waits until another credential is there; forever if that is not watched.
async fn written(credentials: &mut Option<FileWatch>) {
    match credentials {
        Some(credentials) => credentials.changed().await,
        None => pending().await,
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
