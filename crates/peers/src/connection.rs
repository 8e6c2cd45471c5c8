//! One connection: who the other side is, and the frames in both directions until it ends.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use doorbell_cluster::Holder;
use doorbell_cluster::wire::{Decoder, Frame, WIRE_MAX, WIRE_MIN, WireError, negotiate};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::Rules;
use crate::network::Inbox;
use crate::outgoing::Outgoing;

const READ_STEP: usize = 64 << 10;

/// Why a connection ended, or did not begin.
#[derive(Debug, Error)]
pub(crate) enum End {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer sent what is no frame: {0}")]
    Frame(#[from] WireError),
    #[error("the peer closed the connection")]
    Closed,
    #[error("nothing came or went for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the handshake took longer than {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("the peer began with another frame than Hello")]
    NoHello,
    #[error(
        "the peer has versions {0} to {1} of the frames: upgrade one node after the other, without leaving out a version"
    )]
    Version(u16, u16),
    #[error("the peer belongs to the cluster {0}")]
    Cluster(String),
    #[error("the peer says that it is {0:?}, and its key is that of {1:?}")]
    Other(Holder, Holder),
    #[error("its key is not that of a node that is up")]
    Unknown,
    #[error("the life of one of both nodes is over, or another node has its address now")]
    Over,
}

/// A stream whose other side is known, with what was read beyond its Hello.
pub(crate) struct Opened<S> {
    stream: S,
    buffer: BytesMut,
    decoder: Decoder,
}

/// Both sides say who they are. The key has shown that the other side is `peer`; what it says must agree.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    cluster: &str,
    me: Holder,
    peer: Holder,
) -> Result<Opened<S>, End> {
    let mut hello = BytesMut::new();
    let ours = Frame::Hello {
        wire_min: WIRE_MIN,
        wire_max: WIRE_MAX,
        cluster: cluster.to_owned(),
        node: me.node,
        life: me.life,
    };
    ours.encode(&mut hello)?;
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let (mut buffer, mut decoder) = (BytesMut::new(), Decoder::new());
    let theirs = loop {
        if let Some(frame) = decoder.decode(&mut buffer)? {
            break frame;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(End::Closed);
        }
    };
    let Frame::Hello { wire_min, wire_max, cluster: theirs, node, life } = theirs else { return Err(End::NoHello) };
    if negotiate(WIRE_MIN..=WIRE_MAX, wire_min..=wire_max).is_none() {
        return Err(End::Version(wire_min, wire_max));
    }
    if theirs != cluster {
        return Err(End::Cluster(theirs));
    }
    let said = Holder { node, life };
    if said != peer {
        return Err(End::Other(said, peer));
    }
    Ok(Opened { stream, buffer, decoder })
}

/// Carries frames until the connection ends.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    opened: Opened<S>,
    outgoing: &Outgoing,
    inbox: &Inbox,
    rules: &Rules,
) -> End {
    let Opened { stream, buffer, decoder } = opened;
    let (from, to) = tokio::io::split(stream);
    let end = tokio::select! {
        end = receive(from, buffer, decoder, outgoing, inbox, rules) => end,
        end = send(to, outgoing, rules) => end,
    };
    match end {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

enum Never {}

async fn receive<S: AsyncRead>(
    mut from: ReadHalf<S>,
    mut buffer: BytesMut,
    mut decoder: Decoder,
    outgoing: &Outgoing,
    inbox: &Inbox,
    rules: &Rules,
) -> Result<Never, End> {
    loop {
        while let Some(frame) = decoder.decode(&mut buffer)? {
            match frame {
                Frame::Hello { .. } => return Err(End::NoHello),
                // A full queue is being sent, and shows that this side lives.
                Frame::Ping { number } => drop(outgoing.send(&Frame::Pong { number })),
                Frame::Pong { .. } => {}
                frame => inbox.put(frame).await,
            }
        }
        buffer.reserve(READ_STEP);
        match timeout(rules.silence_max, from.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Err(End::Closed),
            Ok(read) => read?,
            Err(_) => return Err(End::Silent(rules.silence_max)),
        };
    }
}

async fn send<S: AsyncWrite>(mut to: WriteHalf<S>, outgoing: &Outgoing, rules: &Rules) -> Result<Never, End> {
    let mut pings = 0;
    loop {
        let bytes = match timeout(rules.ping_after, outgoing.take()).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(End::Over),
            Err(_) => {
                pings += 1;
                let mut ping = BytesMut::new();
                Frame::Ping { number: pings }.encode(&mut ping)?;
                ping
            }
        };
        let write = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        timeout(rules.silence_max, write).await.map_err(|_| End::Silent(rules.silence_max))??;
    }
}
