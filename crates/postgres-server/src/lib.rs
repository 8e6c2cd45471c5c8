//! PostgreSQL servers for tests: each in a temporary directory, and gone with the process that started it.
//!
//! ```no_run
//! use doorbell_postgres_server::Server;
//!
//! let Some(server) = Server::start("") else { return };
//! let database = server.create_database();
//! println!("{}", server.url(&database));
//! ```
//! The programs are those of the newest version that is installed, or of the directory that `DOORBELL_POSTGRES_BIN` names.
//! Where there are none, nothing starts and the caller skips its test; in CI that is a failure.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod patroni;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::geteuid;

pub use patroni::Patroni;

/// The password of the servers' user, who may do everything. Over TCP it is needed.
pub const PASSWORD: &str = "correct horse";

/// Waits for the end of the process that started the server, also by a signal that its whole group gets, and then removes
/// the server.
const WATCH: &str = "trap '' HUP INT TERM; cat >/dev/null; pid=$(head -n 1 \"$1/data/postmaster.pid\"); kill -QUIT $pid; \
    while kill -0 $pid; do sleep 0.1; done; rm -rf \"$1\"";

/// A running server, whose user is called `doorbell`.
pub struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    options: String,
    databases: AtomicU64,
    /// It reads from this process, and so learns of its end.
    watch: Child,
}

/// The server that the tests of a process share; `None`: PostgreSQL is missing.
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start("")).as_ref()
}

impl Server {
    /// Starts a server with `options` (`-c NAME=VALUE`). Over TCP its user needs [`PASSWORD`].
    pub fn start(options: &str) -> Option<Self> {
        Self::prepare(options, |server| {
            let secret = server.dir.join("password");
            fs::write(&secret, PASSWORD).unwrap();
            let mut init = server.command("initdb");
            init.args([
                "-U",
                "doorbell",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--locale=C",
                "-E",
                "UTF8",
            ]);
            done(init.arg("--pwfile").arg(&secret).arg("-D").arg(server.data()));
        })
    }

    /// Starts a server that encrypts, and returns the certificate that it shows: for `localhost`.
    pub fn with_tls() -> Option<(Self, String)> {
        let built = programs().and_then(|bin| Command::new(bin.join("pg_config")).arg("--configure").output().ok());
        if built.is_some_and(|built| !String::from_utf8_lossy(&built.stdout).contains("ssl")) {
            return skipped("this PostgreSQL is built without TLS");
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.pem();
        let server = Self::prepare("-c ssl=on", |server| {
            let password = server.dir.join("password");
            fs::write(&password, PASSWORD).unwrap();
            let mut init = server.command("initdb");
            init.args(["-U", "doorbell", "--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"]);
            done(init.arg(&password).arg("-D").arg(server.data()));
            let owner = fs::metadata(server.data()).unwrap();
            for (name, text) in [("server.crt", certificate.clone()), ("server.key", made.signing_key.serialize_pem())]
            {
                let path = server.data().join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
        })?;
        Some((server, certificate))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its first process.
    pub fn pid(&self) -> String {
        first_pid(&self.data())
    }

    /// Starts a standby of `primary`.
    pub fn standby_of(primary: &Self) -> Option<Self> {
        Self::prepare("", |server| {
            let mut copy = server.command("pg_basebackup");
            copy.args(["-U", "doorbell", "-R", "--checkpoint=fast", "-p", &primary.port.to_string(), "-h"]);
            done(copy.arg(&primary.dir).arg("-D").arg(server.data()));
        })
    }

    fn prepare(options: &str, fill: impl Fn(&Self)) -> Option<Self> {
        let Some(bin) = programs() else {
            return skipped("PostgreSQL is missing: `cargo xtask setup` installs it");
        };
        let dir = tempfile::tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "watch"]).arg(&dir).stdin(Stdio::piped());
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let databases = AtomicU64::new(0);
        let server = Self { bin, dir, port, options: options.into(), databases, watch };
        own(&server.dir);
        fill(&server);
        server.go();
        Some(server)
    }

    /// Starts it, again after [`Self::kill`].
    pub fn go(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -p {} -k {} -c max_connections=200 {}",
            self.port,
            self.dir.display(),
            self.options
        );
        let mut start = self.command("pg_ctl");
        start.arg("start").arg("-w").arg("-D").arg(self.data()).arg("-o").arg(options);
        done(start.arg("-l").arg(self.dir.join("log")));
    }

    /// Kills it as a failure of the machine would: all of its processes, without a last word.
    pub fn kill(&self) {
        kill(&self.data());
    }

    /// Stops it as its operator would: sessions end at once, and what was committed is on its disk.
    pub fn stop(&self) {
        let mut stop = self.command("pg_ctl");
        done(stop.arg("stop").args(["-w", "-m", "fast", "-D"]).arg(self.data()));
    }

    /// Its processes stand still until [`Self::resume`]: connections stay open, and nothing answers.
    pub fn pause(&self) {
        signal(&self.data(), "-STOP");
    }

    /// It goes on after [`Self::pause`].
    pub fn resume(&self) {
        signal(&self.data(), "-CONT");
    }

    /// Creates a database and returns its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database by the server's socket, where no password is needed.
    pub fn url(&self, database: &str) -> String {
        let host = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://doorbell@{host}:{}/{database}", self.port)
    }

    /// The same by TCP, with the password.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgres://doorbell:{}@{}/{database}", PASSWORD.replace(' ', "%20"), self.host())
    }

    /// The address over TCP.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs statements and returns the rows.
    pub fn sql(&self, database: &str, text: &str) -> String {
        query(&self.bin, &self.dir, self.port, database, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One of its programs, as the user of the server: it refuses root.
    fn command(&self, program: &str) -> Command {
        let mut command = as_owner(&self.bin.join(program));
        command.current_dir(&self.dir);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        self.watch.wait().ok();
    }
}

/// The directory of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::var_os("DOORBELL_POSTGRES_BIN").map(PathBuf::from);
    let all = first.into_iter().chain(dirs.into_iter().rev()).chain(std::env::split_paths(&path));
    all.into_iter().find(|dir| dir.join("initdb").exists())
}

fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(output.success(), "{command:?}: {output}");
}

/// Says why a test is skipped; in CI that is a failure.
fn skipped<T>(why: &str) -> Option<T> {
    let is_in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    assert!(!is_in_ci, "{why}");
    eprintln!("!! SKIPPED: {why}");
    None
}

/// A program as the user of the servers: they refuse root.
fn as_owner(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

/// Gives a directory to the user of the servers.
fn own(dir: &Path) {
    if geteuid().is_root() {
        let id = Command::new("id").args(["-u", "postgres"]).output().unwrap();
        let id = String::from_utf8(id.stdout).unwrap().trim().parse().unwrap();
        chown(dir, Some(id), Some(id)).unwrap();
    }
}

/// Runs statements at the server with this socket, and returns the rows.
fn query(bin: &Path, socket: &Path, port: u16, database: &str, text: &str) -> Result<String, String> {
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "doorbell", "-d", database, "-c", text]);
    psql.arg("-h").arg(socket).args(["-p", &port.to_string()]);
    let output = psql.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Kills the server with this data, and waits until it is gone.
fn kill(data: &Path) {
    let pid = signal(data, "-KILL");
    while Path::new("/proc").join(&pid).exists() {
        std::thread::yield_now();
    }
}

/// Sends a signal to all processes of the server with this data, and returns the first one's number.
fn signal(data: &Path, signal: &str) -> String {
    let pid = first_pid(data);
    let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    done(Command::new("kill").args([signal, &pid]));
    // One that has ended meanwhile is an error of no weight.
    Command::new("kill").arg(signal).args(children.split_whitespace()).stderr(Stdio::null()).status().unwrap();
    pid
}

/// The number of the first process of the server with this data.
fn first_pid(data: &Path) -> String {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    file.lines().next().unwrap().to_owned()
}
