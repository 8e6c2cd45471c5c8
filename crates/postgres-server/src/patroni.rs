//! Three servers under Patroni with quorum commit: one of them is the primary, and when it is killed, another.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{PASSWORD, as_owner, done, kill, own, programs, query, skipped};

const NODES: usize = 3;

/// Longer than a lease and the copy of a server take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for the end of the process that started the all, and then ends and removes all of it.
const WATCH: &str = "trap '' HUP INT TERM; cat >/dev/null; kill -KILL $(cat \"$1\"/*.pid); \
    for file in \"$1\"/*/data/postmaster.pid; do pid=$(head -n 1 \"$file\"); kill -QUIT $pid; \
    while kill -0 $pid; do sleep 0.1; done; done; rm -rf \"$1\"";

/// A process that writes its number down, for [`WATCH`].
const NOTED: &str = "echo $$ >\"$0\"; exec \"$@\"";

/// What the nodes agree on. The lease of the primary is the shortest that Patroni allows.
const BOOTSTRAP: &str = "
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    primary_start_timeout: 0
    synchronous_mode: quorum
    synchronous_mode_strict: true
    synchronous_node_count: 1
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: 'on', max_connections: 100}
  initdb: [{encoding: UTF8}, {locale: C}]
";

struct Node {
    dir: PathBuf,
    port: u16,
    api: u16,
}

/// Three servers, each with its Patroni, and the etcd that decides who is the primary.
pub struct Patroni {
    bin: PathBuf,
    patroni: PathBuf,
    dir: PathBuf,
    nodes: Vec<Node>,
    watch: Child,
}

impl Patroni {
    /// Starts them; `None`: a tool is missing.
    pub fn start() -> Option<Self> {
        let patroni = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/patroni-python/bin/patroni");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let etcd = std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|etcd| etcd.is_file());
        let tools = (programs(), etcd, patroni.is_file());
        let (Some(bin), Some(etcd), true) = tools else {
            return skipped("PostgreSQL, etcd or Patroni is missing: `cargo xtask setup` installs them");
        };
        let dir = tempfile::tempdir().unwrap().keep();
        own(&dir);
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "watch"]).arg(&dir).stdin(Stdio::piped());
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (client, peer) = (free_port(), free_port());
        let node = |n| Node { dir: dir.join(format!("node{n}")), port: free_port(), api: free_port() };
        let nodes = (0..NODES).map(node).collect();
        let all = Self { bin, patroni, dir, nodes, watch };
        let url = |port| format!("http://127.0.0.1:{port}");
        let args = [
            ("--data-dir", all.dir.join("etcd").display().to_string()),
            ("--listen-client-urls", url(client)),
            ("--advertise-client-urls", url(client)),
            ("--listen-peer-urls", url(peer)),
            ("--initial-advertise-peer-urls", url(peer)),
            ("--initial-cluster", format!("default={}", url(peer))),
            ("--heartbeat-interval", "1000".into()),
            ("--election-timeout", "10000".into()),
        ];
        let args: Vec<_> = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        all.run("etcd", &etcd, &args);
        for (n, node) in all.nodes.iter().enumerate() {
            fs::create_dir(&node.dir).unwrap();
            own(&node.dir);
            fs::set_permissions(&node.dir, fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(node.dir.join("patroni.yml"), all.settings(n, client)).unwrap();
            all.run_patroni(n);
        }
        all.wait_for_quorum();
        Some(all)
    }

    fn settings(&self, n: usize, etcd: u16) -> String {
        let Node { dir, port, api } = &self.nodes[n];
        let (dir, bin) = (dir.display(), self.bin.display());
        format!(
            "scope: doorbell\nname: node{n}\nrestapi: {{listen: '127.0.0.1:{api}', connect_address: '127.0.0.1:{api}'}}\n\
             etcd3: {{host: '127.0.0.1:{etcd}'}}\n{BOOTSTRAP}\n\
             postgresql:\n  listen: 127.0.0.1:{port}\n  connect_address: 127.0.0.1:{port}\n  bin_dir: {bin}\n  \
             data_dir: {dir}/data\n  pgpass: {dir}/pgpass\n  remove_data_directory_on_diverged_timelines: true\n  \
             authentication:\n    superuser: {{username: doorbell, password: {PASSWORD}}}\n    \
             replication: {{username: standby, password: battery staple}}\n  \
             parameters: {{unix_socket_directories: {dir}}}\n  \
             pg_hba: ['local all all trust', 'host replication standby 127.0.0.1/32 scram-sha-256', \
             'host all all 127.0.0.1/32 scram-sha-256']\n",
        )
    }

    /// Starts the Patroni of a server, again after [`Self::kill`] with `all`.
    pub fn run_patroni(&self, n: usize) {
        let node = &self.nodes[n];
        self.run(&format!("patroni{n}"), &self.patroni, &[node.dir.join("patroni.yml").display().to_string()]);
    }

    /// Starts a program as the user of the servers.
    fn run(&self, name: &str, program: &Path, args: &[String]) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join(format!("{name}.log"))).unwrap();
        let mut command = as_owner(Path::new("sh"));
        command.args(["-c", NOTED]).arg(self.dir.join(format!("{name}.pid"))).arg(program).args(args);
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        // A killed one is gone when it has been waited for.
        thread::spawn(move || child.wait());
    }

    /// The number of the server that holds the lease, if one does.
    pub fn primary(&self) -> Option<usize> {
        (0..NODES).find(|n| is_primary(self.nodes[*n].api))
    }

    /// Waits for a primary whose two standbys stream, so that losing one server loses nothing, and either of which etcd
    /// knows as one that may be promoted: until then Patroni starts a primary that was killed again.
    pub fn wait_for_quorum(&self) -> usize {
        let standbys = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'";
        let is_ready = || {
            let primary = self.primary()?;
            let members = get(self.nodes[primary].api, "/cluster")?;
            let known = members.matches("quorum_standby").count();
            (known == 2 && self.sql(primary, "postgres", standbys).ok()? == "2").then_some(primary)
        };
        for _ in 0..PATIENCE.as_millis() / 100 {
            if let Some(primary) = is_ready() {
                return primary;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = |n| fs::read_to_string(self.dir.join(format!("patroni{n}.log")));
        panic!("no quorum: {:#?}", (0..NODES).map(log).collect::<Vec<_>>());
    }

    /// Runs statements at a server and returns the rows, or the error.
    pub fn sql(&self, n: usize, database: &str, text: &str) -> Result<String, String> {
        let Node { dir, port, .. } = &self.nodes[n];
        query(&self.bin, dir, *port, database, text)
    }

    /// The URL of a database by all servers, of which the client takes the primary.
    pub fn url(&self, database: &str) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let hosts = hosts.join(",");
        let password = PASSWORD.replace(' ', "%20");
        format!("postgres://doorbell:{password}@{hosts}/{database}?target_session_attrs=read-write")
    }

    /// Kills a server, and with `all` its Patroni first, as the end of the machine would.
    pub fn kill(&self, n: usize, all: bool) {
        if all {
            let pid = fs::read_to_string(self.dir.join(format!("patroni{n}.pid"))).unwrap();
            done(Command::new("kill").args(["-KILL", pid.trim()]));
        }
        kill(&self.nodes[n].dir.join("data"));
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        self.watch.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether this node holds the lease of the primary, by its Patroni.
fn is_primary(api: u16) -> bool {
    get(api, "/primary").is_some()
}

/// What a Patroni answers with status 200; `None`: nothing, or another status.
fn get(api: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", api)).ok()?;
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(answer)
}
