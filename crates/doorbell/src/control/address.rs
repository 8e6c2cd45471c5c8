//! The address of the control socket. An address has room for 107 bytes, and a state directory may have a longer path:
//! then the socket is reached through a descriptor of the directory, `/proc/self/fd/N/control.sock`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::NAME;

/// The longest path of a socket's address (unix(7)): 108 bytes with the zero at its end.
const PATH_BYTES_MAX: usize = 107;

/// A path for `bind` or `connect`. It is good as long as this value exists.
pub(super) struct Address {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl Address {
    /// The address of the socket in `folder`.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(NAME);
        Ok(Self { path, _folder: Some(folder) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
