//! Real disks that are full or fail: a small ext4 in a file, and a tmpfs with a size. They need root, or `sudo`.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once};

use bytes::Bytes;
use doorbell_protocol::id::AgentId;
use doorbell_store::{CommitError, Engine, Limits, NewMessage, SqliteEngine, Store, StoreError, Write};
use tempfile::TempDir;

use crate::bed::*;

const MIB: u64 = 1 << 20;

/// A small file system of its own.
struct Disk {
    mounted: PathBuf,
    /// What must be unmounted and removed after it.
    _below: Option<Box<Disk>>,
    _dir: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ext4,
    Tmpfs,
}

impl Disk {
    /// `None`, with a line that says so, where this user may not mount.
    fn new(kind: Kind, bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = match kind {
            Kind::Ext4 => mount_image(dir.path(), &dir.path().join("image"), bytes, 0),
            Kind::Tmpfs => {
                let size = format!("size={bytes}");
                mount(dir.path(), &["-t", "tmpfs", "-o", &size, "tmpfs"])
            }
        };
        Some(Self { mounted: mounted.or_else(skipped)?, _below: None, _dir: dir })
    }

    /// An ext4 of which only root may use some percent, as is usual.
    fn with_blocks_for_root(bytes: u64, percent: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = mount_image(dir.path(), &dir.path().join("image"), bytes, percent).or_else(skipped)?;
        Some(Self { mounted, _below: None, _dir: dir })
    }

    /// An ext4 that believes in more room than the disk below it has: its writes fail with EIO.
    fn failing() -> Option<Self> {
        let below = Self::new(Kind::Tmpfs, 24 * MIB)?;
        let dir = tempfile::tempdir().unwrap();
        let mounted = mount_image(dir.path(), &below.mounted.join("image"), 256 * MIB, 0).or_else(skipped)?;
        Some(Self { mounted, _below: Some(Box::new(below)), _dir: dir })
    }

    fn state(&self) -> PathBuf {
        self.mounted.join("state")
    }

    fn reserve(&self) -> PathBuf {
        self.state().join("doorbell.reserve")
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }

    /// Fills what is left, as another program does.
    fn fill(&self) {
        let mut ballast = File::options().append(true).create(true).open(self.ballast()).unwrap();
        for size in [65_536, 4_096, 512, 1] {
            while ballast.write_all(&vec![1; size]).and_then(|()| ballast.sync_data()).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(privileged("umount").arg("-l").arg(&self.mounted));
    }
}

/// `for_root`: the percentage of blocks that only root may use.
fn mount_image(dir: &Path, image: &Path, bytes: u64, for_root: u32) -> Option<PathBuf> {
    File::create(image).unwrap().set_len(bytes).unwrap();
    let for_root = for_root.to_string();
    let made =
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", &for_root, "-E", "lazy_itable_init=0"]).arg(image));
    made.then(|| mount(dir, &["-o", "loop", image.to_str().unwrap()])).flatten()
}

fn mount(dir: &Path, what: &[&str]) -> Option<PathBuf> {
    let mounted = dir.join("mounted");
    fs::create_dir(&mounted).unwrap();
    if !run(privileged("mount").args(what).arg(&mounted)) {
        return None;
    }
    assert!(run(privileged("chown").arg(rustix::process::geteuid().as_raw().to_string()).arg(&mounted)));
    Some(mounted)
}

fn privileged(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A sandbox may refuse it to root too, on CI as well.
fn skipped() -> Option<PathBuf> {
    eprintln!("SKIPPED: this test must mount a disk, which needs root, or `sudo -n`, and mkfs.ext4");
    None
}

/// Runs a test on each kind of disk.
async fn on_each_disk(bytes: u64, test: impl AsyncFn(&Disk, Kind)) {
    for kind in [Kind::Ext4, Kind::Tmpfs] {
        let Some(disk) = Disk::new(kind, bytes) else { return };
        test(&disk, kind).await;
    }
}

fn limits() -> Limits {
    Limits {
        reserve_bytes: 2 * MIB,
        messages_per_agent_max: 100_000,
        bytes_per_agent_max: 1 << 40,
        ..Limits::default()
    }
}

async fn populated(disk: &Disk, limits: Limits) -> Store {
    let store = open(&disk.state(), limits);
    populate(&store).await;
    store
}

/// A store with messages from [`FIRST`] on.
async fn with_messages(disk: &Disk) -> Store {
    let store = populated(disk, limits()).await;
    for raw in FIRST..FIRST + MESSAGES {
        store.append(big(raw)).await.unwrap();
    }
    store
}

/// The other program has removed its file: everything is taken again.
async fn recovers(disk: &Disk, store: &Store) {
    fs::remove_file(disk.ballast()).unwrap();
    store.sweep(NOON, 100).await.unwrap();
    store.append(big(90_000)).await.unwrap();
    assert!(disk.reserve().exists(), "{}", disk.mounted.display());
}

/// The messages of [`with_messages`].
const FIRST: i64 = 101;
const MESSAGES: i64 = 199;

/// Writes that share a commit.
const TOGETHER: usize = 16;

fn agent(raw: i64) -> AgentId {
    AgentId::from_raw(raw)
}

fn big(raw: i64) -> NewMessage {
    NewMessage { body: Bytes::from(vec![7; 4096]), ..news(raw) }
}

/// Appends until the store refuses; what it kept, and the refusal.
async fn append_until_refused(store: &Store, first: i64) -> (Vec<i64>, StoreError) {
    let mut kept = Vec::new();
    for start in (first..).step_by(TOGETHER) {
        let together: Vec<_> = (start..).take(TOGETHER).map(|raw| (raw, store.append(big(raw)))).collect();
        let mut refused = None;
        for (raw, append) in together {
            match append.await {
                Ok(_) => kept.push(raw),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            return (kept, error);
        }
    }
    unreachable!("a disk is not endless")
}

/// The same until the disk stays full: a log that was moved returns its room, and some systems do so a moment later.
async fn append_until_full(store: &Store, first: i64) -> (Vec<i64>, StoreError) {
    let (mut all, mut refused_in_a_row) = (Vec::new(), 0);
    loop {
        let next = all.last().map_or(first, |last| last + 100);
        let (kept, refusal) = append_until_refused(store, next).await;
        refused_in_a_row = if kept.is_empty() { refused_in_a_row + 1 } else { 0 };
        if refused_in_a_row == 10 || refusal != StoreError::NoRoom {
            return (all, refusal);
        }
        all.extend(kept);
    }
}

async fn erase(store: &Store, messages: impl Iterator<Item = i64>) {
    let messages: Vec<_> = messages.collect();
    for some in messages.chunks(TOGETHER) {
        let together: Vec<_> = some.iter().map(|raw| store.erase(id(*raw), ALICE, DELIVERED, NOON)).collect();
        for erased in together {
            assert!(erased.await.unwrap().existed);
        }
    }
}

async fn ids(store: &Store) -> Vec<i64> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.pending(ALICE, after, 1_000, NOON).await.unwrap();
        all.extend(page.entries.iter().map(|entry| entry.id.raw()));
        after = page.entries.last().map(|entry| entry.id);
        if !page.more {
            return all;
        }
    }
}

/// What all tests of this process log: a collector of one thread may not see what other tests made uninteresting.
struct Log;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn collect() {
        static COLLECT: Once = Once::new();
        COLLECT.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
    }

    /// The lines about this disk that have `text`.
    fn count(disk: &Disk, text: &str) -> usize {
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        let state = disk.state();
        log.lines().filter(|line| line.contains(text) && line.contains(state.to_str().unwrap())).count()
    }
}

#[tokio::test]
async fn a_full_disk_takes_what_frees_room_and_everything_again_once_there_is_room() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = populated(disk, limits()).await;
        assert_eq!(disk.reserve().metadata().unwrap().len(), 2 * MIB, "{kind:?}");
        let (mut kept, refusal) = append_until_full(&store, 101).await;
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        assert!(kept.len() > 1_000, "{kind:?}: {} messages", kept.len());
        assert!(!disk.reserve().exists(), "{kind:?}: the reserve is given up");
        assert_eq!(store.create_agent(agent(77), NOON).await, Err(StoreError::NoRoom), "{kind:?}");
        assert_eq!(store.create_agent(ALICE, NOON).await, Err(StoreError::IdTaken), "{kind:?}: it needs no room");
        assert_eq!(ids(&store).await, kept, "{kind:?}: what was accepted is there, and the refused message is not");

        erase(&store, kept.drain(..100)).await;
        assert!(store.sweep(NOON, 100).await.is_ok(), "{kind:?}");
        assert_eq!(ids(&store).await, kept, "{kind:?}");

        let half = kept.len() / 2;
        erase(&store, kept.drain(..half)).await;
        let removed = store.sweep(NOON, 100).await;
        assert!(removed.is_ok(), "{kind:?}");
        assert!(disk.reserve().exists(), "{kind:?}: the reserve comes back first");
        store.append(big(90_000)).await.unwrap();
        kept.push(90_000);
        store.close().await.unwrap();
        let store = open(&disk.state(), limits());
        assert_eq!(ids(&store).await, kept, "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn the_sweep_of_what_has_expired_frees_a_full_disk_by_itself() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = populated(disk, limits()).await;
        let (kept, refusal) = append_until_full(&store, 101).await;
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        let mut swept = 0;
        loop {
            let step = store.sweep(minutes(120), 100).await.unwrap();
            swept += step.removed as usize;
            if !step.more {
                break;
            }
        }
        assert_eq!(swept, kept.len(), "{kind:?}");
        assert!(append_until_refused(&store, 50_000).await.0.len() > 1_000, "{kind:?}: its room is used again");
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_another_program_fills_is_no_end_either() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = with_messages(disk).await;
        disk.fill();
        let (kept, refusal) = append_until_full(&store, FIRST + MESSAGES).await;
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        // The room of the reserve is gone too.
        disk.fill();
        let removed = store.delete_subscription(ALICE, ALICE_CHAT, NOON, NOON).await;
        assert!(matches!(removed, Ok(_) | Err(StoreError::NoRoom)), "{kind:?}: {removed:?}");
        assert_eq!(ids(&store).await.len(), MESSAGES as usize + kept.len(), "{kind:?}: it can still be read");

        recovers(disk, &store).await;
    })
    .await;
}

#[tokio::test]
async fn the_reserve_does_not_come_back_from_blocks_that_only_root_may_use() {
    let Some(disk) = Disk::with_blocks_for_root(32 * MIB, 25) else { return };
    let store = populated(&disk, limits()).await;
    disk.fill();
    let (_, refusal) = append_until_full(&store, 101).await;
    assert_eq!(refusal, StoreError::NoRoom);
    let room = || rustix::fs::statvfs(&disk.mounted).map(|disk| (disk.f_bfree * disk.f_frsize, disk.f_bavail)).unwrap();
    // Root fills all blocks, another user leaves those for root.
    let ballast = File::options().write(true).open(disk.ballast()).unwrap();
    while room().0 < 6 * MIB {
        ballast.set_len(ballast.metadata().unwrap().len() - MIB).unwrap();
    }
    assert_eq!(room().1, 0);
    store.sweep(NOON, 100).await.unwrap();
    assert_eq!(store.append(big(90_000)).await, Err(StoreError::NoRoom));
    assert!(!disk.reserve().exists());
    drop(ballast);
    recovers(&disk, &store).await;
}

#[tokio::test]
async fn a_store_starts_on_a_full_disk_with_and_without_its_reserve() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = with_messages(disk).await;
        store.close().await.unwrap();
        disk.fill();

        let store = open(&disk.state(), limits());
        assert!(store.erase(id(101), ALICE, DELIVERED, NOON).await.unwrap().existed, "{kind:?}");
        let (_, refusal) = append_until_full(&store, FIRST + MESSAGES).await;
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        assert!(!disk.reserve().exists(), "{kind:?}");
        assert!(store.erase(id(102), ALICE, DELIVERED, NOON).await.unwrap().existed, "{kind:?}");
        store.close().await.unwrap();

        let store = open(&disk.state(), limits());
        assert_eq!(store.append(big(10_000)).await, Err(StoreError::NoRoom), "{kind:?}: there is no reserve yet");
        assert!(store.erase(id(103), ALICE, DELIVERED, NOON).await.unwrap().existed, "{kind:?}");
        recovers(disk, &store).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_byte_of_room_and_without_its_reserve_a_store_says_what_to_do_and_starts_later() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = with_messages(disk).await;
        disk.fill();
        let (kept, refusal) = append_until_full(&store, FIRST + MESSAGES).await;
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        store.close().await.unwrap();
        drop(store);
        disk.fill();

        // A tmpfs may give the last page to the index of the log.
        if let Err(error) = Store::open_sqlite(&disk.state(), limits()) {
            assert!(error.to_string().contains("free a few MiB"), "{kind:?}: {error}");
        }
        fs::remove_file(disk.ballast()).unwrap();
        let store = open(&disk.state(), limits());
        assert_eq!(ids(&store).await.len(), MESSAGES as usize + kept.len(), "{kind:?}");
        store.append(big(10_000)).await.unwrap();
        assert!(disk.reserve().exists(), "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn the_floor_refuses_growth_before_the_disk_is_full() {
    on_each_disk(16 * MIB, async |disk, kind| {
        let store = populated(disk, Limits { disk_floor_bytes: 4 * MIB, ..limits() }).await;
        let (mut kept, mut new_agents) = (Vec::new(), 0);
        let refusal = loop {
            let next = 10_000 * (1 + i64::from(new_agents));
            if store.create_agent(agent(next), NOON).await == Err(StoreError::NoRoom) {
                let (more, refusal) = append_until_refused(&store, next).await;
                assert!(more.len() > 500, "{kind:?}: messages are refused later than agents ({})", more.len());
                kept.extend(more);
                break refusal;
            }
            new_agents += 1;
            store.append(big(next + 1)).await.unwrap();
            kept.push(next + 1);
        };
        assert_eq!(refusal, StoreError::NoRoom, "{kind:?}");
        assert!(disk.reserve().exists(), "{kind:?}: the disk is not full");
        store.touch(ALICE, minutes(3_000)).await.unwrap();
        erase(&store, kept.into_iter()).await;
        store.append(big(90_000)).await.unwrap();
    })
    .await;
}

#[test]
fn a_full_disk_is_an_error_in_the_log_once_when_it_begins_and_a_line_when_it_ends() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 24 * MIB) else { return };
    Log::collect();
    let mut engine = SqliteEngine::open(&disk.state(), limits()).unwrap();
    let created =
        [Write::CreateAgent { id: ALICE, served: NOON }, Write::CreateSubscription(subscription(ALICE_NEWS, ALICE))];
    engine.commit(&created).unwrap();
    let mut raw = 100;
    // The log's move may find the full disk before a commit does.
    loop {
        raw += 1;
        match engine.commit(&[Write::Append(big(raw))]).as_deref() {
            Ok([Ok(_)]) => engine.tidy().unwrap(),
            Ok([Err(StoreError::NoRoom)]) | Err(CommitError::NoRoom(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..10 {
        let refused = engine.commit(&[Write::Append(big(99_999))]).unwrap();
        assert_eq!(refused[0], Err(StoreError::NoRoom));
        engine.commit(&[Write::Sweep { now: NOON, max: 10 }]).unwrap();
        engine.tidy().unwrap();
    }
    assert_eq!((Log::count(&disk, "ERROR"), Log::count(&disk, "the disk is full")), (1, 1));
    engine.commit(&[Write::DeleteAgent { id: ALICE, now: NOON }]).unwrap();
    for _ in 0..10 {
        engine.tidy().unwrap();
    }
    assert_eq!((Log::count(&disk, "ERROR"), Log::count(&disk, "has room again")), (1, 1));
}

#[test]
fn each_step_towards_the_floor_is_in_the_log_once_however_often_the_room_changes_at_its_bound() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 24 * MIB) else { return };
    Log::collect();
    let mut engine = SqliteEngine::open(&disk.state(), Limits { disk_floor_bytes: 4 * MIB, ..limits() }).unwrap();
    let ballast = File::create(disk.ballast()).unwrap();
    let mut leave_kib = |kib: u64| {
        let room = rustix::fs::statvfs(&disk.mounted).unwrap();
        let wanted = ballast.metadata().unwrap().len() + room.f_bavail * room.f_frsize - kib * 1024;
        ballast.set_len(wanted.min(ballast.metadata().unwrap().len())).unwrap();
        let held = ballast.metadata().unwrap().len();
        (&ballast).seek(SeekFrom::End(0)).unwrap();
        (&ballast).write_all(&vec![1; usize::try_from(wanted - held).unwrap()]).unwrap();
        engine.tidy().unwrap();
        ["has little room", "is nearly full", "has room again"].map(|text| Log::count(&disk, text))
    };
    assert_eq!(leave_kib(9 * 1024), [0, 0, 0]);
    for _ in 0..5 {
        assert_eq!(leave_kib(8 * 1024 - 64), [1, 0, 0]);
        assert_eq!(leave_kib(8 * 1024 + 64), [1, 0, 0]);
    }
    for _ in 0..5 {
        assert_eq!(leave_kib(4 * 1024 - 64), [1, 1, 0]);
        assert_eq!(leave_kib(4 * 1024 + 64), [1, 1, 0]);
    }
    assert_eq!(leave_kib(6 * 1024), [1, 1, 1]);
    assert_eq!(leave_kib(10 * 1024), [1, 1, 2]);
    assert_eq!(leave_kib(7 * 1024), [2, 1, 2]);
}

#[tokio::test]
async fn a_disk_that_fails_accepts_nothing_and_stops_the_store() {
    let Some(disk) = Disk::failing() else { return };
    let store = populated(&disk, Limits { reserve_bytes: 0, ..limits() }).await;
    let (kept, refusal) = append_until_refused(&store, 101).await;
    assert!(matches!(refusal, StoreError::Unknown | StoreError::Unavailable), "{refusal} after {}", kept.len());
    let failure = store.failed().await;
    // The errno depends on the layers below.
    assert!(
        ["I/O error", "No space left", "os error 5"].iter().any(|text| failure.to_string().contains(text)),
        "{failure}"
    );
    assert_eq!(store.append(big(99_999)).await, Err(StoreError::Unavailable));
}
