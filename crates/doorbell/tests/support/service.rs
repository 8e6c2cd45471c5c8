//! The real push service: `doorbell serve` on a free port, with a state directory of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use super::false_clock::FalseClock;
use super::process::Running;

/// A running service. Its state outlives its process, so that it can be killed and started again.
pub struct Service {
    state: TempDir,
    settings: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    port: u16,
    process: Running,
}

impl Service {
    /// Starts a service on a port that is free.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with settings, as flags.
    pub fn start_with(settings: &[&str]) -> Self {
        let state = tempfile::tempdir().expect("a state directory");
        Self::in_environment(state, settings, Vec::new())
    }

    /// The same without TLS and with a wall clock that the test sets.
    pub fn start_by(clock: &FalseClock, settings: &[&str]) -> Self {
        let settings = [&["--plain"], settings].concat();
        Self::in_environment(tempfile::tempdir().expect("a state directory"), &settings, clock.environment())
    }

    fn in_environment(state: TempDir, settings: &[&str], environment: Vec<(&'static str, OsString)>) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let (process, port) = serve(state.path(), 0, &settings, &environment);
        Self { state, settings, environment, port, process }
    }

    /// Waits until it has written `words`: the first such line.
    pub fn prints(&self, words: &str) -> String {
        self.process.prints(words)
    }

    /// Its origin, such as `https://127.0.0.1:40123`.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate authority that it made for itself.
    pub fn ca(&self) -> PathBuf {
        self.state.path().join("ca.pem")
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends in order, as a service manager asks it to.
    pub fn ends(&mut self) {
        self.terminate();
        self.has_ended();
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended in order.
    pub fn has_ended(&mut self) {
        assert!(self.process.exit(|_| {}).success(), "{}", self.process.output());
    }

    /// Waits until it ends by itself.
    pub fn fails(&mut self) -> ExitStatus {
        self.process.exit(|_| {})
    }

    /// Starts it again after [`Service::kill`] or [`Service::ends`]: same state, same port, so that its URLs are good again.
    pub fn start_again(&mut self) {
        (self.process, self.port) = serve(self.state.path(), self.port, &self.settings, &self.environment);
    }

    /// The same with one more flag, for this start only.
    pub fn start_again_with(&mut self, flag: &str) {
        let settings: Vec<String> = self.settings.iter().cloned().chain([flag.to_owned()]).collect();
        (self.process, self.port) = serve(self.state.path(), self.port, &settings, &self.environment);
    }

    /// Waits until it prints a command with our `verb`: the whole command line.
    pub fn suggests(&self, verb: &str) -> String {
        let words = format!("doorbell {verb} ");
        self.process.wait_for(&words, |line| line.contains(&words).then(|| line.trim().to_owned()))
    }

    /// Waits until it has written so many lines with `words`.
    pub fn prints_times(&self, words: &str, times: usize) {
        self.process.prints_times(words, times);
    }

    /// How many lines with `words` it has written so far.
    pub fn count(&self, words: &str) -> usize {
        self.process.count(words)
    }

    /// Its settings from the next start on, as flags.
    pub fn will_have(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&setting| setting.to_owned()).collect();
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// A service process and its port.
fn serve(state: &Path, port: u16, settings: &[String], environment: &[(&'static str, OsString)]) -> (Running, u16) {
    let mut command = doorbell("serve");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state).args(settings);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let process = Running::start(&mut command);
    let port = process.wait_for("line `listening on http…://…`", |line| {
        let (_, origin) = line.split_once("listening on ")?;
        let (_, authority) = origin.split_once("://")?;
        let (_, port) = authority.split_whitespace().next()?.trim_end_matches('/').rsplit_once(':')?;
        port.parse().ok()
    });
    (process, port)
}

/// The binary under test with one of its verbs.
pub fn doorbell(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbell"));
    command.arg(verb);
    command
}
