//! What a durable message takes at least on this machine: one sync of the disk, and one round trip over loopback. Both are
//! measured at the rate of the messages, because a core, a disk and their caches that were idle answer later.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::clock;
use crate::error::{Blame, Result};
use crate::latencies::Latencies;

/// How often each is measured at most.
const TIMES_MAX: u64 = 200;
/// A page of the database's log.
const PAGE: usize = 4096;
/// A message of the usual size.
const MESSAGE: usize = 1024;

/// Both distributions.
#[derive(Default)]
pub(super) struct Floor {
    pub(super) disk: Latencies,
    pub(super) loopback: Latencies,
}

impl Floor {
    /// Measures some more: the disk on which `state` is, if that is known, and loopback; `rate` times a second, for
    /// `seconds` at most.
    pub(super) async fn measure(&mut self, state: Option<&Path>, rate: f64, seconds: u64) -> Result<()> {
        let pause = Duration::from_secs_f64(1.0 / rate).min(Duration::from_secs(seconds));
        let times = (Duration::from_secs(seconds).div_duration_f64(pause) as u64).clamp(1, TIMES_MAX);
        if let Some(state) = state {
            let state = state.to_path_buf();
            let shown = state.display().to_string();
            let synced = spawn_blocking(move || syncs(state, pause, times)).await.blame_generator("a thread failed")?;
            self.disk.add(&synced.blame_generator(format_args!("cannot write in {shown}"))?);
        }
        self.loopback.add(&round_trips(pause, times).await.blame_generator("cannot use loopback")?);
        Ok(())
    }
}

/// Overwrites one page after the other and syncs each, as a log does that has been used before.
fn syncs(state: PathBuf, pause: Duration, times: u64) -> io::Result<Latencies> {
    let file = tempfile::tempfile_in(state)?;
    let page = [0x5a; PAGE];
    let at = |n: u64| n * PAGE as u64;
    (0..times).try_for_each(|n| file.write_all_at(&page, at(n)))?;
    file.sync_all()?;
    let mut latencies = Latencies::default();
    for n in 0..times {
        std::thread::sleep(pause);
        let begun = clock::now();
        write_durably(&file, &page, at(n))?;
        latencies.record(clock::now() - begun);
    }
    Ok(latencies)
}

fn write_durably(file: &File, page: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(page, at)?;
    file.sync_data()
}

async fn round_trips(pause: Duration, times: u64) -> io::Result<Latencies> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut near = TcpStream::connect(listener.local_addr()?).await?;
    let (mut far, _) = listener.accept().await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = tokio::spawn(async move {
        let mut message = [0; MESSAGE];
        while far.read_exact(&mut message).await.is_ok() {
            far.write_all(&message).await?;
        }
        io::Result::Ok(())
    });
    let (message, mut answer) = ([0x5a; MESSAGE], [0; MESSAGE]);
    let mut latencies = Latencies::default();
    for _ in 0..times {
        sleep(pause).await;
        let begun = clock::now();
        near.write_all(&message).await?;
        near.read_exact(&mut answer).await?;
        latencies.record(clock::now() - begun);
    }
    drop(near);
    echo.await??;
    Ok(latencies)
}
