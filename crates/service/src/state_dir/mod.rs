//! The state directory. It holds the secrets behind every URL, so it is for one user alone: like sshd and PostgreSQL, the
//! service refuses one whose secrets others can read, or that others can write or replace, and names the command that fixes
//! it. It repairs no secret that is in use, because what others could read may have been read. A directory that others can
//! only list it makes private.

mod error;

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use doorbell_private_file as private_file;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::warn;

use error::of_manager;
pub use error::{StateDirError, User};

/// What group and others may do.
const OTHERS: u32 = 0o077;
/// Others, but not the group, may write.
const WORLD_WRITES: u32 = 0o002;
/// In such a folder only its owner can rename a file (`/tmp`).
const STICKY: u32 = 0o1000;
/// What is made in such a folder gets its group. Kubernetes sets it on a volume with an `fsGroup`.
const SETGID: u32 = 0o2000;
/// More links than this in one path are a cycle: as in Linux.
const LINKS_MAX: usize = 40;
/// What a directory of its own has.
const PRIVATE: u32 = 0o700;
const ROOT: u32 = 0;
/// The owner of all that is outside a container's users: who that is cannot be seen from the inside.
const OVERFLOW: u32 = 65534;

/// Our files in the state directory, and whether they hold secrets.
const FILES: [(&str, bool); 13] = [
    ("capability.keys", true),
    ("ca.key", true),
    ("ca.pem", false),
    ("doorbell.db", true),
    ("doorbell.db-wal", true),
    ("doorbell.db-shm", true),
    ("cluster.id", false),
    ("cells.plan", true),
    ("cell.id", true),
    ("doorbell.db-journal", true),
    ("doorbell.lock", false),
    ("doorbell.reserve", false),
    ("doorbell.reserve.new", false),
];
/// A new file system has this folder.
const OF_FILE_SYSTEM: &str = "lost+found";
/// Group or others may write.
const OTHERS_WRITE: u32 = 0o022;
/// The folder of an account and a certificate, whose files all hold secrets.
const ACME: &str = "acme";

/// Creates the directory if it is missing, and checks who can use it.
///
/// # Errors
/// [`StateDirError`]; its text has the command that fixes it.
pub fn prepare(path: &Path) -> Result<(), StateDirError> {
    let unusable = |source| StateDirError::Unusable { path: path.to_owned(), source };
    let user = geteuid().as_raw();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            check_way(path, user).map_err(unusable)??;
            private_file::create_folder(path).map_err(|source| failed(path, source))?;
        }
        Err(source) => return Err(failed(path, source)),
        Ok(found) if !found.is_dir() => return Err(StateDirError::NotADirectory { path: path.to_owned() }),
        Ok(_) => {}
    }
    let real = path.canonicalize().map_err(unusable)?;
    check_owner(path, &real, user).map_err(unusable)??;
    let open = open_to_others(path).map_err(unusable)??;
    if let Some(open) = &open {
        // It keeps its mode if it is refused, so that it is refused again until it is put right.
        if open.is_in_use {
            check_contents(path, user, open.is_writable).map_err(unusable)??;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)).map_err(|source| failed(path, source))?;
        if open.is_in_use {
            warn!(
                path = %path.display(), mode = format_args!("{:o}", open.mode),
                "other users could list the state directory{}: it has mode 700 now{}",
                if open.is_writable { ", and its group could write it" } else { "" }, of_manager(true)
            );
        }
    }
    // Now no other user can change it any more.
    check_contents(path, user, open.is_some_and(|open| open.is_writable)).map_err(unusable)??;
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

/// A directory that others can use, and that may be made private.
struct Open {
    mode: u32,
    /// It has files of the service.
    is_in_use: bool,
    /// Its group could write it, or everyone while it was empty.
    is_writable: bool,
}

/// A directory that others can use may be made private, if it is empty or others can only list it: systemd gives a
/// StateDirectory its mode again at each start. One that others can write is refused: any file in it may be theirs. The
/// group of a volume may write it, where everything in it is this user's.
fn open_to_others(path: &Path) -> io::Result<Result<Option<Open>, StateDirError>> {
    let mode = fs::metadata(path)?.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(Ok(None));
    }
    let mut names = Vec::new();
    for entry in path.read_dir()? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != OF_FILE_SYSTEM);
    let is_in_use = names.iter().any(|name| name == ACME || FILES.iter().any(|(file, _)| name == file));
    let is_volume = mode & SETGID != 0 && mode & WORLD_WRITES == 0;
    let is_writable = mode & OTHERS_WRITE != 0;
    if is_in_use && is_writable && !is_volume {
        return Ok(check_mode(vec![path.to_owned()])?.map(|()| None));
    }
    if !is_in_use && !names.is_empty() {
        return Ok(Err(StateDirError::Shared { path: path.to_owned(), mode }));
    }
    Ok(Ok(Some(Open { mode, is_in_use, is_writable })))
}

/// The way to it, and what is in it.
fn check_contents(path: &Path, user: u32, was_writable: bool) -> Checked {
    for check in [check_way, check_files] {
        if let refused @ Err(_) = check(path, user)? {
            return Ok(refused);
        }
    }
    if was_writable { check_all(path, user) } else { Ok(Ok(())) }
}

/// In a directory that its group could write, whatever has been made there: nothing is a link or another user's.
fn check_all(path: &Path, user: u32) -> Checked {
    for folder in [path.to_owned(), path.join(ACME)] {
        let Some(entries) = exists(folder.read_dir())? else { continue };
        for entry in entries {
            let entry = entry?;
            let Some(found) = exists(entry.metadata())? else { continue };
            if entry.file_name() != OF_FILE_SYSTEM && (found.is_symlink() || found.uid() != user) {
                return Ok(Err(StateDirError::Planted { path: path.to_owned(), file: entry.path() }));
            }
        }
    }
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

/// The path to the directory, as the system resolves it: each folder, and each link, which must not be replaced either. It ends
/// where the rest of the path does not exist yet.
fn check_way(path: &Path, user: u32) -> Checked {
    let mut at = PathBuf::from("/");
    let mut left = steps(&std::path::absolute(path)?);
    let mut links = 0;
    while let Some(step) = left.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        if let loose @ Err(_) = check_above(path, &at, user)? {
            return Ok(loose);
        }
        let next = at.join(step);
        let Some(found) = exists(fs::symlink_metadata(&next))? else { break };
        if !found.is_symlink() {
            at = next;
            continue;
        }
        if !is_trusted(found.uid(), user) {
            return Ok(Err(StateDirError::LinkOwner { path: path.to_owned(), link: next, owner: User(found.uid()) }));
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        let to = fs::read_link(&next)?;
        if to.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(steps(&to));
    }
    Ok(Ok(()))
}

/// The names in a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).rev().collect()
}

/// Whether what belongs to `owner` may decide where the directory of `user` is.
fn is_trusted(owner: u32, user: u32) -> bool {
    [user, ROOT, OVERFLOW].contains(&owner)
}

/// A folder above the directory: a user who can rename its entries can put another directory there.
fn check_above(path: &Path, above: &Path, user: u32) -> Checked {
    let found = fs::metadata(above)?;
    let (path, mode) = (path.to_owned(), found.mode() & 0o7777);
    if mode & WORLD_WRITES != 0 && mode & STICKY == 0 {
        return Ok(Err(StateDirError::LooseAbove { path, above: above.to_owned(), mode }));
    }
    if !is_trusted(found.uid(), user) {
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
    exists(fs::metadata(path))
}

fn exists<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
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
