//! PostgreSQL servers of the tests' own: each in a temporary directory, and gone with the process that started it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use doorbell_store::PostgresOptions;
use rustix::process::geteuid;

/// The user of the servers, who may do everything, and its password over TCP.
pub(crate) const PASSWORD: &str = "correct horse";

/// Waits for the end of the process that started the server, also by a signal that its whole group gets, and then removes
/// the server.
const WATCH: &str = "trap '' HUP INT TERM; cat >/dev/null; pid=$(head -n 1 \"$1/data/postmaster.pid\"); kill -QUIT $pid; \
    while kill -0 $pid; do sleep 0.1; done; rm -rf \"$1\"";

pub(crate) struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    options: String,
    databases: AtomicU64,
    /// It reads from this process, and so learns of its end.
    watch: Child,
}

/// The server that the cases share; `None`: PostgreSQL is missing.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start("")).as_ref()
}

/// A database of the shared server that is used again and again.
pub(crate) fn reused() -> Option<(&'static Server, &'static PostgresOptions)> {
    static REUSED: OnceLock<Option<PostgresOptions>> = OnceLock::new();
    let server = shared()?;
    Some((server, REUSED.get_or_init(|| Some(server.fresh())).as_ref()?))
}

impl Server {
    /// Starts a server with `options` (`-c NAME=VALUE`).
    pub(crate) fn start(options: &str) -> Option<Self> {
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
    pub(crate) fn with_tls() -> Option<(Self, String)> {
        let built = programs().and_then(|bin| Command::new(bin.join("pg_config")).arg("--configure").output().ok());
        if built.is_some_and(|built| !String::from_utf8_lossy(&built.stdout).contains("ssl")) {
            assert!(!is_in_ci(), "the server is built without TLS");
            eprintln!("!! SKIPPED: this PostgreSQL is built without TLS");
            return None;
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts a standby of `primary`.
    pub(crate) fn standby_of(primary: &Self) -> Option<Self> {
        Self::prepare("", |server| {
            let mut copy = server.command("pg_basebackup");
            copy.args(["-U", "doorbell", "-R", "--checkpoint=fast", "-p", &primary.port.to_string(), "-h"]);
            done(copy.arg(&primary.dir).arg("-D").arg(server.data()));
        })
    }

    fn prepare(options: &str, fill: impl Fn(&Self)) -> Option<Self> {
        let Some(bin) = programs() else {
            assert!(!is_in_ci(), "PostgreSQL is missing: `cargo xtask setup` installs it");
            eprintln!("!! SKIPPED: PostgreSQL is missing; `cargo xtask setup` installs it");
            return None;
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
    pub(crate) fn go(&self) {
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
    pub(crate) fn kill(&self) {
        kill_server(&self.data());
    }

    /// The options to open a fresh database.
    pub(crate) fn fresh(&self) -> PostgresOptions {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.options(&name)
    }

    pub(crate) fn options(&self, database: &str) -> PostgresOptions {
        let host = self.dir.display().to_string().replace('/', "%2F");
        let url = format!("postgres://doorbell@{host}:{}/{database}", self.port);
        PostgresOptions { url, allow_single_copy: true, cluster: None }
    }

    /// The address over TCP.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs statements and returns the rows.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        query(&self.bin, &self.dir, self.port, database, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One of its programs, as the user of the server: it refuses root.
    fn command(&self, program: &str) -> Command {
        let mut command = server_user(&self.bin.join(program));
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

/// The database of these options.
pub(crate) fn database(options: &PostgresOptions) -> &str {
    options.url.rsplit('/').next().unwrap()
}

/// The directory of the newest version's programs.
pub(super) fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::var_os("DOORBELL_POSTGRES_BIN").map(PathBuf::from);
    let all = first.into_iter().chain(dirs.into_iter().rev()).chain(std::env::split_paths(&path));
    all.into_iter().find(|dir| dir.join("initdb").exists())
}

pub(super) fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(output.success(), "{command:?}: {output}");
}

pub(super) fn is_in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// A program as the user of the servers: they refuse root.
pub(super) fn server_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

/// Gives a directory to the user of the servers.
pub(super) fn own(dir: &Path) {
    if geteuid().is_root() {
        let id = Command::new("id").args(["-u", "postgres"]).output().unwrap();
        let id = String::from_utf8(id.stdout).unwrap().trim().parse().unwrap();
        chown(dir, Some(id), Some(id)).unwrap();
    }
}

/// Runs statements at the server with this socket, and returns the rows.
pub(super) fn query(bin: &Path, socket: &Path, port: u16, database: &str, text: &str) -> Result<String, String> {
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "doorbell", "-d", database, "-c", text]);
    psql.arg("-h").arg(socket).args(["-p", &port.to_string()]);
    let output = psql.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Kills the server with this data as a failure of the machine would: all of its processes, without a last word.
pub(super) fn kill_server(data: &Path) {
    let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    done(Command::new("kill").args(["-KILL", &pid]).args(children.split_whitespace()));
    while Path::new("/proc").join(&pid).exists() {
        std::thread::yield_now();
    }
}
