//! The state directory. It holds the secrets behind every URL, so it is for one user alone: like sshd and PostgreSQL, the
//! service refuses one whose secrets others can read, or that others can write or replace, and names the command that fixes
//! it. It repairs no secret that is in use, because what others could read may have been read. A directory that others can
//! only list it makes private.

use std::fmt::{Display, Formatter};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use doorbell_private_file as private_file;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;
use thiserror::Error;
use tracing::warn;

/// What group and others may do.
const OTHERS: u32 = 0o077;
/// Others, but not the group, may write.
const WORLD_WRITES: u32 = 0o002;
/// In such a folder only its owner can rename a file (`/tmp`).
const STICKY: u32 = 0o1000;
/// What a directory of its own has.
const PRIVATE: u32 = 0o700;
const ROOT: u32 = 0;
/// The owner of all that is outside a container's users: who that is cannot be seen from the inside.
const OVERFLOW: u32 = 65534;

/// Our files in the state directory, and whether they hold secrets.
const FILES: [(&str, bool); 9] = [
    ("capability.keys", true),
    ("ca.key", true),
    ("ca.pem", false),
    ("doorbell.db", true),
    ("doorbell.db-wal", true),
    ("doorbell.db-shm", true),
    ("cluster.id", false),
    ("doorbell.lock", false),
    ("doorbell.reserve", false),
];
/// A new file system has this folder.
const OF_FILE_SYSTEM: &str = "lost+found";
/// Group or others may write.
const OTHERS_WRITE: u32 = 0o022;
/// The folder of an account and a certificate, whose files all hold secrets.
const ACME: &str = "acme";

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
        path.display(), if *is_folder { "700" } else { "600" }, list(all), of_systemd(*is_folder)
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
         as {owner} (`sudo -u {} doorbell serve …`), or give another directory with --state-dir",
        path.display(), above.display(), owner.for_sudo()
    )]
    OwnerAbove {
        /// The directory.
        path: PathBuf,
        /// The folder above it.
        above: PathBuf,
        /// Whose it is.
        owner: User,
    },
}

/// A user of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32);

/// Creates the directory if it is missing, and checks who can use it.
pub(crate) fn prepare(path: &Path) -> Result<(), StateDirError> {
    let unusable = |source| StateDirError::Unusable { path: path.to_owned(), source };
    let user = geteuid().as_raw();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let absolute = std::path::absolute(path).map_err(unusable)?;
            for above in absolute.ancestors().skip(1).filter(|above| above.exists()) {
                check_above(path, above, user).map_err(unusable)??;
            }
            private_file::create_folder(path).map_err(|source| failed(path, source))?;
        }
        Err(source) => return Err(failed(path, source)),
        Ok(found) if !found.is_dir() => return Err(StateDirError::NotADirectory { path: path.to_owned() }),
        Ok(_) => {}
    }
    let real = path.canonicalize().map_err(unusable)?;
    check_owner(path, &real, user).map_err(unusable)??;
    make_private(path).map_err(unusable)??;
    // The way that was given may lead through links, which must not be replaced either.
    for way in [&real, &std::path::absolute(path).map_err(unusable)?] {
        for above in way.ancestors().skip(1) {
            check_above(path, above, user).map_err(unusable)??;
        }
    }
    check_files(path, user).map_err(unusable)??;
    match rustix::fs::access(path, Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(errno) => Err(failed(path, errno.into())),
    }
}

/// What a failure to create or write it, or a file in it, is.
pub(crate) fn failed(path: &Path, source: io::Error) -> StateDirError {
    if Errno::from_io_error(&source) == Some(Errno::ROFS) {
        return StateDirError::ReadOnly { path: path.to_owned(), mount: mount_of(path) };
    }
    match source.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            let file = path.ancestors().find(|above| above.exists() && !above.is_dir()).unwrap_or(path);
            StateDirError::NotADirectory { path: file.to_owned() }
        }
        _ => StateDirError::Unusable { path: path.to_owned(), source },
    }
}

type Checked = io::Result<Result<(), StateDirError>>;

fn check_owner(path: &Path, real: &Path, user: u32) -> Checked {
    let owner = fs::metadata(real)?.uid();
    if owner == user {
        return Ok(Ok(()));
    }
    Ok(Err(StateDirError::Owner { path: path.to_owned(), owner: User(owner), user: User(user) }))
}

/// A directory that others can use is made private, if it is empty or others can only list it: systemd gives a
/// StateDirectory its mode again at each start. One that others can write is refused: any file in it may be theirs.
fn make_private(path: &Path) -> Checked {
    let mode = fs::metadata(path)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(Ok(()));
    }
    let mut names = Vec::new();
    for entry in path.read_dir()? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != OF_FILE_SYSTEM);
    let is_ours = names.iter().any(|name| name == ACME || FILES.iter().any(|(file, _)| name == file));
    if is_ours && mode & OTHERS_WRITE != 0 {
        return check_mode(vec![path.to_owned()]);
    }
    if !is_ours && !names.is_empty() {
        return Ok(Err(StateDirError::Shared { path: path.to_owned(), mode }));
    }
    if is_ours {
        warn!(
            path = %path.display(), mode = format_args!("{mode:o}"),
            "other users could list the state directory: it has mode 700 now{}", of_systemd(true)
        );
    }
    fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE))?;
    Ok(Ok(()))
}

/// All of one kind: folders, or files.
fn check_mode(paths: Vec<PathBuf>) -> Checked {
    let mut loose = Vec::new();
    for path in paths {
        match look(&path)? {
            Some(found) if found.mode() & OTHERS != 0 => loose.push((path, found)),
            _ => {}
        }
    }
    let Some((path, found)) = loose.first() else { return Ok(Ok(())) };
    let (path, mode, is_folder) = (path.clone(), found.mode() & 0o7777, found.is_dir());
    Ok(Err(StateDirError::Loose { path, all: loose.into_iter().map(|(path, _)| path).collect(), mode, is_folder }))
}

/// A folder above the directory: a user who can rename its entries can put another directory there.
fn check_above(path: &Path, above: &Path, user: u32) -> Checked {
    let found = fs::metadata(above)?;
    let (path, mode) = (path.to_owned(), found.mode() & 0o7777);
    if mode & WORLD_WRITES != 0 && mode & STICKY == 0 {
        return Ok(Err(StateDirError::LooseAbove { path, above: above.to_owned(), mode }));
    }
    if ![user, ROOT, OVERFLOW].contains(&found.uid()) {
        return Ok(Err(StateDirError::OwnerAbove { path, above: above.to_owned(), owner: User(found.uid()) }));
    }
    Ok(Ok(()))
}

/// Our files in it: each belongs to the user, and no secret is loose. A file of root, left by a command that root ran,
/// would lock the service out.
fn check_files(path: &Path, user: u32) -> Checked {
    let (mut files, mut secrets) = (Vec::new(), Vec::new());
    for entry in path.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((_, is_secret)) = FILES.iter().find(|(file, _)| name == *file) {
            files.push(entry.path());
            secrets.extend(is_secret.then(|| entry.path()));
        } else if FILES.iter().any(|(file, is_secret)| *is_secret && name.starts_with(file))
            && look(&entry.path())?.is_some_and(|found| found.mode() & OTHERS != 0)
        {
            warn!(path = %entry.path().display(), "other users can read or write a copy of a secret: `chmod 600` it");
        }
    }
    let acme = path.join(ACME);
    let folders: Vec<PathBuf> = Some(acme.clone()).filter(|acme| acme.is_dir()).into_iter().collect();
    if !folders.is_empty() {
        files.push(acme.clone());
        let first = files.len();
        for entry in acme.read_dir()? {
            files.push(entry?.path());
        }
        secrets.extend_from_slice(&files[first..]);
    }
    let mut foreign = Vec::new();
    for file in files {
        match look(&file)?.map(|found| found.uid()) {
            Some(owner) if owner != user => foreign.push((file, owner)),
            _ => {}
        }
    }
    if let Some((path, owner)) = foreign.first() {
        let (path, owner) = (path.clone(), User(*owner));
        let all = foreign.into_iter().map(|(file, _)| file).collect();
        return Ok(Err(StateDirError::FileOwner { path, all, owner, user: User(user) }));
    }
    match check_mode(folders)? {
        Ok(()) => check_mode(secrets),
        loose => Ok(loose),
    }
}

/// A file that was listed; `None` if it is gone: another process may have the store open, which is checked later.
fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Where the file system of a path, or of the nearest folder above it, is mounted.
fn mount_of(path: &Path) -> PathBuf {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let there = there.canonicalize().unwrap_or_else(|_| there.to_owned());
    let of_path = device(&there);
    there
        .ancestors()
        .take_while(|above| device(above) == of_path)
        .last()
        .expect("a path is on its own device")
        .to_owned()
}

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
    let as_owner = format!("run the same command as its owner (`sudo -u {} doorbell serve …`)", owner.for_sudo());
    if user.0 == ROOT {
        return format!("files that root creates there would lock {owner} out, so {as_owner}");
    }
    format!("`sudo chown -R {}: {}`, or {as_owner}", user.for_chown(), Quoted(path))
}

/// systemd gives a StateDirectory its mode again at each start.
fn of_systemd(is_folder: bool) -> &'static str {
    let is_given = is_folder && std::env::var_os("STATE_DIRECTORY").is_some();
    if is_given { ", and StateDirectoryMode=0700 in the systemd unit" } else { "" }
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
