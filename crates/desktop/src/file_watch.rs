//! Waits until a file is written anew, without looking again and again.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for the events of one read. An event has 16 bytes and a name of at most 256.
const EVENTS_BYTES: usize = 4096;

/// A file whose next version is waited for. Programs replace their files, so its folder is watched.
#[derive(Debug)]
pub(crate) struct FileWatch {
    file: PathBuf,
    events: AsyncFd<OwnedFd>,
}

impl FileWatch {
    /// Watches `file`, which may be missing; its folder may not.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types: an OwnedFd keeps its file open"
    )]
    pub(crate) fn of(file: PathBuf) -> io::Result<Self> {
        let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        add_watch(&inotify, folder, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR)?;
        Ok(Self { events: AsyncFd::with_interest(inotify, Interest::READABLE)?, file })
    }

    /// Waits until it is written or replaced. An error ends the watch.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            if names_in(ready.get_inner(), self.file.file_name())? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}

/// Takes all events that wait: whether one of them is of the file with this name.
fn names_in(inotify: &OwnedFd, name: Option<&OsStr>) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut found = false;
    loop {
        match reader.next() {
            // Without a name the kernel reports that it has dropped events.
            Ok(event) => {
                found |= event
                    .file_name()
                    .is_none_or(|named| name.is_some_and(|name| name.as_encoded_bytes() == named.to_bytes()))
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_is_seen_and_its_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prefs.js");
        let mut watch = FileWatch::of(file.clone()).unwrap();
        let (neighbour, name) = (folder.path().join("other.js"), Some(OsStr::new("prefs.js")));
        fs::write(&neighbour, "1").unwrap();
        assert!(!names_in(watch.events.get_ref(), name).unwrap());
        fs::rename(&neighbour, &file).unwrap();
        assert!(names_in(watch.events.get_ref(), name).unwrap());
        fs::write(&file, "1").unwrap();
        watch.changed().await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FileWatch::of(folder.path().join("no/prefs.js")).is_err());
    }
}
