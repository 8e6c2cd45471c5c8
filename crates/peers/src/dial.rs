//! The connections that this node makes, one to each other node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use doorbell_cluster::Holder;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::{End, Opened, greet};
use crate::network::{Event, Peer, Shared};
use crate::verify;

/// The first wait after an attempt that failed. Each next one is twice as long.
const REDIAL_MIN: Duration = Duration::from_millis(50);

/// Connects to `peer` again and again, until the other end of `stop` is dropped.
pub(crate) async fn dial(
    shared: Arc<Shared>,
    cluster: String,
    me: Holder,
    peer: Peer,
    mut stop: oneshot::Receiver<()>,
) {
    let mut wait = REDIAL_MIN;
    loop {
        let connected = tokio::select! {
            connected = connect(&shared, &cluster, me, &peer) => connected,
            _ = &mut stop => return,
        };
        match connected {
            Ok(opened) => {
                let over = async {
                    // Its error is what it waits for.
                    let _ = (&mut stop).await;
                };
                shared.carry(opened, &peer, true, over).await;
                if stop.is_terminated() {
                    return;
                }
                wait = REDIAL_MIN;
            }
            Err(end) => {
                if matches!(&end, End::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
                    shared.event(Event::Refused(peer.holder)).await;
                }
                tracing::debug!(node = peer.holder.node.0, reason = %end, "another node could not be reached");
            }
        }
        // So that nodes that start together do not dial in step.
        let pause = sleep(wait.mul_f64(0.5 + 0.5 * fastrand::f64()));
        tokio::select! {
            () = pause => {}
            _ = &mut stop => return,
        }
        wait = (wait * 2).min(shared.rules.redial_max);
    }
}

async fn connect(shared: &Shared, cluster: &str, me: Holder, peer: &Peer) -> Result<Opened<TlsStream<TcpStream>>, End> {
    let max = shared.rules.handshake_max;
    let handshake = async {
        let stream = TcpStream::connect(peer.address).await?;
        stream.set_nodelay(true)?;
        let config = verify::client(&shared.identity, peer.pin);
        // The key is checked, and no name is.
        let name = ServerName::from(peer.address.ip());
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        greet(stream, cluster, me, peer.holder).await
    };
    timeout(max, handshake).await.unwrap_or(Err(End::Slow(max)))
}
