//! A browser's process: when it ends, without asking again and again.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// A process that runs, a child of this one or not.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    ends: AsyncFd<OwnedFd>,
    child: Option<Child>,
}

impl Process {
    /// The process with this number.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types: an OwnedFd keeps its file open"
    )]
    pub(crate) fn with_id(id: u32) -> io::Result<Self> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        // It becomes readable when the process has ended (Linux 5.10).
        let ends = AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        Ok(Self { id, ends, child: None })
    }

    /// A child.
    pub(crate) fn of(child: Child) -> io::Result<Self> {
        let process = Self::with_id(child.id())?;
        Ok(Self { child: Some(child), ..process })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether a child has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // It may have ended already, which is what is wanted.
        pidfd_send_signal(&self.ends, Signal::TERM).ok();
    }

    /// Ends a child: it is asked, has the time `grace` to save what it works on, and is killed then, with the processes of
    /// its group if it has one of its own.
    pub(crate) async fn end(&mut self, grace: Duration) {
        // Its number is its own until its status is taken, which this does if it has ended.
        if self.has_ended() {
            return;
        }
        self.terminate();
        timeout(grace, self.ends.readable()).await.ok();
        let Some(child) = self.child.as_mut() else { return };
        // They may have ended already, which is what is wanted.
        if let Some(group) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        child.kill().ok();
    }

    /// Waits until it has ended: how, in words, if that is known.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        if self.ends.readable().await.is_err() {
            // The runtime shuts down.
            pending::<()>().await;
        }
        // A child whose status is not taken would stay as a zombie.
        let status = self.child.as_mut()?.wait().ok()?;
        Some(status.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_child_and_of_another_process_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let mut other = Process::with_id(child.id()).unwrap();
        let mut process = Process::of(child).unwrap();
        tokio::select! {
            biased;
            ended = process.ended() => panic!("{ended:?}"),
            ended = other.ended() => panic!("{ended:?}"),
            () = std::future::ready(()) => {}
        }
        drop(input);
        assert_eq!(other.ended().await, None);
        assert_eq!(process.ended().await.as_deref(), Some("exit status: 0"));
        assert!(Process::with_id(process.id()).is_err(), "it is gone");
    }
}
