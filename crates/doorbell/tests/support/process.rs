//! A child process whose lines of output can be waited for, and that dies with its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::clock::Deadline;

/// A running process.
pub struct Running {
    child: Child,
    stdout: Receiver<String>,
    transcript: Arc<Transcript>,
}

/// Everything that a process wrote.
#[derive(Default)]
struct Transcript {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Running {
    /// Starts `command`. Settings of ours in the developer's environment do not reach it.
    pub fn start(command: &mut Command) -> Self {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
            command.env_remove(name);
        }
        // Nor does the developer's session: two desktop parts in it would be one too many.
        if !command.get_envs().any(|(name, _)| name == "XDG_RUNTIME_DIR") {
            command.env_remove("XDG_RUNTIME_DIR");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let transcript = Arc::new(Transcript::default());
        transcript.add(format!("$ {command:?}"));
        let (lines, stdout) = channel();
        let errors = child.stderr.take().expect("stderr is piped");
        read(errors, "! ", transcript.clone(), None);
        read(child.stdout.take().expect("stdout is piped"), "", transcript.clone(), Some(lines));
        Self { child, stdout, transcript }
    }

    /// Waits for a line of its stdout from which `find` takes something; lines before it are used up.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Deadline::soon();
        loop {
            match self.stdout.recv_timeout(deadline.left()) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return found;
                    }
                }
                Err(why) => panic!("no {what} ({why}); its output was:\n{}", self.output()),
            }
        }
    }

    /// Waits until it has written `words`, to stdout or stderr: the first such line.
    pub fn prints(&self, words: &str) -> String {
        let deadline = Deadline::soon();
        let mut lines = self.transcript.lines.lock().expect("no reader panics");
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let (more, waited) = self.transcript.grown.wait_timeout(lines, deadline.left()).expect("no reader panics");
            assert!(!waited.timed_out(), "it does not print {words:?}; its output was:\n{}", more.join("\n"));
            lines = more;
        }
    }

    /// Waits until it has written so many lines with `words`.
    pub fn prints_times(&self, words: &str, times: usize) {
        let deadline = Deadline::soon();
        let mut lines = self.transcript.lines.lock().expect("no reader panics");
        while lines.iter().filter(|line| line.contains(words)).count() < times {
            let (more, waited) = self.transcript.grown.wait_timeout(lines, deadline.left()).expect("no reader panics");
            assert!(!waited.timed_out(), "it prints {words:?} not {times} times; it wrote:\n{}", more.join("\n"));
            lines = more;
        }
    }

    /// How many lines with `words` it has written so far.
    pub fn count(&self, words: &str) -> usize {
        let lines = self.transcript.lines.lock().expect("no reader panics");
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// Waits until it exits by itself; `rest` gets the lines of its stdout that the test has not waited for.
    pub fn exit(&mut self, mut rest: impl FnMut(&str)) -> ExitStatus {
        // Its output ends when it does, so that waiting for the one is waiting for the other.
        let deadline = Deadline::soon();
        while let Ok(line) = self.stdout.recv_timeout(deadline.left()) {
            rest(&line);
        }
        match self.child.try_wait() {
            Ok(Some(status)) => status,
            _ if deadline.left().is_zero() => panic!("it does not exit; its output was:\n{}", self.output()),
            _ => self.child.wait().expect("a child can be waited for"),
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: no warning, no clean-up.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM");
    }

    /// Everything it wrote so far; lines of stderr begin with `!`.
    pub fn output(&self) -> String {
        self.transcript.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Transcript {
    fn add(&self, line: String) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
            self.grown.notify_all();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}\n", self.output());
        }
    }
}

fn read(from: impl Read + Send + 'static, mark: &'static str, transcript: Arc<Transcript>, to: Option<Sender<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            transcript.add(format!("{mark}{line}"));
            if let Some(to) = &to {
                to.send(line).ok();
            }
        }
    });
}

/// Programs that keep the machine busy, as long as this value lives.
pub struct Busy {
    _programs: Vec<Running>,
}

impl Busy {
    /// Starts so many.
    pub fn with(count: usize) -> Self {
        let program = |_| Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
        Self { _programs: (0..count).map(program).collect() }
    }
}
