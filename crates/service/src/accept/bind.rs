//! The ports of the service: all of them are bound, or none.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::config::Listen;

/// A port that is not available.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}; {}", hint(*address, source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The system's error.
    pub source: io::Error,
}

/// A port that listens. A free port of the system's choice has its number here.
pub(crate) type Bound = (Listen, TcpListener);

/// Binds the addresses. Those of `given`, in the same order, listen already.
pub(crate) async fn all(addresses: &[Listen], given: Vec<std::net::TcpListener>) -> Result<Vec<Bound>, BindError> {
    debug_assert!(given.is_empty() || given.len() == addresses.len(), "given sockets are the addresses");
    let mut given = given.into_iter();
    let mut bound = Vec::new();
    for &Listen { served, address } in addresses {
        let failed = |source| BindError { address, source };
        let socket = match given.next() {
            Some(socket) => inherited(socket).map_err(failed)?,
            None => listen(address).await.map_err(failed)?,
        };
        bound.push((Listen { served, address: socket.local_addr().map_err(failed)? }, socket));
    }
    Ok(bound)
}

/// A socket that another process has bound.
fn inherited(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Binds an address. Every address of both versions of IP is that of IPv4 where the system has no other.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let every = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    match TcpListener::bind(address).await {
        Err(error) if address == every && has_no_ipv6(&error) => {
            TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())).await
        }
        bound => bound,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

/// What makes `address` available, or another one.
fn hint(address: SocketAddr, why: &io::Error) -> String {
    let port = address.port();
    match why.kind() {
        ErrorKind::AddrInUse => format!(
            "stop the program that listens there (`ss -ltnp 'sport = :{port}'` shows it), or give another address with \
             --listen (port 0 takes a free one); of [::] and 0.0.0.0 with the same port give the first only, which is both"
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address (`ip address` shows those that it has); \
             0.0.0.0 and [::] stand for all of them, with --public-url"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!(
            "port {port} needs a permission: `sudo setcap cap_net_bind_service=+ep {}`, or \
             AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit, or a socket of systemd (extras/systemd/doorbell.socket); \
             or give a port from 1024 on with --listen",
            std::env::current_exe().map_or_else(|_| "doorbell".to_owned(), |program| program.display().to_string())
        ),
        _ => "give another address with --listen (port 0 takes a free one)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_for_which_a_port_is_not_available_has_its_own_advice() {
        let hint = |kind: ErrorKind| hint("0.0.0.0:443".parse().expect("an address"), &kind.into());
        assert!(hint(ErrorKind::PermissionDenied).contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"));
        for words in ["setcap cap_net_bind_service=+ep /", "doorbell.socket"] {
            assert!(hint(ErrorKind::PermissionDenied).contains(words), "{words}");
        }
        assert!(hint(ErrorKind::AddrInUse).contains("'sport = :443'"));
        assert!(hint(ErrorKind::AddrNotAvailable).contains("ip address"));
        assert!(hint(ErrorKind::OutOfMemory).contains("--listen"));
    }
}
