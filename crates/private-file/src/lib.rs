//! Files that hold secrets: private to their owner, and written as a whole or not at all, also across a power cut.
//!
//! Each function that writes a file creates a temporary file with a random name next to it, syncs that, moves it to its
//! place and syncs the folder. When it returns `Ok`, the contents are on the disk under their name. After an error the
//! file is what it was before, with one exception: if the last step failed, the sync of the folder, then the file has
//! the new contents, and a power cut may bring back what was there before. After a crash the file has the old contents
//! or the new ones, never a mixture.
//!
//! After an error no temporary file is left. After a crash one may be, with the secret in it, under the name
//! `.NAME.XXXXXX`: [`remove_leftovers`] removes those.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! let file = folder.path().join("key");
//! doorbell_private_file::create_new(&file, b"secret")?;
//! assert!(doorbell_private_file::create_new(&file, b"another").is_err(), "an existing file stays as it is");
//! doorbell_private_file::replace(&file, b"another")?;
//! assert_eq!(std::fs::read(&file)?, b"another");
//! # Ok(())
//! # }
//! ```
//!
//! For POSIX systems: the permissions are the mode of the file, less what the process's umask takes away.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Read and written by the owner only.
const PRIVATE: u32 = 0o600;
/// Written by the owner, read by everyone.
const PUBLIC: u32 = 0o644;
/// What group and others may do with a file.
const OTHERS: u32 = 0o077;
/// A folder that its owner alone can enter.
const PRIVATE_FOLDER: u32 = 0o700;
/// The characters at the end of a temporary file's name, ASCII letters and digits.
const RANDOM_CHARACTERS: usize = 6;

/// Writes `contents` to `path` with mode 0600, in place of a file with this name.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    put(path, contents, PRIVATE, Existing::Replaced)
}

/// Writes `contents` to `path` with mode 0644, in place of a file with this name: for what others may read, such as the
/// certificate of a CA.
pub fn replace_public(path: &Path, contents: &[u8]) -> io::Result<()> {
    put(path, contents, PUBLIC, Existing::Replaced)
}

/// Writes `contents` to a new file at `path` with mode 0600.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if there is a file with this name: it stays as it is, also if another process creates
/// it at the same time.
pub fn create_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    put(path, contents, PRIVATE, Existing::Kept)
}

/// Creates an empty file at `path` with mode 0600 where there is none, and takes the permissions of group and others
/// from a file that is there: for a library that opens its file itself, such as a database. Its contents stay.
pub fn ensure_private(path: &Path) -> io::Result<()> {
    match create_new(path, b"") {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.permissions().mode();
            if mode & OTHERS == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) }
        }
        created => created,
    }
}

/// What a file is at a moment: another one after it was written or replaced, also if its name is a symbolic link. For
/// programs that read a file again once another program has renewed it, such as a certificate and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

/// The version of the file at `path`. Ask before the file is read: then a change during the reading shows later.
pub fn version(path: &Path) -> io::Result<Version> {
    let file = fs::metadata(path)?;
    let changed_at = (file.ctime(), file.ctime_nsec());
    Ok(Version { device: file.dev(), inode: file.ino(), bytes: file.len(), changed_at })
}

/// Removes the temporary files that crashes left behind while they wrote `path`: those with the name of `path` between
/// a dot and the end that the functions of this crate choose. `path` itself stays as it is.
///
/// The caller must hold a lock that every process holds while it writes `path`. Otherwise this can remove the temporary
/// file of a write in progress, which then fails.
///
/// # Errors
/// If the folder cannot be read, or a file in it not removed; the remaining ones are then not looked at.
pub fn remove_leftovers(path: &Path) -> io::Result<()> {
    let prefix = prefix(path)?;
    for entry in folder_of(path).read_dir()? {
        let entry = entry?;
        if !is_temporary(&entry.file_name(), &prefix) || !entry.file_type()?.is_file() {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Creates `folder` and the missing folders above it with mode 0700. A folder that exists stays as it is.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder)
}

/// What happens to a file that has the name already.
#[derive(Clone, Copy)]
enum Existing {
    Replaced,
    Kept,
}

fn put(path: &Path, contents: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let folder = folder_of(path);
    // Dropped before it is moved to its place, it removes itself.
    let mut temporary = temporary_file(path, mode)?;
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    move_to(temporary, path, existing)?;
    // The new name must survive a power cut too.
    File::open(folder)?.sync_all()
}

fn temporary_file(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let (prefix, permissions) = (prefix(path)?, Permissions::from_mode(mode));
    Builder::new().prefix(&prefix).rand_bytes(RANDOM_CHARACTERS).permissions(permissions).tempfile_in(folder_of(path))
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    // A path of one component has an empty parent, which no system call takes.
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the names of a file's temporary files begin with.
fn prefix(path: &Path) -> io::Result<OsString> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Ok(prefix)
}

fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(prefix.as_bytes());
    random.is_some_and(|random| random.len() == RANDOM_CHARACTERS && random.iter().all(u8::is_ascii_alphanumeric))
}

fn move_to(temporary: NamedTempFile, path: &Path, existing: Existing) -> io::Result<()> {
    let moved = match existing {
        Existing::Replaced => temporary.persist(path),
        Existing::Kept => temporary.persist_noclobber(path),
    };
    // The error holds the temporary file, which is removed with it.
    moved.map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &TempDir) -> Vec<OsString> {
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_replaced_file_is_whole_and_private_and_leaves_no_temporary_file() {
        let folder = folder();
        let path = folder.path().join("profile.json");
        fs::write(&path, "a longer text than the new one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"new".as_slice(), 0o600));
        assert_eq!(names(&folder), ["profile.json"]);
    }

    #[test]
    fn a_public_file_can_be_read_by_everyone_and_written_by_its_owner() {
        let folder = folder();
        let path = folder.path().join("ca.pem");
        replace_public(&path, b"certificate").unwrap();
        assert_eq!(mode(&path), 0o644);
    }

    #[test]
    fn a_new_file_is_private_and_an_existing_one_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        create_new(&path, b"first").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(create_new(&path, b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(&folder), ["key.pem"], "the second attempt leaves nothing behind");
    }

    #[test]
    fn a_file_that_another_library_fills_is_private_before_and_keeps_its_contents() {
        let folder = folder();
        let path = folder.path().join("state.sqlite");
        ensure_private(&path).unwrap();
        assert_eq!((fs::read(&path).unwrap().len(), mode(&path)), (0, 0o600));
        fs::write(&path, "rows").unwrap();
        for (before, after) in [(0o644, 0o600), (0o400, 0o400), (0o600, 0o600)] {
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            ensure_private(&path).unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"rows".as_slice(), after));
        }
    }

    #[test]
    fn a_file_has_another_version_after_it_was_written_or_replaced_or_its_link_was() {
        let folder = folder();
        let [file, link, other] = ["cert.pem", "live.pem", "next.pem"].map(|name| folder.path().join(name));
        replace(&file, b"first").unwrap();
        replace(&other, b"first").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let first = version(&link).unwrap();
        assert_eq!(version(&link).unwrap(), first);
        replace(&file, b"again").unwrap();
        let second = version(&link).unwrap();
        assert_ne!(second, first);
        fs::write(&file, "longer than that").unwrap();
        let third = version(&link).unwrap();
        assert_ne!(third, second);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_ne!(version(&link).unwrap(), third);
        assert_eq!(version(&folder.path().join("missing")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn of_many_that_create_a_file_one_succeeds_and_its_contents_stay() {
        const THREADS: u8 = 8;
        let folder = folder();
        let path = folder.path().join("key.pem");
        let barrier = Barrier::new(THREADS.into());
        let winners: Vec<u8> = thread::scope(|scope| {
            let create = |n: u8| {
                let (path, barrier) = (&path, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    create_new(path, &[n; 4096]).is_ok().then_some(n)
                })
            };
            let threads: Vec<_> = (0..THREADS).map(create).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(fs::read(&path).unwrap(), [winners[0]; 4096]);
        assert_eq!(names(&folder), ["key.pem"]);
    }

    #[test]
    fn an_error_leaves_the_folder_as_it_was() {
        let folder = folder();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        replace(&taken, b"a file cannot take the place of a folder").unwrap_err();
        assert_eq!(names(&folder), ["taken"]);
        assert_eq!(replace(&folder.path().join("missing/file"), b"").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(replace(Path::new("/"), b"").unwrap_err().kind(), ErrorKind::InvalidFilename);
    }

    #[test]
    fn leftovers_of_crashes_are_removed_and_no_other_file() {
        let folder = folder();
        let path = folder.path().join("key");
        replace(&path, b"secret").unwrap();
        let write = |temporary: &Path| fs::write(temporary, b"secret").unwrap();
        let mut kept = ["key", ".key", ".key.", ".key.old", ".key.Abc12", ".key.Abc1234", ".key.Abc-12", "key.Abc123"]
            .map(OsString::from)
            .to_vec();
        kept.extend([".keys.Abc123", ".a.key.Abc123", ".other.Abc123"].map(OsString::from));
        kept.iter().skip(1).for_each(|name| write(&folder.path().join(name)));
        fs::create_dir(folder.path().join(".key.folder")).unwrap();
        kept.push(".key.folder".into());
        // As a crash leaves it: the file is not moved, and not removed.
        temporary_file(&path, PRIVATE).unwrap().keep().unwrap();
        write(&folder.path().join(".key.Zz0a9Y"));
        assert_eq!(names(&folder).len(), kept.len() + 2);
        remove_leftovers(&path).unwrap();
        let mut left = names(&folder);
        left.sort();
        kept.sort();
        assert_eq!(left, kept);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }

    #[test]
    fn without_a_folder_or_a_name_there_are_no_leftovers_to_look_for() {
        assert_eq!(remove_leftovers(&folder().path().join("missing/key")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(remove_leftovers(Path::new("/")).unwrap_err().kind(), ErrorKind::InvalidFilename);
    }

    #[test]
    fn a_folder_is_private_with_all_that_had_to_be_created_above_it() {
        let folder = folder();
        let deep = folder.path().join("state/doorbell");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        assert_eq!((mode(&deep), mode(&folder.path().join("state"))), (0o700, 0o700));
    }
}
