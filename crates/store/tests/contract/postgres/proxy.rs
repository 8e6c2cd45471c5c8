//! A way to the server that loses an answer on command, and with it the connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Answers to lose, of which each connection loses at most one.
    to_lose: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let to_lose = Arc::new(AtomicU64::new(0));
        let losing = Arc::clone(&to_lose);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || forward(from, to, || false));
                let losing = Arc::clone(&losing);
                let lose =
                    move || losing.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok();
                thread::spawn(move || forward(server, client, lose));
            }
        });
        Self { address, to_lose }
    }

    /// Loses the next answer.
    pub(crate) fn lose(&self) {
        self.to_lose.store(1, Ordering::Release);
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.to_lose.load(Ordering::Acquire) == 0
    }
}

/// Forwards until one side ends, or `lose` says that what has just come is to be lost.
fn forward(mut from: TcpStream, mut to: TcpStream, lose: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if lose() || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
