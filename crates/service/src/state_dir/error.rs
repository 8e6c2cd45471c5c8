//! Why a state directory cannot be used, and the command that fixes it.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::process::geteuid;
use thiserror::Error;

use super::{ROOT, STICKY, WORLD_WRITES};

/// Why a state directory cannot be used, and what to do.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// It cannot be created or looked at.
    #[error("cannot use the state directory {}: {source}; {}", path.display(), hint(path, source))]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Something else has its name.
    #[error("the state directory {} is a file: move it away, or give another directory with --state-dir", path.display())]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// The file system cannot be written.
    #[error(
        "the state directory {} is on a read-only file system: make it writable (`mount -o remount,rw {}`; after an \
         error of the disk unmount it, run fsck, and mount it again), or give another directory with --state-dir", path.display(), Quoted(mount)
    )]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// Where its file system is mounted.
        mount: PathBuf,
    },
    /// It belongs to another user.
    #[error(
        "the state directory {} belongs to {owner}, and this process runs as {user}: {}",
        path.display(), of_owner(path, *owner, *user)
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: User,
        /// Who runs the service.
        user: User,
    },
    /// It belongs to this user, and a file in it to another one.
    #[error(
        "{} belongs to {owner}, and this process runs as {user}: `{}chown {}: {}`",
        path.display(), if user.0 == ROOT { "" } else { "sudo " }, user.for_chown(), list(all)
    )]
    FileOwner {
        /// The first file.
        path: PathBuf,
        /// All of them.
        all: Vec<PathBuf>,
        /// Whose the first is.
        owner: User,
        /// Who runs the service.
        user: User,
    },
    /// Others may use it.
    #[error(
        "other users can read or write {} (mode {mode:o}), which holds secrets of the service: `chmod {} {}`{}",
        path.display(), if *is_folder { "700" } else { "600" }, list(all), of_manager(*is_folder)
    )]
    Loose {
        /// The first that is loose.
        path: PathBuf,
        /// All that are.
        all: Vec<PathBuf>,
        /// The mode of the first.
        mode: u32,
        /// Whether they are folders.
        is_folder: bool,
    },
    /// Others may use it, and it has other files than ours.
    #[error(
        "other users can read or write {} (mode {mode:o}), and it has other files: give a directory of its own with \
         --state-dir, which the service creates", path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Its group could write it, and it has something that the service did not make.
    #[error(
        "the group of the state directory {} could write it, and another user may have made {}, which is a link or belongs to \
         another user: remove it if you do not know it, and `chmod 700 {}`", path.display(), file.display(), Quoted(path)
    )]
    Planted {
        /// The directory.
        path: PathBuf,
        /// The link, or the file of another user.
        file: PathBuf,
    },
    /// Others can put another directory in its place.
    #[error(
        "other users can put another directory in the place of the state directory {}, because they can write {} (mode \
         {mode:o}): `chmod o-w {}`, or give another directory with --state-dir", path.display(), above.display(), Quoted(above)
    )]
    LooseAbove {
        /// The directory.
        path: PathBuf,
        /// The folder above it that is loose.
        above: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A folder above it belongs to another user.
    #[error(
        "{owner} can put another directory in the place of the state directory {}, because {} belongs to {owner}: run \
         as {owner} ({}), or give another directory with --state-dir",
        path.display(), above.display(), owner.how_to_run()
    )]
    OwnerAbove {
        /// The directory.
        path: PathBuf,
        /// The folder above it.
        above: PathBuf,
        /// Whose it is.
        owner: User,
    },
    /// A link in its path belongs to another user.
    #[error(
        "{owner} can change where the state directory {} is, because the link {} belongs to {owner}: give the place that \
         it leads to with --state-dir, or replace the link by one of your own",
        path.display(), link.display()
    )]
    LinkOwner {
        /// The directory.
        path: PathBuf,
        /// The link.
        link: PathBuf,
        /// Whose it is.
        owner: User,
    },
}

/// A user of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(pub(super) u32);

/// What to do about an error of the system.
fn hint(path: &Path, source: &io::Error) -> String {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            let user = User(geteuid().as_raw());
            format!(
                "create it for {user} (`sudo install -d -m 700 -o {} {}`), or give another one with --state-dir",
                user.for_chown(),
                Quoted(path)
            )
        }
        ErrorKind::StorageFull => "free some room on its disk, or give another one with --state-dir".to_owned(),
        _ => "give another one with --state-dir".to_owned(),
    }
}

/// What to do about a directory of another user.
fn of_owner(path: &Path, owner: User, user: User) -> String {
    let as_owner = format!("run the same command as its owner ({})", owner.how_to_run());
    if user.0 == ROOT {
        return format!("files that root creates there would lock {owner} out, so {as_owner}");
    }
    let chown = format!("`sudo chown -R {}: {}`, or {as_owner}", user.for_chown(), Quoted(path));
    // A volume of a container, whose group may write it.
    let is_refused_above =
        fs::metadata(path).is_ok_and(|found| found.mode() & WORLD_WRITES != 0 && found.mode() & STICKY == 0);
    if owner.0 == ROOT && is_refused_above {
        return format!("`sudo chmod o-w {}`, then {chown}", Quoted(path));
    }
    if owner.0 == ROOT && rustix::fs::access(path, Access::WRITE_OK).is_ok() {
        let below = path.join("state");
        return format!(
            "give a directory in it, which the service creates (`--state-dir {}`), or {chown}",
            Quoted(&below)
        );
    }
    chown
}

/// What gives the directory, or all that is in it, its mode again at each start.
pub(super) fn of_manager(is_folder: bool) -> &'static str {
    if is_folder && std::env::var_os("STATE_DIRECTORY").is_some() {
        ", and StateDirectoryMode=0700 in the systemd unit"
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        ", and in Kubernetes give a directory in the volume with --state-dir, and fsGroupChangePolicy: OnRootMismatch where \
         there is an fsGroup, which otherwise changes all modes at each start"
    } else {
        ""
    }
}

fn list(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| Quoted(path).to_string()).collect();
    quoted.join(" ")
}

impl User {
    /// Its name, if the system's file of users has it.
    fn name(self) -> Option<String> {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            (number.parse() == Ok(self.0) && !name.is_empty()).then(|| name.to_owned())
        })
    }

    fn for_chown(self) -> String {
        self.name().unwrap_or_else(|| self.0.to_string())
    }

    /// How to run a command as this user.
    fn how_to_run(self) -> String {
        format!("`sudo -u {} doorbell serve …`, or `--user {}` of a container", self.for_sudo(), self.0)
    }

    fn for_sudo(self) -> String {
        self.name().unwrap_or_else(|| format!("'#{}'", self.0))
    }
}

impl Display for User {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name),
            None => write!(f, "user {}", self.0),
        }
    }
}

/// A path as a shell takes it.
struct Quoted<'a>(&'a Path);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.display().to_string();
        let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
        if text.chars().all(is_plain) { f.write_str(&text) } else { write!(f, "'{}'", text.replace('\'', r"'\''")) }
    }
}
