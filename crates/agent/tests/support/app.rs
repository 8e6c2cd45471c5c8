//! An app that records what it gets, and an agent that runs for it.

use std::ops::{ControlFlow, Deref};

use doorbell_agent::{Agent, App, Driver, Error, Event, Message, Outcome, Profile, Url};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::service::Service;
use super::{quick, soon};

/// How the app takes messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes all of them.
    Takes,
    /// Takes all of them, and goes on when the service ends subscriptions.
    GoesOn,
    /// Has enough after this many.
    TakesOnly(usize),
    /// Fails this many times, then takes them.
    FailsFirst(usize),
    /// Never returns.
    Hangs,
}

struct Recorder {
    manner: Manner,
    attempts: usize,
    messages: mpsc::UnboundedSender<Message>,
    events: mpsc::UnboundedSender<Event>,
    ended: mpsc::UnboundedSender<Vec<Url>>,
}

impl App for Recorder {
    type Failure = &'static str;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, &'static str> {
        self.attempts += 1;
        let _ = self.messages.send(message.clone());
        match self.manner {
            Manner::Takes | Manner::GoesOn => Ok(ControlFlow::Continue(())),
            Manner::TakesOnly(n) if self.attempts < n => Ok(ControlFlow::Continue(())),
            Manner::TakesOnly(_) => Ok(ControlFlow::Break(())),
            Manner::FailsFirst(n) if self.attempts <= n => Err("the app is out of order"),
            Manner::FailsFirst(_) => Ok(ControlFlow::Continue(())),
            Manner::Hangs => std::future::pending().await,
        }
    }

    fn event(&mut self, event: Event) {
        let _ = self.events.send(event);
    }

    fn ended(&mut self, endpoints: &[Url]) -> ControlFlow<()> {
        let _ = self.ended.send(endpoints.to_vec());
        if self.manner == Manner::GoesOn { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// An agent that does not run now. It can be used as its handle.
pub(crate) struct Idle {
    pub(crate) agent: Agent,
    pub(crate) driver: Driver,
}

impl Deref for Idle {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

/// A running agent.
pub(crate) struct Running {
    /// `None` if every handle is dropped.
    agent: Option<Agent>,
    task: JoinHandle<(Driver, Result<Outcome, Error>)>,
    stop: Option<oneshot::Sender<()>>,
    messages: mpsc::UnboundedReceiver<Message>,
    events: mpsc::UnboundedReceiver<Event>,
    ended: mpsc::UnboundedReceiver<Vec<Url>>,
}

impl Running {
    /// Lets `agent` receive.
    pub(crate) fn start(agent: Idle, manner: Manner) -> Self {
        Self::spawn(Some(agent.agent), agent.driver, manner, false)
    }

    /// Lets `agent` fetch what is stored.
    pub(crate) fn drain(agent: Idle, manner: Manner) -> Self {
        Self::spawn(Some(agent.agent), agent.driver, manner, true)
    }

    /// Lets a driver receive whose handles are dropped.
    pub(crate) fn start_without_handle(driver: Driver, manner: Manner) -> Self {
        Self::spawn(None, driver, manner, false)
    }

    fn spawn(agent: Option<Agent>, mut driver: Driver, manner: Manner, drain: bool) -> Self {
        let (message_sender, messages) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let (ended_sender, ended) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let app = Recorder { manner, attempts: 0, messages: message_sender, events: event_sender, ended: ended_sender };
        let task = tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            let outcome = if drain { driver.drain(app, stop).await } else { driver.run(app, stop).await };
            (driver, outcome)
        });
        Self { agent, task, stop: Some(stop), messages, events, ended }
    }

    /// A handle of the agent that runs.
    pub(crate) fn agent(&self) -> Agent {
        self.agent.clone().expect("the handle was dropped")
    }

    /// The next message that the app got.
    pub(crate) async fn message(&mut self) -> Message {
        soon("a message", self.messages.recv()).await.expect("the agent has ended")
    }

    /// The text of the next message.
    pub(crate) async fn text(&mut self) -> String {
        let data = self.message().await.data.expect("a message with data");
        String::from_utf8(data.to_vec()).unwrap()
    }

    /// The texts of the next `n` messages, sorted.
    pub(crate) async fn texts(&mut self, n: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..n {
            texts.push(self.text().await);
        }
        texts.sort();
        texts
    }

    /// Whether the app got nothing that the test has not taken.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.messages.try_recv().is_err()
    }

    /// The next event that `wanted` makes something of.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the agent has ended")) {
                    return found;
                }
            }
        };
        soon("an event", search).await
    }

    /// Whether no event so far, of those that the test has not taken, is `unwanted`.
    pub(crate) fn is_without(&mut self, unwanted: impl Fn(&Event) -> bool) -> bool {
        std::iter::from_fn(|| self.events.try_recv().ok()).all(|event| !unwanted(&event))
    }

    /// The next endpoints that the service ended.
    pub(crate) async fn ended(&mut self) -> Vec<Url> {
        soon("an end", self.ended.recv()).await.expect("the agent has ended")
    }

    /// Ends it as a user does.
    pub(crate) async fn stop(mut self) -> (Idle, Outcome) {
        self.stop.take();
        let (agent, outcome) = self.end().await;
        (agent, outcome.unwrap())
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> (Idle, Result<Outcome, Error>) {
        let agent = self.agent();
        let (driver, outcome) = soon("the end", &mut self.task).await.unwrap();
        (Idle { agent, driver }, outcome)
    }

    /// Waits for the outcome of a run without a handle.
    pub(crate) async fn outcome(&mut self) -> Result<Outcome, Error> {
        soon("the end", &mut self.task).await.unwrap().1
    }

    /// Ends it as a power cut does: nothing is written or sent any more.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Drains more messages than may be pushed at once: all of them arrive in order, and the agent ends with an empty store.
pub(crate) async fn drain_many(service: &Service) {
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let expected: Vec<String> = (0..250).map(|n| format!("{n:03}")).collect();
    for text in &expected {
        service.send(&subscription, text);
    }
    let mut running = Running::drain(agent, Manner::Takes);
    let mut got = running.texts(expected.len()).await;
    got.dedup();
    assert_eq!(got, expected);
    assert_eq!(running.end().await.1.unwrap(), Outcome::Drained);
    assert!(running.is_quiet());
    service.until("the store to be empty", |s| s.stored() == 0).await;
}
