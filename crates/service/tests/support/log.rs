//! What the process of a test logs.

use std::io::Write;
use std::sync::{Mutex, Once};

/// What all tests of this process log: a collector of one thread may not see what other tests made uninteresting.
pub struct Log;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects from now on.
    pub fn collect() {
        static COLLECT: Once = Once::new();
        COLLECT.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Self).init());
    }

    /// The lines of this level with this text.
    pub fn count(level: &str, text: &str) -> usize {
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(level) && line.contains(text)).count()
    }
}
