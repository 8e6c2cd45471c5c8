//! Real sockets and real TLS; strangers, liars and silent ones among the peers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use doorbell_cluster::wire::{Decoder, Frame};
use doorbell_cluster::{Holder, Life, NodeId, Slot};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::verify;

const CLUSTER: &str = "c1";

fn holder(node: u16) -> Holder {
    Holder { node: NodeId(node), life: Life(1) }
}

fn ping(number: u8) -> Frame {
    Frame::YieldSlot { slot: Slot(number) }
}

/// Short waits: a test is not to wait for those of a service.
fn rules() -> Rules {
    Rules { ping_after: Duration::from_millis(50), silence_max: Duration::from_millis(500), ..Rules::default() }
}

struct Node {
    holder: Holder,
    address: SocketAddr,
    identity: Identity,
    network: Network,
    events: mpsc::Receiver<Event>,
}

impl Node {
    fn start(node: u16) -> Self {
        Self::with(node, rules())
    }

    fn with(node: u16, rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let identity = Identity::new().unwrap();
        let (network, events) = Network::start(listener, identity.clone(), rules).unwrap();
        Self { holder: holder(node), address, identity, network, events }
    }

    fn peer(&self) -> Peer {
        Peer { holder: self.holder, address: self.address, pin: self.identity.pin() }
    }

    fn sees(&self, peers: &[Peer]) {
        let view = View { cluster: CLUSTER.into(), me: Some(self.holder), peers: peers.to_vec() };
        self.network.set_view(view);
    }

    async fn event(&mut self) -> Event {
        timeout(Duration::from_secs(20), self.events.recv()).await.expect("an event").expect("the network runs")
    }

    /// The next event that is not about an attempt.
    async fn outcome(&mut self) -> Event {
        loop {
            let event = self.event().await;
            if !matches!(event, Event::Refused(_) | Event::Stranger) {
                return event;
            }
        }
    }

    async fn opened(&mut self) -> (ConnectionId, Holder, bool) {
        match self.outcome().await {
            Event::Opened { connection, peer, is_dialed } => (connection, peer, is_dialed),
            other => panic!("{other:?}"),
        }
    }

    /// Both connections to the only other node: the one that it dialed, and the one that it accepted.
    async fn both(&mut self) -> (ConnectionId, ConnectionId) {
        let (one, other) = (self.opened().await, self.opened().await);
        assert_ne!(one.2, other.2, "one is dialed");
        if one.2 { (one.0, other.0) } else { (other.0, one.0) }
    }
}

async fn pair() -> (Node, Node) {
    let (one, other) = (Node::start(1), Node::start(2));
    one.sees(&[other.peer()]);
    other.sees(&[one.peer()]);
    (one, other)
}

/// A client with a key of its own that dials `to`.
async fn dial(identity: &Identity, to: &Node) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to.address).await?;
    let config = verify::client(identity, to.identity.pin());
    TlsConnector::from(config).connect(ServerName::from(to.address.ip()), stream).await
}

fn hello(of: Holder, cluster: &str) -> BytesMut {
    let mut bytes = BytesMut::new();
    let hello = Frame::Hello { wire_min: 1, wire_max: 1, cluster: cluster.into(), node: of.node, life: of.life };
    hello.encode(&mut bytes).unwrap();
    bytes
}

/// Reads until the other side ends the stream.
async fn read_to_end(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await.expect("the other side ends it");
    // An alert, or a stream that is cut, is an end too.
    drop(read);
    all
}

#[tokio::test]
async fn two_nodes_have_a_connection_each_way_and_frames_keep_their_order() {
    let (mut one, mut other) = pair().await;
    let (asks, _) = one.both().await;
    let (_, answers) = other.both().await;
    assert_eq!(one.network.connection_to(NodeId(2)), Some(asks));
    for number in 0..200 {
        one.network.send(asks, &ping(number)).unwrap();
    }
    for number in 0..200 {
        assert_eq!(other.event().await, Event::Frame { connection: answers, frame: ping(number) });
    }
    other.network.send(answers, &ping(7)).unwrap();
    assert_eq!(one.event().await, Event::Frame { connection: asks, frame: ping(7) });
}

#[tokio::test]
async fn a_quiet_connection_stays_open_by_pings() {
    let (mut one, mut other) = pair().await;
    let (asks, _) = one.both().await;
    other.both().await;
    // Much longer than a silence may be.
    let quiet = timeout(rules().silence_max * 3, one.events.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    one.network.send(asks, &ping(1)).unwrap();
    assert!(matches!(other.event().await, Event::Frame { .. }));
}

#[tokio::test]
async fn a_node_that_ends_is_noticed_and_one_that_is_not_there_yet_is_dialed_until_it_is() {
    let (mut one, mut other) = pair().await;
    let (asks, _) = one.both().await;
    other.both().await;
    let address = other.address;
    drop(other);
    let closed = [one.outcome().await, one.outcome().await];
    assert!(closed.iter().all(|event| matches!(event, Event::Closed { peer, .. } if *peer == holder(2))), "{closed:?}");
    assert!(one.network.send(asks, &ping(1)).is_err() && one.network.connection_to(NodeId(2)).is_none());
    assert_eq!(one.event().await, Event::Refused(holder(2)));
    // Another process at the same address has another key, and is not taken for the first.
    let listener = TcpListener::bind(address).unwrap();
    let identity = Identity::new().unwrap();
    let (network, events) = Network::start(listener, identity.clone(), rules()).unwrap();
    let mut next = Node { holder: Holder { node: NodeId(2), life: Life(2) }, address, identity, network, events };
    next.sees(&[one.peer()]);
    one.sees(&[next.peer()]);
    assert_eq!(one.opened().await.1, next.holder);
    assert_eq!(next.opened().await.1, one.holder);
}

#[tokio::test]
async fn a_stranger_is_refused_and_reported_and_let_in_once_the_map_shows_its_key() {
    let mut one = Node::start(1);
    one.sees(&[]);
    let stranger = Identity::new().unwrap();
    let mut stream = dial(&stranger, &one).await.expect("in TLS 1.3 the client learns it afterwards");
    stream.write_all(&hello(holder(2), CLUSTER)).await.ok();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(one.event().await, Event::Stranger);
    one.sees(&[Peer { holder: holder(2), address: "127.0.0.1:9".parse().unwrap(), pin: stranger.pin() }]);
    let mut stream = dial(&stranger, &one).await.unwrap();
    stream.write_all(&hello(holder(2), CLUSTER)).await.unwrap();
    let (_, peer, is_dialed) = one.opened().await;
    assert_eq!((peer, is_dialed), (holder(2), false));
}

#[tokio::test]
async fn a_server_with_another_key_than_that_of_the_peer_is_not_talked_to() {
    let (one, mut other) = (Node::start(1), Node::start(2));
    other.sees(&[one.peer()]);
    one.sees(&[Peer { pin: Identity::new().unwrap().pin(), ..other.peer() }]);
    // The other one dials, and is accepted by nobody: its key is not known there.
    let event = timeout(Duration::from_millis(500), other.outcome()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test]
async fn who_says_what_its_key_does_not_show_or_sends_no_frames_is_refused() {
    let mut one = Node::start(1);
    let liar = Identity::new().unwrap();
    one.sees(&[Peer { holder: holder(2), address: "127.0.0.1:9".parse().unwrap(), pin: liar.pin() }]);
    for bytes in [
        &hello(holder(3), CLUSTER)[..],
        &hello(Holder { life: Life(2), ..holder(2) }, CLUSTER)[..],
        &hello(holder(2), "c2")[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64][..],
        &[0, 0, 0, 1, 99][..],
    ] {
        let mut stream = dial(&liar, &one).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let ours = read_to_end(&mut stream).await;
        assert!(ours.len() <= hello(holder(1), CLUSTER).len(), "nothing but a greeting");
    }
    // A greeting with a version that nobody has.
    let mut bytes = BytesMut::new();
    let alien = Frame::Hello { wire_min: 900, wire_max: 901, cluster: CLUSTER.into(), node: NodeId(2), life: Life(1) };
    alien.encode(&mut bytes).unwrap();
    let mut stream = dial(&liar, &one).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    read_to_end(&mut stream).await;
    // The key itself is not locked out by that.
    let mut stream = dial(&liar, &one).await.unwrap();
    stream.write_all(&hello(holder(2), CLUSTER)).await.unwrap();
    let (connection, ..) = one.opened().await;
    // Garbage after the greeting ends the connection.
    stream.write_all(&[0xff; 64]).await.unwrap();
    assert_eq!(one.outcome().await, Event::Closed { connection, peer: holder(2) });
}

#[tokio::test]
async fn a_peer_that_is_silent_or_takes_no_bytes_is_lost() {
    let mut one = Node::start(1);
    let silent = Identity::new().unwrap();
    one.sees(&[Peer { holder: holder(2), address: "127.0.0.1:9".parse().unwrap(), pin: silent.pin() }]);
    // It answers no ping.
    let mut stream = dial(&silent, &one).await.unwrap();
    stream.write_all(&hello(holder(2), CLUSTER)).await.unwrap();
    let (connection, ..) = one.opened().await;
    assert_eq!(one.outcome().await, Event::Closed { connection, peer: holder(2) });
    // It sends pings, and reads nothing.
    let mut stream = dial(&silent, &one).await.unwrap();
    stream.write_all(&hello(holder(2), CLUSTER)).await.unwrap();
    let (connection, ..) = one.opened().await;
    let mut bytes = BytesMut::new();
    Frame::Ping { number: 1 }.encode(&mut bytes).unwrap();
    let ids = vec![doorbell_protocol::id::ReceiptSubscriptionId::from_raw(1); 100_000];
    let large = Frame::Woke { of: ids };
    let lost = async {
        loop {
            // As much as it takes: more than the buffers of the system have room for.
            let _ = one.network.send(connection, &large);
            match one.events.try_recv() {
                Err(_) | Ok(Event::Refused(_)) => {}
                Ok(event) => break event,
            }
            let _ = stream.write_all(&bytes).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let event = timeout(Duration::from_secs(20), lost).await.expect("it is lost");
    assert_eq!(event, Event::Closed { connection, peer: holder(2) });
}

#[tokio::test]
async fn strangers_that_begin_no_handshake_are_bounded_and_do_not_keep_peers_out() {
    let rules = Rules { strangers_max: 4, handshake_max: Duration::from_millis(300), ..rules() };
    let (mut one, other) = (Node::with(1, rules), Node::start(2));
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(one.address).await.unwrap());
    }
    one.sees(&[other.peer()]);
    other.sees(&[one.peer()]);
    one.both().await;
    for mut stream in silent {
        let ended = timeout(Duration::from_secs(20), stream.read(&mut [0; 1])).await.expect("it is closed");
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_life_that_is_over_ends_its_connections_and_the_next_one_has_its_own() {
    let (mut one, mut other) = pair().await;
    one.both().await;
    other.both().await;
    one.sees(&[]);
    let closed = [one.outcome().await, one.outcome().await];
    assert!(closed.iter().all(|event| matches!(event, Event::Closed { .. })), "{closed:?}");
    one.holder = Holder { node: NodeId(1), life: Life(2) };
    one.sees(&[other.peer()]);
    other.sees(&[one.peer()]);
    one.both().await;
    let mut peers = Vec::new();
    while peers.len() < 2 {
        if let Event::Opened { peer, .. } = other.outcome().await {
            peers.push(peer);
        }
    }
    assert_eq!(peers, [one.holder; 2]);
}

#[tokio::test]
async fn too_much_for_a_slow_peer_is_refused_and_what_was_queued_arrives() {
    let (mut one, mut other) = (Node::with(1, Rules { queue_max: 64 << 10, ..rules() }), Node::start(2));
    one.sees(&[other.peer()]);
    other.sees(&[one.peer()]);
    let (asks, _) = one.both().await;
    other.both().await;
    let large = Frame::Woke { of: vec![doorbell_protocol::id::ReceiptSubscriptionId::from_raw(1); 2_000] };
    let mut queued = 0_usize;
    // In one go, without a chance to send.
    let refused = loop {
        match one.network.send(asks, &large) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendError::Full);
    for _ in 0..queued {
        assert!(matches!(other.event().await, Event::Frame { frame: Frame::Woke { .. }, .. }));
    }
}

#[test]
fn an_identity_is_known_by_its_key() {
    let (one, other) = (Identity::new().unwrap(), Identity::new().unwrap());
    assert_ne!(one.pin(), other.pin());
    assert!(format!("{:?}", one.pin()).len() < 16, "a short form is enough for a log");
    let _: Arc<rustls::ServerConfig> = verify::server(&one, Box::new(|_| true));
    assert!(Decoder::new().decode(&mut BytesMut::new()).unwrap().is_none());
}
