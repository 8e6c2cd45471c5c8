//! All connections of this process: it accepts, it dials, and it knows who is who by the last map.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbell_cluster::wire::{Frame, WireError};
use doorbell_cluster::{Holder, NodeId};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{End, Opened, greet, run};
use crate::identity::{Identity, Pin};
use crate::outgoing::Outgoing;
use crate::{Rules, dial, verify};

/// Events that may wait for the service. Then connections are read no further.
const EVENTS_MAX: usize = 1024;
/// An unknown key makes the service read the map again, so often at most.
const BETWEEN_STRANGERS: Duration = Duration::from_secs(1);
/// After an error of the listener, such as too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// A connection. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// Another node, as its row in the database shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number and life.
    pub holder: Holder,
    /// Where it listens.
    pub address: SocketAddr,
    /// The key of its process.
    pub pin: Pin,
}

/// Who is who, as the last map shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The id of the cluster.
    pub cluster: String,
    /// The life of this process; `None`: it has none now, and talks to nobody.
    pub me: Option<Holder>,
    /// The other lives that are up.
    pub peers: Vec<Peer>,
}

impl View {
    fn with_pin(&self, pin: Pin) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.pin == pin)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A connection is open.
    Opened {
        /// The connection.
        connection: ConnectionId,
        /// The node at the other end.
        peer: Holder,
        /// This node has dialed, and asks; otherwise it answers.
        is_dialed: bool,
    },
    /// A frame came. Those of one connection come in their order, after its `Opened` and before its `Closed`.
    Frame {
        /// The connection.
        connection: ConnectionId,
        /// The frame: never `Hello`, `Ping` or `Pong`.
        frame: Frame,
    },
    /// A connection has ended. What was sent last on it may have arrived or not.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// The node at the other end.
        peer: Holder,
    },
    /// Nothing listens where this node should be.
    Refused(Holder),
    /// A process with an unknown key wanted to connect: the map may be old. Once a second at most.
    Stranger,
}

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The connection is over, or there is none.
    #[error("there is no connection")]
    Closed,
    /// Too many bytes wait on the connection.
    #[error("too much waits to be sent to the peer")]
    Full,
    /// It is longer than a frame may be, or has a value that no frame may have.
    #[error("the frame cannot be sent: {0}")]
    Frame(WireError),
}

/// The connections of this process to the other nodes. They end when it is dropped.
pub struct Network {
    shared: Arc<Shared>,
    view: watch::Sender<Arc<View>>,
    task: JoinHandle<()>,
}

pub(crate) struct Shared {
    pub(crate) rules: Rules,
    pub(crate) identity: Identity,
    events: mpsc::Sender<Event>,
    state: Mutex<State>,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    open: HashMap<ConnectionId, Arc<Outgoing>>,
    dialed: BTreeMap<NodeId, ConnectionId>,
}

/// Where the frames of a connection go.
pub(crate) struct Inbox {
    connection: ConnectionId,
    events: mpsc::Sender<Event>,
}

impl Inbox {
    pub(crate) async fn put(&self, frame: Frame) {
        // Without a receiver the network is about to be dropped.
        let _ = self.events.send(Event::Frame { connection: self.connection, frame }).await;
    }
}

impl Network {
    /// Accepts connections on `listener`, and dials the peers of each view. Call it in a tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used in the runtime.
    pub fn start(
        listener: std::net::TcpListener,
        identity: Identity,
        rules: Rules,
    ) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let (view, watched) = watch::channel(Arc::default());
        let shared = Arc::new(Shared { rules, identity, events, state: Mutex::default(), next: AtomicU64::new(1) });
        let task = tokio::spawn(serve(Arc::clone(&shared), listener, watched));
        Ok((Self { shared, view, task }, received))
    }

    /// Replaces who is who. Connections to lives that are over end, and new ones are dialed.
    pub fn set_view(&self, view: View) {
        self.view.send_if_modified(|now| {
            let is_new = **now != view;
            if is_new {
                *now = Arc::new(view);
            }
            is_new
        });
    }

    /// Queues a frame on a connection.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, connection: ConnectionId, frame: &Frame) -> Result<(), SendError> {
        let outgoing = self.shared.lock().open.get(&connection).map(Arc::clone);
        outgoing.ok_or(SendError::Closed)?.send(frame)
    }

    /// The connection on which this node asks another one.
    pub fn connection_to(&self, node: NodeId) -> Option<ConnectionId> {
        self.shared.lock().dialed.get(&node).copied()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one call that cannot panic in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn event(&self, event: Event) {
        // Without a receiver the network is about to be dropped.
        let _ = self.events.send(event).await;
    }

    /// Runs an open connection to `peer` until it ends, or one of both lives does.
    pub(crate) async fn carry<S>(&self, opened: Opened<S>, peer: &Peer, is_dialed: bool, over: impl Future<Output = ()>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let outgoing = Arc::new(Outgoing::new(self.rules.queue_max));
        {
            let mut state = self.lock();
            state.open.insert(connection, Arc::clone(&outgoing));
            if is_dialed {
                state.dialed.insert(peer.holder.node, connection);
            }
        }
        self.event(Event::Opened { connection, peer: peer.holder, is_dialed }).await;
        tracing::debug!(node = peer.holder.node.0, is_dialed, "a connection to another node is open");
        let inbox = Inbox { connection, events: self.events.clone() };
        let end = tokio::select! {
            end = run(opened, &outgoing, &inbox, &self.rules) => end,
            () = over => End::Over,
        };
        outgoing.close();
        {
            let mut state = self.lock();
            state.open.remove(&connection);
            if state.dialed.get(&peer.holder.node) == Some(&connection) {
                state.dialed.remove(&peer.holder.node);
            }
        }
        tracing::info!(node = peer.holder.node.0, is_dialed, reason = %end, "a connection to another node has ended");
        self.event(Event::Closed { connection, peer: peer.holder }).await;
    }
}

/// Completes when the view no longer shows this process as `me` or the other as `peer`.
async fn over(mut view: watch::Receiver<Arc<View>>, me: Holder, peer: Peer) {
    let is_over = |view: &Arc<View>| view.me != Some(me) || !view.peers.contains(&peer);
    if view.wait_for(is_over).await.is_err() {
        // The network is about to be dropped.
        std::future::pending().await
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, mut view: watch::Receiver<Arc<View>>) {
    let stranger = Arc::new(Notify::new());
    let config = {
        let (view, stranger) = (view.clone(), Arc::clone(&stranger));
        let accepts = move |pin| {
            let is_known = view.borrow().with_pin(pin).is_some();
            if !is_known {
                stranger.notify_one();
            }
            is_known
        };
        verify::server(&shared.identity, Box::new(accepts))
    };
    let strangers = Arc::new(Semaphore::new(shared.rules.strangers_max));
    // All tasks end with this one.
    let mut tasks = JoinSet::new();
    tasks.spawn(report_strangers(Arc::clone(&shared), stranger));
    // Each peer that is dialed, until its sender is dropped, and the life of this node that dials.
    let (mut dialed, mut dials) = (BTreeMap::<Holder, (Peer, oneshot::Sender<()>)>::new(), None);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Beyond the bound, a connection is closed at once.
                Ok((stream, _)) => if let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() {
                    tasks.spawn(accept(Arc::clone(&shared), stream, Arc::clone(&config), view.clone(), permit));
                },
                Err(error) => {
                    tracing::warn!(%error, "the listener for other nodes failed, and goes on");
                    sleep(AFTER_ERROR).await;
                }
            },
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = Arc::clone(&view.borrow_and_update());
                let goes_on = dials == now.me;
                dialed.retain(|_, (peer, _)| goes_on && now.peers.contains(peer));
                dials = now.me;
                let Some(me) = now.me else { continue };
                for peer in &now.peers {
                    dialed.entry(peer.holder).or_insert_with(|| {
                        let (alive, stop) = oneshot::channel();
                        let cluster = now.cluster.clone();
                        tasks.spawn(dial::dial(Arc::clone(&shared), cluster, me, peer.clone(), stop));
                        (peer.clone(), alive)
                    });
                }
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn report_strangers(shared: Arc<Shared>, stranger: Arc<Notify>) {
    loop {
        stranger.notified().await;
        shared.event(Event::Stranger).await;
        sleep(BETWEEN_STRANGERS).await;
    }
}

async fn accept(
    shared: Arc<Shared>,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    view: watch::Receiver<Arc<View>>,
    permit: OwnedSemaphorePermit,
) {
    let max = shared.rules.handshake_max;
    let handshake = async {
        // Frames are small, and each is waited for.
        stream.set_nodelay(true)?;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let pin = stream.get_ref().1.peer_certificates().and_then(|all| Pin::of(all.first()?)).ok_or(End::Unknown)?;
        let now = Arc::clone(&view.borrow());
        let (me, peer) = now.me.zip(now.with_pin(pin)).ok_or(End::Unknown)?;
        Ok((greet(stream, &now.cluster, me, peer.holder).await?, me, peer.clone()))
    };
    let opened = timeout(max, handshake).await.unwrap_or(Err(End::Slow(max)));
    drop(permit);
    match opened {
        Ok((opened, me, peer)) => {
            let over = over(view, me, peer.clone());
            shared.carry(opened, &peer, false, over).await;
        }
        Err(end) => tracing::debug!(reason = %end, "a connection to this node was refused"),
    }
}
