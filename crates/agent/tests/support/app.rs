//! An app that writes down what it gets, and an agent that runs for it.

use std::ops::ControlFlow;

use doorbell_agent::{Agent, App, Error, Event, Listening, Message, Outcome};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::soon;

/// How the app takes messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// All of them, at once.
    Takes,
    /// Has enough after this many.
    TakesOnly(usize),
    /// Fails this many times, then takes them.
    FailsFirst(usize),
    /// Never comes to an end.
    Hangs,
}

struct Recorder {
    manner: Manner,
    attempts: usize,
    messages: mpsc::UnboundedSender<Message>,
    events: mpsc::UnboundedSender<Event>,
}

impl App for Recorder {
    type Failure = &'static str;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, &'static str> {
        self.attempts += 1;
        let _ = self.messages.send(message.clone());
        match self.manner {
            Manner::Takes => Ok(ControlFlow::Continue(())),
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
}

/// A running agent.
pub(crate) struct Running {
    task: JoinHandle<(Agent, Result<Outcome, Error>)>,
    stop: Option<oneshot::Sender<()>>,
    messages: mpsc::UnboundedReceiver<Message>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Running {
    /// Lets `agent` listen for every message.
    pub(crate) fn start(agent: Agent, manner: Manner) -> Self {
        Self::start_with(agent, manner, Listening::from(None))
    }

    pub(crate) fn start_with(mut agent: Agent, manner: Manner, how: Listening) -> Self {
        let (message_sender, messages) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut app = Recorder { manner, attempts: 0, messages: message_sender, events: event_sender };
        let task = tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            let outcome = agent.listen(&mut app, how, stop).await;
            (agent, outcome)
        });
        Self { task, stop: Some(stop), messages, events }
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

    /// Whether the app got nothing that it has not told of.
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

    /// Ends it as a user does.
    pub(crate) async fn stop(mut self) -> (Agent, Outcome) {
        self.stop.take();
        let (agent, outcome) = self.end().await;
        (agent, outcome.unwrap())
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> (Agent, Result<Outcome, Error>) {
        soon("the end", &mut self.task).await.unwrap()
    }

    /// Ends it as a power cut does: nothing is written or sent any more.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
