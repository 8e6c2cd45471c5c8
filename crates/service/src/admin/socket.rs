//! The socket of the admin listener: a loopback port, or a Unix socket that only its owner may open.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::AdminAddress;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Only the user of the service, and root, may open a Unix socket. Others get access by a proxy of that user.
const MODE: u32 = 0o600;

/// The admin listener cannot be opened.
#[derive(Debug, Error)]
#[error("cannot open the admin listener on {address}: {source}; {}", hint(address, source))]
pub struct AdminError {
    /// The address.
    address: AdminAddress,
    /// The system's error.
    source: io::Error,
}

/// What makes the address available, or another one.
fn hint(address: &AdminAddress, why: &io::Error) -> String {
    match (address, why.kind()) {
        (AdminAddress::Tcp(address), ErrorKind::AddrInUse) => format!(
            "stop the program that listens there (`ss -ltnp 'sport = :{}'` shows it), or give another port with \
             --admin-listen",
            address.port()
        ),
        (AdminAddress::Unix(_), ErrorKind::AddrInUse) => {
            "stop that process, or give another path with --admin-listen".to_owned()
        }
        (AdminAddress::Unix(_), ErrorKind::AlreadyExists) => {
            "give another path with --admin-listen, or remove that file".to_owned()
        }
        (AdminAddress::Unix(path), ErrorKind::NotFound) => {
            let folder = path.parent().unwrap_or(path);
            format!("create its directory: mkdir -p {}", folder.display())
        }
        (AdminAddress::Unix(_), ErrorKind::PermissionDenied) => {
            "give a path with --admin-listen in a directory that this user may write, such as /run/user/UID or a \
             RuntimeDirectory= of systemd"
                .to_owned()
        }
        (AdminAddress::Unix(_), ErrorKind::InvalidInput) => {
            "give a shorter path with --admin-listen, at most 107 bytes".to_owned()
        }
        _ => "give another address with --admin-listen, such as 127.0.0.1:9191".to_owned(),
    }
}

/// The socket of the admin listener.
#[derive(Debug)]
pub(super) enum AdminSocket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection to it.
pub(super) enum AdminStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The file of a Unix socket. It is removed with this.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own socket there.
    identity: (u64, u64),
}

impl AdminSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// [`AdminError`], which says what to do.
    pub(super) async fn bind(address: &AdminAddress) -> Result<Self, AdminError> {
        let bound = match address {
            AdminAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            AdminAddress::Unix(path) => bind_unix(path),
        };
        bound.map_err(|source| AdminError { address: address.clone(), source })
    }

    /// The address, with the port that it really has.
    pub(super) fn address(&self) -> io::Result<AdminAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(AdminAddress::Tcp),
            Self::Unix(_, file) => Ok(AdminAddress::Unix(file.path.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<AdminStream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| AdminStream::Tcp(stream)),
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| AdminStream::Unix(stream)),
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<AdminSocket> {
    remove_leftover(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file with the mode of the socket, so there is no moment in which others may open it. Other
    // systems refuse this, or create it with the mode of the process. Only there is the mode set by the path, which
    // another user may have made a symbolic link meanwhile.
    let restricted = fchmod(&socket, Mode::from_raw_mode(MODE));
    if cfg!(target_os = "linux") {
        restricted?;
        socket.bind(&SockAddr::unix(path)?)?;
    } else {
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    }
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
    Ok(AdminSocket::Unix(listener, file))
}

/// Removes the socket of a process that has ended. What a process still uses, and what is no socket, stays.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that does not accept connections must not stop this one.
    client.set_nonblocking(true)?;
    match client.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // It may have been removed meanwhile.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdUnixStream;

    use super::*;

    async fn bind(path: &Path) -> Result<AdminSocket, String> {
        let bound = AdminSocket::bind(&AdminAddress::Unix(path.to_owned())).await;
        bound.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_unix_socket_is_its_owners_alone_and_is_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = bind(&path).await.unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_an_ended_process_left_is_replaced_and_what_a_process_uses_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        let socket = bind(&path).await.unwrap();
        let error = bind(&path).await.unwrap_err();
        assert!(error.contains("another process listens there") && error.contains("another path"), "{error}");
        StdUnixStream::connect(&path).expect("the first one still listens");
        drop(socket);
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        fs::write(&path, "mine").unwrap();
        let error = bind(&path).await.unwrap_err();
        assert!(error.contains("not a socket") && error.contains("another path"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_socket_that_another_process_put_there_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = bind(&path).await.unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _other = StdUnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn each_reason_for_which_a_path_cannot_be_used_has_its_own_advice() {
        let dir = tempfile::tempdir().unwrap();
        let missing = bind(&dir.path().join("no/admin.sock")).await.unwrap_err();
        assert!(missing.contains("mkdir -p"), "{missing}");
        let long = bind(&dir.path().join("a".repeat(200))).await.unwrap_err();
        assert!(long.contains("at most 107 bytes"), "{long}");
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = AdminAddress::Tcp(taken.local_addr().unwrap());
        let error = AdminSocket::bind(&address).await.unwrap_err().to_string();
        assert!(error.contains("ss -ltnp"), "{error}");
    }
}
