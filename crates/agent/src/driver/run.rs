//! One run of the driver: pushes come in from the monitors, go to the app as the [`Inbox`] decides, and are
//! acknowledged.
//!
//! A message is on the disk as handed over before its DELETE is sent: so after a crash it may come again (the
//! service still has it), and is not handed over again (RFC 8030 s6.2).

use std::collections::HashSet;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use url::{Origin, Url};

use crate::agent::Shared;
use crate::app::{App, Event};
use crate::clock::Clock;
use crate::driver::Outcome;
use crate::driver::monitors::{Drained, Monitors};
use crate::driver::removals::Removals;
use crate::error::Error;
use crate::http2::acknowledge::{Deleted, acknowledge};
use crate::http2::held_get::Push;
use crate::http2::monitor::{Monitor, Report, State};
use crate::inbox::{Inbox, Verdict, Waiting};
use crate::message::{self, Discarded, Message, Pushed};
use crate::random;
use crate::task::joined;

/// Reports that may wait; behind them the monitors stop reading.
const REPORTS_MAX: usize = 16;
/// States that may wait; behind them the monitors wait.
const STATES_MAX: usize = 16;

pub(super) struct Run<'a, A> {
    shared: &'a Shared,
    changes: &'a mut watch::Receiver<()>,
    urgency: watch::Receiver<Option<Urgency>>,
    app: A,
    drain: bool,
    clock: Clock,
    inbox: Inbox<Message>,
    monitors: Monitors,
    removals: Removals,
    report: mpsc::Sender<(u64, Report)>,
    reports: mpsc::Receiver<(u64, Report)>,
    state: mpsc::Sender<(u64, State)>,
    states: mpsc::Receiver<(u64, State)>,
    acknowledging: JoinSet<(Url, Result<Deleted, Error>)>,
}

impl<'a, A: App> Run<'a, A> {
    pub(super) fn new(
        shared: &'a Shared,
        changes: &'a mut watch::Receiver<()>,
        urgency: watch::Receiver<Option<Urgency>>,
        app: A,
        drain: bool,
    ) -> Self {
        let (report, reports) = mpsc::channel(REPORTS_MAX);
        let (state, states) = mpsc::channel(STATES_MAX);
        // The first step looks into the profile.
        changes.mark_changed();
        Self {
            shared,
            changes,
            urgency,
            app,
            drain,
            clock: Clock::start(),
            inbox: Inbox::new(shared.connector.limits, []),
            monitors: Monitors::default(),
            removals: Removals::new(shared.connector.clone(), !drain),
            report,
            reports,
            state,
            states,
            acknowledging: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<Outcome, Error> {
        let mut stop = pin!(stop);
        let outcome = loop {
            if let Some(end) = self.step(&mut stop).await.transpose() {
                break end;
            }
        };
        self.finish().await;
        let saved = self.shared.profile.save().await;
        let outcome = outcome?;
        saved?;
        Ok(outcome)
    }

    /// Does what is due, then waits for what comes next.
    async fn step(&mut self, stop: &mut Pin<&mut (impl Future<Output = ()> + Send)>) -> Result<Option<Outcome>, Error> {
        if self.changes.has_changed().expect("the driver holds the sender of changes") {
            self.follow_profile();
        }
        // One reading for all: what becomes due between two of them would be neither due nor waited for.
        let now = self.clock.now();
        self.remove_what_is_due(now);
        self.acknowledge_what_is_due(now);
        if let Some(waiting) = self.inbox.next_message(now) {
            return self.hand_over(waiting, stop).await;
        }
        if self.is_drained() {
            return Ok(Some(Outcome::Drained));
        }
        let is_idle = self.monitors.is_empty() && !self.inbox.has_messages() && !self.removals.is_running();
        let deadline = self.inbox.deadline(now).into_iter().chain(self.removals.deadline()).min();
        tokio::select! {
            () = stop.as_mut() => Ok(Some(Outcome::Stopped)),
            Some((number, report)) = self.reports.recv(), if self.inbox.has_room() => self.on_report(number, report).await,
            Some((number, state)) = self.states.recv() => self.on_state(number, state),
            Some(task) = self.acknowledging.join_next() => {
                self.on_acknowledged(joined(task));
                Ok(None)
            }
            removed = self.removals.ended() => {
                for uri in self.removals.on_ended(removed, self.clock.now()) {
                    self.shared.profile.contents().settle(&uri);
                }
                Ok(None)
            }
            () = self.monitors.ended() => Ok(None),
            _ = self.changes.changed() => {
                self.follow_profile();
                Ok(None)
            }
            () = no_handle_left(&mut self.urgency), if is_idle => Err(Error::NotSubscribed),
            () = self.clock.reaches(deadline) => Ok(None),
        }
    }

    /// Takes over what the handles changed in the profile: monitors what is subscribed, forgets the messages of what
    /// was left, and owes the deletions that a call could not send.
    fn follow_profile(&mut self) {
        self.changes.mark_unchanged();
        let subscriptions = self.shared.subscriptions();
        let wanted = subscriptions.iter().map(|s| s.monitored().clone()).collect();
        self.monitors.set(wanted, |number, resource| Monitor {
            number,
            connector: self.shared.connector.clone(),
            resource,
            drain: self.drain,
            urgency: self.urgency.clone(),
            reports: self.report.clone(),
            states: self.state.clone(),
        });

        {
            let contents = self.shared.profile.contents();
            self.inbox.forget(|message| contents.is_left(&message.endpoint));
            for uri in contents.owed_by_driver().filter(|uri| self.monitors.cover(uri)) {
                self.inbox.owe(uri.clone());
            }
        }
        self.release_unmonitored();
    }

    /// Leaves to the removals what is owed at origins without a monitor, whose connection would carry it.
    fn release_unmonitored(&mut self) {
        let monitored: HashSet<Origin> = self.monitors.resources().map(Url::origin).collect();
        self.inbox.release(|uri| !monitored.contains(&uri.origin()));
        self.removals.want();
    }

    /// Deletes what the profile owes at origins without a monitor. An origin where another service's subscriptions are
    /// is left to the agent of that service: it may be unreachable from here.
    fn remove_what_is_due(&mut self, now: Duration) {
        if !self.removals.is_due(now) {
            return;
        }
        let contents = self.shared.profile.contents();
        let of_others: HashSet<Origin> = contents
            .subscriptions()
            .iter()
            .filter(|subscription| subscription.service != self.shared.service)
            .map(|subscription| subscription.resource.origin())
            .collect();
        let is_ours = |uri: &&Url| !self.monitors.cover(uri) && !of_others.contains(&uri.origin());
        let owed = contents.owed_by_driver().filter(is_ours).cloned().collect();
        self.removals.start(owed);
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
        let uri = waiting.uri.clone();
        let end = match handled {
            Ok(flow) => {
                self.shared.profile.contents().owe(waiting.uri.clone());
                self.shared.profile.save().await?;
                self.inbox.handed_over(&waiting.uri);
                matches!(flow, ControlFlow::Break(())).then_some(Outcome::Enough)
            }
            Err(why) => {
                let verdict = self.inbox.failed(waiting, self.clock.now(), random::bits());
                self.app.event(Event::Failed { why: why.to_string(), given_up: verdict == Verdict::GivenUp });
                None
            }
        };
        // The subscription may have ended before the app had the message.
        if !self.monitors.cover(&uri) {
            self.release_unmonitored();
        }
        Ok(end)
    }

    fn on_state(&mut self, number: u64, state: State) -> Result<Option<Outcome>, Error> {
        // A monitor that was stopped after it sent this.
        let Some(monitored) = self.monitors.get_mut(number) else { return Ok(None) };
        match state {
            State::Connected(requests) => {
                monitored.requests = Some(requests);
                self.inbox.connected();
            }
            State::Receiving => {
                monitored.is_receiving = true;
                self.app.event(Event::Connected);
            }
            State::WithoutPushes => self.app.event(Event::WithoutPushes),
            State::Disconnected { why, .. } if self.drain => return Err(why),
            State::Disconnected { why, wait } => {
                (monitored.requests, monitored.is_receiving) = (None, false);
                self.app.event(Event::Disconnected { why, wait });
            }
        }
        Ok(None)
    }

    async fn on_report(&mut self, number: u64, report: Report) -> Result<Option<Outcome>, Error> {
        // A monitor that was stopped after it sent this: its subscriptions were left, and their messages with them.
        let Some(monitored) = self.monitors.get_mut(number) else { return Ok(None) };
        match report {
            Report::Drained { pushes, again } => monitored.drained = Some(Drained { pushes, again }),
            Report::Gone => {
                let resource = monitored.resource.clone();
                return self.on_gone(&resource).await;
            }
            Report::Push(Push::Complete(pushed)) => {
                let resource = monitored.resource.clone();
                self.on_push(&resource, *pushed);
            }
            Report::Push(Push::TooLong(pushed)) => {
                if !self.inbox.knows(&pushed.uri, self.clock.now()) && !self.is_for_left(&pushed) {
                    self.discard(pushed.uri, Discarded::TooLong(self.shared.connector.limits.body_bytes_max));
                }
            }
            Report::Push(Push::Unusable(why)) => self.app.event(Event::Refused(why)),
        }
        Ok(None)
    }

    async fn on_gone(&mut self, resource: &Url) -> Result<Option<Outcome>, Error> {
        let ended = self.shared.profile.contents().end(resource);
        // What came before the end is still handed over: only what the program left is forgotten.
        self.follow_profile();
        // The program may have left all of them at the same moment.
        if ended.is_empty() {
            return Ok(None);
        }
        if self.app.ended(&ended).is_break() {
            // The new subscription takes the old one's place in the file.
            return Ok(Some(Outcome::Gone));
        }
        self.shared.profile.contents().forget_ended(&self.shared.service);
        self.shared.profile.save().await?;
        Ok(None)
    }

    fn on_push(&mut self, resource: &Url, pushed: Pushed) {
        if self.inbox.knows(&pushed.uri, self.clock.now()) {
            return;
        }
        let mut subscriptions = self.shared.subscriptions();
        subscriptions.retain(|subscription| subscription.monitored() == resource);
        if self.is_for_left(&pushed) {
            return;
        }
        match message::open(&pushed, &subscriptions) {
            Ok(message) => self.inbox.take(pushed.uri, message),
            Err(why) => self.discard(pushed.uri, why),
        }
    }

    /// Whether a push names only subscriptions that were left. It is dropped, and nothing is owed for it: the DELETE of
    /// the subscription settles it, and a sender that waits for a receipt gets the right one.
    fn is_for_left(&self, pushed: &Pushed) -> bool {
        let endpoints = pushed.endpoints();
        let contents = self.shared.profile.contents();
        !endpoints.is_empty() && endpoints.iter().all(|endpoint| contents.is_left(endpoint))
    }

    /// Acknowledges what cannot be opened: it would come again forever.
    fn discard(&mut self, uri: Url, why: Discarded) {
        self.inbox.discard(uri, why.outcome());
        self.app.event(Event::Discarded(why));
    }

    fn acknowledge_what_is_due(&mut self, now: Duration) {
        if !self.monitors.are_connected() {
            return;
        }
        while let Some((uri, outcome)) = self.inbox.next_acknowledgement(now) {
            let requests = self.monitors.requests_to(&uri);
            let limit = self.shared.connector.limits.answer_timeout;
            self.acknowledging.spawn(async move {
                let deleted = match requests {
                    Some(requests) => acknowledge(requests, &uri, outcome, limit).await,
                    None => Ok(Deleted::NotYet),
                };
                (uri, deleted)
            });
        }
    }

    fn on_acknowledged(&mut self, acknowledged: Option<(Url, Result<Deleted, Error>)>) {
        // Only the end of the runtime aborts an acknowledgement; the next run sends it again.
        let Some((uri, deleted)) = acknowledged else { return };
        let settled = match deleted {
            Ok(Deleted::Now | Deleted::Before | Deleted::Never) => true,
            Ok(Deleted::NotYet) => false,
            // While the GET fails too, a proxy answers in the service's place.
            Ok(Deleted::Doubtful) => self.monitors.receive_from(&uri) && self.inbox.doubted(&uri),
            Err(why) => {
                tracing::debug!(%why, "an acknowledgement failed");
                false
            }
        };
        if settled {
            self.shared.profile.contents().settle(&uri);
        }
        self.inbox.answered(&uri, settled, self.clock.now(), random::bits());
        if !settled && !self.monitors.cover(&uri) {
            self.release_unmonitored();
        }
    }

    /// Whether every monitor has received what was stored, and all of it is handled. A round that brought something
    /// is followed by another: a service may answer before it has pushed everything. What is owed at an origin without
    /// a monitor is tried; if that fails it is left to the next run.
    fn is_drained(&mut self) -> bool {
        if !self.drain || !self.inbox.is_empty() || self.removals.is_running() {
            return false;
        }
        let Some(rounds) = self.monitors.take_drained() else { return false };
        if rounds.iter().all(|round| round.pushes == 0) {
            return true;
        }
        for round in rounds {
            // A monitor that has ended reports so by itself.
            let _ = round.again.send(());
        }
        false
    }

    /// Sends the acknowledgements that are due, while their connection stands and for a moment at most.
    async fn finish(&mut self) {
        let end = self.clock.now() + self.shared.connector.limits.leaving_grace;
        loop {
            self.acknowledge_what_is_due(self.clock.now());
            tokio::select! {
                acknowledged = self.acknowledging.join_next() => match acknowledged {
                    Some(task) => self.on_acknowledged(joined(task)),
                    None => return,
                },
                () = self.clock.reaches(Some(end)) => return,
            }
        }
    }
}

/// Returns when the last handle is dropped: the handles hold the sender.
async fn no_handle_left(urgency: &mut watch::Receiver<Option<Urgency>>) {
    while urgency.changed().await.is_ok() {}
}
