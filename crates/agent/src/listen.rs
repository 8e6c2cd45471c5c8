//! Listening: pushes come in from the links, go to the app as the [`Inbox`] decides, and are acknowledged.
//!
//! A message is on the disk as handed over before its DELETE is sent; so after a crash it may come again (the service
//! still has it), and is not shown again (UA-8030-6.2-2).

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use url::Url;

use crate::agent::{Agent, Listening};
use crate::app::{App, Event, Outcome};
use crate::clock::Clock;
use crate::doors::http2::acknowledge::{Deleted, acknowledge};
use crate::doors::http2::connection::Connector;
use crate::doors::http2::link::{Link, Report};
use crate::doors::http2::monitor::Arrival;
use crate::error::Error;
use crate::inbox::{Inbox, Verdict, Waiting};
use crate::message::{self, Discarded, Message, Pushed};
use crate::profile::{Profile, Subscription};
use crate::random;

/// Reports that may wait; behind them the links stop reading.
const REPORTS_MAX: usize = 16;

pub(crate) struct Listener<'a, A> {
    profile: &'a mut Profile,
    connector: &'a Connector,
    app: &'a mut A,
    at_once: bool,
    clock: Clock,
    inbox: Inbox<Message>,
    watched: Vec<Watched>,
    reports: mpsc::Receiver<(usize, Report)>,
    acknowledging: JoinSet<(Url, Result<Deleted, Error>)>,
    _links: JoinSet<()>,
}

/// A resource under watch.
struct Watched {
    service: Url,
    resource: Url,
    requests: Option<SendRequest<Bytes>>,
    drained: Option<Drained>,
}

struct Drained {
    pushes: u64,
    again: oneshot::Sender<()>,
}

impl<'a, A: App> Listener<'a, A> {
    /// Starts a link for each set, and for each subscription without one (UA-8030-6.1-1).
    pub(crate) fn new(agent: &'a mut Agent, app: &'a mut A, how: Listening) -> Self {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let mut resources: Vec<Url> = agent.subscriptions().map(|s| s.monitored().clone()).collect();
        resources.sort();
        resources.dedup();
        let mut links = JoinSet::new();
        for (number, resource) in resources.iter().enumerate() {
            let link = Link {
                number,
                connector: agent.connector.clone(),
                resource: resource.clone(),
                at_once: how.at_once,
                floor: how.floor.clone(),
                reports: sender.clone(),
            };
            links.spawn(link.run());
        }
        let reachable = |uri: &&Url| resources.iter().any(|r| r.origin() == uri.origin());
        let inbox = Inbox::new(agent.connector.limits, agent.profile.owed().filter(reachable).cloned());
        let service = &agent.service;
        let watch = |resource| Watched { service: service.clone(), resource, requests: None, drained: None };
        Self {
            watched: resources.into_iter().map(watch).collect(),
            profile: &mut agent.profile,
            connector: &agent.connector,
            app,
            at_once: how.at_once,
            clock: Clock::start(),
            inbox,
            reports,
            acknowledging: JoinSet::new(),
            _links: links,
        }
    }

    pub(crate) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<Outcome, Error> {
        let mut stop = pin!(stop);
        let outcome = loop {
            if let Some(end) = self.step(&mut stop).await.transpose() {
                break end;
            }
        };
        self.finish().await;
        let saved = self.profile.save().await;
        let outcome = outcome?;
        saved?;
        Ok(outcome)
    }

    /// Does what is due, then waits for what comes next.
    async fn step(&mut self, stop: &mut Pin<&mut (impl Future<Output = ()> + Send)>) -> Result<Option<Outcome>, Error> {
        // One reading for all: what becomes due between two of them would be neither due nor waited for.
        let now = self.clock.now();
        self.acknowledge_what_is_due(now);
        if let Some(waiting) = self.inbox.next_message(now) {
            return self.hand_over(waiting, stop).await;
        }
        if self.is_drained() {
            return Ok(Some(Outcome::Drained));
        }
        tokio::select! {
            () = stop.as_mut() => Ok(Some(Outcome::Stopped)),
            Some((number, report)) = self.reports.recv(), if self.inbox.has_room() => self.hear(number, report),
            Some(Ok((uri, deleted))) = self.acknowledging.join_next() => {
                self.acknowledged(&uri, deleted);
                Ok(None)
            }
            () = self.clock.reaches(self.inbox.deadline(now)) => Ok(None),
        }
    }

    async fn hand_over(
        &mut self,
        waiting: Waiting<Message>,
        stop: &mut Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Option<Outcome>, Error> {
        let handled = tokio::select! {
            biased;
            handled = self.app.message(&waiting.message) => handled,
            () = stop.as_mut() => return Ok(Some(Outcome::Stopped)),
        };
        match handled {
            Ok(flow) => {
                self.profile.owe(waiting.uri.clone());
                self.profile.save().await?;
                self.inbox.handed_over(&waiting.uri);
                Ok(matches!(flow, ControlFlow::Break(())).then_some(Outcome::Enough))
            }
            Err(why) => {
                let verdict = self.inbox.failed(waiting, self.clock.now(), random::bits());
                self.app.event(Event::Failed { why: why.to_string(), given_up: verdict == Verdict::GivenUp });
                Ok(None)
            }
        }
    }

    fn hear(&mut self, number: usize, report: Report) -> Result<Option<Outcome>, Error> {
        let Some(watched) = self.watched.get_mut(number) else { return Ok(None) };
        match report {
            Report::Up(requests) => {
                watched.requests = Some(requests);
                self.inbox.connected();
                self.app.event(Event::Connected);
            }
            Report::Drained { pushes, again } => watched.drained = Some(Drained { pushes, again }),
            Report::Down { why, .. } if self.at_once => return Err(why),
            Report::Down { why, wait } => {
                watched.requests = None;
                self.app.event(Event::Disconnected { why, wait });
            }
            Report::Gone => {
                let gone = watched.resource.clone();
                self.profile.subscriptions.retain(|s| *s.monitored() != gone);
                return Ok(Some(Outcome::Gone));
            }
            Report::Arrived(Arrival::Complete(pushed)) => self.take(number, *pushed),
            Report::Arrived(Arrival::TooLong(uri)) => {
                let max = self.connector.limits.body_octets_max;
                self.discard(uri, Discarded::TooLong(max));
            }
            Report::Arrived(Arrival::Unusable(why)) => self.app.event(Event::Refused(why)),
        }
        Ok(None)
    }

    fn take(&mut self, number: usize, pushed: Pushed) {
        if self.inbox.knows(&pushed.uri, self.clock.now()) {
            return;
        }
        let Some(watched) = self.watched.get(number) else { return };
        let here = |s: &&Subscription| s.service == watched.service && *s.monitored() == watched.resource;
        let subscriptions: Vec<&Subscription> = self.profile.subscriptions.iter().filter(here).collect();
        match message::open(&pushed, &subscriptions) {
            Ok(message) => self.inbox.take(pushed.uri, message),
            Err(why) => self.discard(pushed.uri, why),
        }
    }

    /// Acknowledges what nobody can read (WA-13).
    fn discard(&mut self, uri: Url, why: Discarded) {
        self.inbox.discard(uri);
        self.app.event(Event::Discarded(why));
    }

    fn acknowledge_what_is_due(&mut self, now: Duration) {
        let connected = self.watched.iter().any(|w| w.requests.is_some());
        while let Some((uri, outcome)) = connected.then(|| self.inbox.next_acknowledgement(now)).flatten() {
            let same_origin = |w: &&Watched| w.resource.origin() == uri.origin();
            let requests = self.watched.iter().filter(same_origin).find_map(|w| w.requests.clone());
            let limit = self.connector.limits.answer_timeout;
            self.acknowledging.spawn(async move {
                let deleted = match requests {
                    Some(requests) => acknowledge(requests, &uri, outcome, limit).await,
                    None => Ok(Deleted::NotYet),
                };
                (uri, deleted)
            });
        }
    }

    fn acknowledged(&mut self, uri: &Url, deleted: Result<Deleted, Error>) {
        let settled = match deleted {
            Ok(Deleted::Now | Deleted::Before | Deleted::Never) => true,
            Ok(Deleted::NotYet) => false,
            Err(why) => {
                tracing::debug!(%why, "an acknowledgement failed");
                false
            }
        };
        if settled {
            self.profile.settle(uri);
        }
        self.inbox.answered(uri, settled, self.clock.now(), random::bits());
    }

    /// Whether every link has brought what was stored, and all of it is dealt with. A round that brought something is
    /// followed by another: a service may answer before it has pushed everything.
    fn is_drained(&mut self) -> bool {
        if !self.at_once || !self.inbox.is_empty() || self.watched.iter().any(|w| w.drained.is_none()) {
            return false;
        }
        let rounds: Vec<Drained> = self.watched.iter_mut().filter_map(|w| w.drained.take()).collect();
        if rounds.iter().all(|round| round.pushes == 0) {
            return true;
        }
        for round in rounds {
            // A link that is gone reports so by itself.
            let _ = round.again.send(());
        }
        false
    }

    /// Lets the acknowledgements that are due go out, while their connection stands and for a moment at most.
    async fn finish(&mut self) {
        let end: Duration = self.clock.now() + self.connector.limits.leaving_grace;
        loop {
            self.acknowledge_what_is_due(self.clock.now());
            tokio::select! {
                done = self.acknowledging.join_next() => match done {
                    Some(Ok((uri, deleted))) => self.acknowledged(&uri, deleted),
                    Some(Err(_)) => {}
                    None => return,
                },
                () = self.clock.reaches(Some(end)) => return,
            }
        }
    }
}
