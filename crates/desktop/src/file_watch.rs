//! Waits for a file to be replaced, without looking again and again.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for some events: each has 16 bytes and a name.
const EVENTS_BYTES: usize = 4096;

/// Watches for another file to take a name.
#[derive(Debug)]
pub(crate) struct FileWatch {
    events: AsyncFd<OwnedFd>,
    name: OsString,
}

impl FileWatch {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types: an OwnedFd keeps its file open"
    )]
    /// Watches for `name` in `folder` from now on.
    pub(crate) fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // A private file is written under another name first, and moved to its own.
        add_watch(&events, folder, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        Ok(Self { events: AsyncFd::with_interest(events, Interest::READABLE)?, name: name.into() })
    }

    /// Waits until the file was replaced, at least once since the last call. Forever if the folder is gone.
    pub(crate) async fn changed(&mut self) {
        loop {
            match self.events.readable().await {
                Ok(mut ready) => {
                    if has_changed(ready.get_inner(), &self.name) {
                        return;
                    }
                    ready.clear_ready();
                }
                // The runtime shuts down.
                Err(_) => pending().await,
            }
        }
    }
}

/// Reads all events that are there: whether one of them names the file, or some were lost.
fn has_changed(events: &OwnedFd, name: &OsString) -> bool {
    let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
    let mut reader = Reader::new(events, &mut buffer);
    let mut changed = false;
    loop {
        match reader.next() {
            Ok(event) => {
                let is_it = event.file_name().is_some_and(|file| file.to_bytes() == name.as_bytes());
                changed |= is_it || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            }
            Err(Errno::INTR) => {}
            // There are no more.
            Err(_) => return changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use doorbell_private_file::replace;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_replaced_is_seen_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = FileWatch::of(folder.path(), "state").unwrap();
        replace(&folder.path().join("state"), b"1").unwrap();
        watch.changed().await;
        replace(&folder.path().join("other"), b"1").unwrap();
        fs::remove_file(folder.path().join("state")).unwrap();
        for _ in 0..100 {
            tokio::select! {
                biased;
                () = watch.changed() => panic!("nothing has taken its place"),
                () = yield_now() => {}
            }
        }
        replace(&folder.path().join("state"), b"2").unwrap();
        replace(&folder.path().join("other"), b"2").unwrap();
        watch.changed().await;
    }
}
