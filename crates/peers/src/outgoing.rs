//! What waits to be sent on one connection: encoded frames, bounded in bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use doorbell_cluster::wire::Frame;
use tokio::sync::Notify;

use crate::network::SendError;

pub(crate) struct Outgoing {
    state: Mutex<State>,
    ready: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    bytes: BytesMut,
    is_closed: bool,
}

impl Outgoing {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), bytes_max }
    }

    /// Adds a frame. An empty queue takes a frame of any size, so that none is refused forever.
    pub(crate) fn send(&self, frame: &Frame) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(SendError::Closed);
        }
        let before = state.bytes.len();
        frame.encode(&mut state.bytes).map_err(SendError::Frame)?;
        if before > 0 && state.bytes.len() > self.bytes_max {
            state.bytes.truncate(before);
            return Err(SendError::Full);
        }
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for frames, and takes all of them. `None`: it was closed.
    pub(crate) async fn take(&self) -> Option<BytesMut> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                if !state.bytes.is_empty() {
                    return Some(state.bytes.split());
                }
            }
            self.ready.notified().await;
        }
    }

    /// Refuses further frames, and forgets those that wait.
    pub(crate) fn close(&self) {
        *self.lock() = State { bytes: BytesMut::new(), is_closed: true };
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever has panicked, the bytes are those of whole frames: `encode` leaves none of a frame that it refuses.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woke(ids: usize) -> Frame {
        Frame::Woke { of: vec![doorbell_protocol::id::ReceiptSubscriptionId::from_raw(1); ids] }
    }

    #[tokio::test]
    async fn frames_leave_together_and_too_many_bytes_are_refused_until_they_have_left() {
        let queue = Outgoing::new(100);
        queue.send(&woke(50)).unwrap();
        assert!(matches!(queue.send(&Frame::Ping { number: 1 }), Err(SendError::Full)), "the first one may be larger");
        let first = queue.take().await.unwrap();
        queue.send(&Frame::Ping { number: 1 }).unwrap();
        queue.send(&Frame::Ping { number: 2 }).unwrap();
        let both = queue.take().await.unwrap();
        assert_eq!((first.len(), both.len()), (4 + 1 + 4 + 50 * 8, 2 * (4 + 1 + 8)));
        queue.send(&Frame::Ping { number: 3 }).unwrap();
        queue.close();
        assert!(queue.take().await.is_none() && matches!(queue.send(&woke(1)), Err(SendError::Closed)));
    }
}
