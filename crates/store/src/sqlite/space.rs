//! The room on the disk: a reserve that is given up when the disk is full, and a floor below which the store does not
//! grow.
//!
//! Removing something needs room too: a commit appends to the log before it frees anything. So a file of some MiB waits
//! next to the database. When the disk is full it is removed, and from then on only writes that free room are taken.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, StatVfs};
use rustix::io::Errno;

use crate::engine::Write;
use crate::limits::Limits;

const RESERVE: &str = "doorbell.reserve";

/// Room that must be free beside the reserve before writes are taken again. With half of the reserve, which the log may
/// take, the disk is not full again at once.
const MARGIN_BYTES: u64 = 1 << 20;

/// What a probe of the disk writes.
const PROBE_BYTES: u64 = 256 << 10;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// The disk is full, and the reserve is given up: only what frees room is taken.
    None,
    /// Less than the floor is free: nothing that makes the store larger is taken.
    BelowFloor,
    /// Less than twice the floor is free: no new agents and receipt subscriptions are taken.
    NearFloor,
    /// Everything is taken.
    Enough,
}

impl Room {
    /// Whether there is room for messages.
    pub(super) fn admits_messages(self) -> bool {
        self >= Self::NearFloor
    }

    /// Whether there is room for `write`.
    pub(super) fn admits(self, write: &Write) -> bool {
        let needed = match write {
            Write::CreateAgent { .. } | Write::CreateReceiptSubscription { .. } => Self::Enough,
            Write::CreateSubscription(_) | Write::JoinReceiptSubscription { .. } | Write::Append(_) => Self::NearFloor,
            // They change rows in place, and are made again later.
            Write::Touch { .. } | Write::UseReceiptSubscription { .. } | Write::NoteClock(_) => Self::BelowFloor,
            // It is small, and promised: its message was accepted while there was room.
            Write::AddReceipt { .. } => Self::BelowFloor,
            Write::Erase { .. }
            | Write::DeleteSubscription { .. }
            | Write::DeleteAgent { .. }
            | Write::TakeReceipts { .. }
            | Write::DeleteReceiptSubscription { .. }
            | Write::ExpireIdle(_)
            | Write::ExpireUnused(_)
            | Write::Sweep { .. } => Self::None,
        };
        self >= needed
    }
}

/// The reserve of one directory, and how much room its disk has.
pub(super) struct Space {
    dir: PathBuf,
    reserve_bytes: u64,
    floor_bytes: u64,
    available_bytes: Option<u64>,
    room: Room,
    /// What the log shows of the floor.
    logged: Room,
}

impl Space {
    /// Looks at the directory and changes nothing.
    pub(super) fn new(dir: &Path, limits: &Limits) -> Self {
        let (reserve_bytes, floor_bytes) = (limits.reserve_bytes, limits.disk_floor_bytes);
        let (room, logged) = (Room::Enough, Room::Enough);
        Self { dir: dir.into(), reserve_bytes, floor_bytes, available_bytes: None, room, logged }
    }

    /// Sets another floor. The next look at the disk uses it.
    pub(super) fn set_floor(&mut self, bytes: u64) {
        self.floor_bytes = bytes;
    }

    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// What was free for the store at the last look; `None` if the file system does not report it.
    pub(super) fn available_bytes(&self) -> Option<u64> {
        self.available_bytes
    }

    /// The bytes of the reserve that the disk holds.
    pub(super) fn reserve_held_bytes(&self) -> u64 {
        if self.room == Room::None { 0 } else { self.reserve_bytes }
    }

    /// Allocates the reserve, unless it is there. On a full disk the store starts without it.
    ///
    /// # Errors
    /// The file cannot be created for another reason.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        let held = self.path().metadata().map_or(0, |file| if is_allocated(&file) { file.len() } else { 0 });
        if held == self.reserve_bytes && (held > 0 || !self.path().exists()) {
            return Ok(());
        }
        match self.allocate() {
            Err(error) if is_no_room(&error) => {
                self.give_up();
                Ok(())
            }
            other => other,
        }
    }

    /// The disk is full: gives up the reserve, and reports it once.
    pub(super) fn give_up(&mut self) {
        let removed = fs::remove_file(self.path());
        // The system may return the blocks of a removed file only after a sync.
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        if self.room == Room::None {
            return;
        }
        self.room = Room::None;
        let reserve_held = removed.is_ok() && synced.is_ok();
        tracing::error!(
            dir = %self.dir.display(),
            reserve_held,
            "the disk is full: the store accepts only what frees room, and everything else gets 429; free some room on \
             this disk, or move the state directory to a larger one; the store continues by itself"
        );
    }

    /// Looks at the disk. If it was full and has room again, takes back the reserve first. `free_bytes` are free inside
    /// the database.
    pub(super) fn look(&mut self, free_bytes: u64) {
        if self.room == Room::None {
            self.set_available(rustix::fs::statvfs(&self.dir).ok().as_ref(), free_bytes);
            // An error is one more attempt later. An attempt without a chance would take the room of what frees some.
            if !self.may_allocate() || self.allocate().is_err() {
                return;
            }
            (self.room, self.logged) = (Room::Enough, Room::Enough);
            tracing::info!(dir = %self.dir.display(), "the disk has room again: the reserve is back");
        }
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else { return };
        let available = available(&disk).saturating_add(free_bytes);
        self.set_available(Some(&disk), free_bytes);
        self.room = self.room_with(available);
        self.report(available);
    }

    fn set_available(&mut self, disk: Option<&StatVfs>, free_bytes: u64) {
        let sized = disk.filter(|disk| disk.f_blocks > 0);
        self.available_bytes = sized.map(|disk| available(disk).saturating_add(free_bytes));
    }

    /// Logs each step towards the floor, and away from it once a quarter of the floor more is free: a disk that stays
    /// near a bound does not fill the log.
    fn report(&mut self, available: u64) {
        let (dir, floor) = (self.dir.display(), self.floor_bytes);
        let settled = self.room_with(available.saturating_sub(floor / 4));
        if self.room < self.logged {
            self.logged = self.room;
            match self.room {
                Room::None | Room::BelowFloor => tracing::error!(
                    %dir,
                    available,
                    floor,
                    "the disk is nearly full: new messages and subscriptions get 429; free some room on this disk, or \
                     lower disk_floor_bytes"
                ),
                Room::NearFloor | Room::Enough => tracing::warn!(
                    %dir,
                    available,
                    floor,
                    "the disk has little room: new agents and receipt subscriptions get 429; free some room on this \
                     disk, or lower disk_floor_bytes"
                ),
            }
        } else if settled > self.logged {
            self.logged = settled;
            let is_all = settled == Room::Enough;
            let what = if is_all { "everything is accepted" } else { "new messages are accepted" };
            tracing::info!(%dir, available, floor, "the disk has room again: {what}");
        }
    }

    fn room_with(&self, available: u64) -> Room {
        if available < self.floor_bytes {
            Room::BelowFloor
        } else if available < self.floor_bytes.saturating_mul(2) {
            Room::NearFloor
        } else {
            Room::Enough
        }
    }

    /// Whether the disk takes no more, after a write or a sync failed for a reason that the engine does not report.
    pub(super) fn is_exhausted(&self) -> bool {
        let path = self.dir.join("doorbell.probe");
        let probed = fill(&path, PROBE_BYTES);
        // Left over at most until the next probe.
        let _ = fs::remove_file(&path);
        probed.is_err_and(|error| is_no_room(&error))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    /// Whether the disk may have room for the reserve and the margin. Blocks that are reserved for root do not count: an
    /// attempt that needs them fails for another user, and for the root of a container, and takes all room until then.
    fn may_allocate(&self) -> bool {
        let wanted = self.reserve_bytes + self.margin_bytes();
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| available(&disk) >= wanted)
    }

    fn margin_bytes(&self) -> u64 {
        self.reserve_bytes / 2 + MARGIN_BYTES
    }

    /// Allocates the reserve if the disk has room for it and for a margin; otherwise leaves no file.
    fn allocate(&self) -> io::Result<()> {
        let (path, unfinished) = (self.path(), self.dir.join("doorbell.reserve.new"));
        let allocated = fill(&unfinished, self.reserve_bytes + self.margin_bytes()).and_then(|file| {
            file.set_len(self.reserve_bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        });
        if allocated.is_err() {
            // It may not have been created.
            let _ = fs::remove_file(&unfinished);
        } else if self.reserve_bytes == 0 {
            fs::remove_file(&path)?;
        }
        allocated
    }
}

/// Bytes that any user may allocate. Some file systems in memory, in other programs or of other machines do not know
/// their size and report zeros: only a failed write shows that they are full.
fn available(disk: &StatVfs) -> u64 {
    if disk.f_blocks == 0 { u64::MAX } else { disk.f_bavail.saturating_mul(disk.f_frsize) }
}

/// A file of `bytes` bytes for which the disk has set blocks aside.
fn fill(path: &Path, bytes: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    if !is_allocated(&file.metadata()?) || file.metadata()?.len() < bytes {
        write_noise(&mut file, bytes)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Writes bytes that no file system compresses (xorshift).
fn write_noise(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    while left > 0 {
        let mut block = Vec::with_capacity(64 << 10);
        while block.len() < block.capacity() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        let part = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    Ok(())
}

fn is_allocated(file: &fs::Metadata) -> bool {
    file.blocks() * 512 >= file.len()
}

/// Whether a disk, or a quota on it, has no room left.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(dir: &Path, reserve_bytes: u64) -> Space {
        Space::new(dir, &Limits { reserve_bytes, ..Limits::default() })
    }

    #[test]
    fn the_reserve_is_allocated_on_the_disk_and_not_only_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut space = space(dir.path(), 1 << 20);
        space.prepare().unwrap();
        let file = dir.path().join(RESERVE).metadata().unwrap();
        assert_eq!(file.len(), 1 << 20);
        assert!(file.blocks() * 512 >= 1 << 20, "{} blocks", file.blocks());
        assert_eq!(file.mode() & 0o777, 0o600);
    }

    #[test]
    fn noise_fills_a_file_where_nothing_can_be_allocated_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("noise")).unwrap();
        write_noise(&mut file, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }

    #[test]
    fn another_size_replaces_the_reserve_and_none_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [1 << 20, 2 << 20, 64 << 10] {
            space(dir.path(), bytes).prepare().unwrap();
            assert_eq!(dir.path().join(RESERVE).metadata().unwrap().len(), bytes);
        }
        space(dir.path(), 0).prepare().unwrap();
        assert!(!dir.path().join(RESERVE).exists());
    }

    #[test]
    fn a_file_system_that_does_not_know_its_size_has_room_and_a_full_one_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let disk = rustix::fs::statvfs(dir.path()).unwrap();
        let full = StatVfs { f_frsize: 4096, f_blocks: 1_000, f_bfree: 50, f_bavail: 0, ..disk };
        let space = Space::new(dir.path(), &Limits { disk_floor_bytes: 100, ..Limits::default() });
        let room = |disk: &StatVfs| space.room_with(available(disk));
        assert_eq!(room(&full), Room::BelowFloor);
        assert_eq!(room(&StatVfs { f_bavail: 1, ..full }), Room::Enough);
        assert_eq!(room(&StatVfs { f_blocks: 0, f_bfree: 0, ..full }), Room::Enough);
        let mut space = space;
        space.set_available(Some(&full), 700);
        assert_eq!(space.available_bytes(), Some(700), "pages that are free in the database count");
        space.set_available(Some(&StatVfs { f_blocks: 0, ..full }), 700);
        assert_eq!(space.available_bytes(), None);
    }

    #[test]
    fn growth_stops_at_the_floor_and_new_agents_at_twice_the_floor() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { disk_floor_bytes: 100, ..Limits::default() };
        let space = Space::new(dir.path(), &limits);
        let rooms = [99, 100, 199, 200].map(|available| space.room_with(available));
        assert_eq!(rooms, [Room::BelowFloor, Room::NearFloor, Room::NearFloor, Room::Enough]);
    }
}
