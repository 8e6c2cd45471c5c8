//! What operators get wrong, and what their machines do: one line with the fix. Where the service runs, it keeps
//! what it has and recovers. More of it is in `acme.rs`, `acme_directory.rs` and `state_dir.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use http::{Method, StatusCode};
use support::Peer;
use support::authority::Signed;
use support::clock::Deadline;
use support::foreign::here;
use support::process::Running;
use support::service::doorbell;
use tempfile::TempDir;

fn serve(state: &Path) -> Command {
    serve_at(0, state)
}

fn serve_at(port: u16, state: &Path) -> Command {
    let mut command = doorbell("serve");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state);
    command
}

/// The service does not start: the last line that it prints.
fn refusal(command: &mut Command) -> String {
    let mut process = Running::start(command);
    assert!(!process.exit(|line| panic!("{line}")).success());
    process.prints("! doorbell: ")
}

#[test]
fn a_domain_that_no_certificate_can_be_for_is_refused_with_what_to_give() {
    let state = tempfile::tempdir().unwrap();
    for domain in ["192.0.2.1", "[2001:db8::1]", "*.example.org", "https://push.example.org", "push_.example..org", ""]
    {
        let line = refusal(serve(state.path()).args(["--domain", domain]));
        assert!(line.contains("domain `") && line.contains("give a name only, such as push.example.org"), "{line}");
    }
    let line = refusal(serve(state.path()).args(["--domain=a.example", "--public-url=https://b.example"]));
    assert!(line.contains("public_url has another host than domain"), "{line}");
}

#[test]
fn a_setting_that_does_not_exist_is_refused_with_the_nearest_one_wherever_it_is_given() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("doorbell.toml");
    std::fs::write(&file, "acme_contakt = 'ops@example.org'\n").unwrap();
    let line = refusal(serve(state.path()).arg("--config").arg(&file));
    assert!(line.contains("no setting `acme_contakt`: did you mean `acme_contact`?"), "{line}");
    // The test's support removes variables of ours from the environment: the shell sets this one.
    let mut in_environment = Command::new("sh");
    in_environment.args(["-c", "DOORBELL_DOMIAN=a.example exec \"$0\" serve --state-dir \"$1\""]);
    let line = refusal(in_environment.arg(env!("CARGO_BIN_EXE_doorbell")).arg(state.path()));
    assert!(line.contains("DOORBELL_DOMIAN") && line.contains("did you mean `DOORBELL_DOMAIN`?"), "{line}");
}

#[test]
fn a_port_that_is_taken_or_not_permitted_is_refused_with_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = doorbell("serve");
    let line = refusal(command.args(["--listen", &address.to_string(), "--state-dir"]).arg(state.path()));
    for words in [&format!("cannot listen on {address}"), &format!("ss -ltnp 'sport = :{}'", address.port())] {
        assert!(line.contains(words.as_str()), "{line}");
    }
    let is_root = rustix::process::geteuid().is_root();
    if !here("root, who can become another user (setpriv)", is_root) {
        return;
    }
    // Where any user may listen on low ports, only a new network has the usual bound.
    let low = "sysctl -qw net.ipv4.ip_unprivileged_port_start=1024 2>/dev/null; ip link set lo up; \
               exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" serve --listen 127.0.0.1:443 --state-dir \"$1\"";
    std::os::unix::fs::chown(state.path(), Some(65534), Some(65534)).unwrap();
    let _ = std::fs::remove_dir_all(state.path().join("acme"));
    for entry in std::fs::read_dir(state.path()).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", low, env!("CARGO_BIN_EXE_doorbell")]).arg(state.path());
    let line = refusal(&mut command);
    for words in ["port 443", "setcap cap_net_bind_service=+ep /", "AmbientCapabilities=", "doorbell.socket"] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn certificates_that_are_expired_or_do_not_match_their_key_or_name_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, state] = ["cert.pem", "key.pem", "state"].map(|name| folder.path().join(name));
    let (expired, other) = (Signed::until(2020, "push.example.org"), Signed::until(2099, "push.example.org"));
    std::fs::write(&cert, &expired.pem).unwrap();
    std::fs::write(&key, other.key.serialize_pem()).unwrap();
    let with_files = || {
        let mut command = serve(&state);
        command.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key);
        command
    };
    let line = refusal(&mut with_files());
    assert!(line.contains("give as tls_key the private key of the first certificate in tls_cert"), "{line}");
    std::fs::write(&key, expired.key.serialize_pem()).unwrap();
    let service = Running::start(&mut with_files());
    service.prints("expired on");
    service.prints("renew it; clients refuse it now");
    service.prints("does not name 127.0.0.1");
    service.prints("listening on");
}

/// An ext4 of its own.
struct Disk {
    dir: TempDir,
    mounted: PathBuf,
}

impl Disk {
    /// `None`, with a line of the reason, where this user may not mount.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Self { mounted: dir.path().join("mounted"), dir };
        std::fs::create_dir(&disk.mounted).unwrap();
        File::create(disk.image()).unwrap().set_len(64 << 20).unwrap();
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image())) && disk.mount();
        if !made {
            eprintln!("SKIPPED: this test must mount a disk, which needs root and mkfs.ext4");
        }
        made.then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&self) -> bool {
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(self.image()).arg(&self.mounted))
    }

    fn remount(&self, how: &str) {
        assert!(run(Command::new("mount").args(["-o", how]).arg(&self.mounted)), "{how}");
    }

    /// As after an error on the disk: the system lets nothing be written before it is mounted again.
    fn fails(&self) -> bool {
        let device = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.mounted).output().unwrap();
        let device = String::from_utf8(device.stdout).unwrap();
        let name = device.trim().rsplit('/').next().unwrap();
        std::fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a test").is_ok()
    }

    fn unmount(&self) -> bool {
        run(Command::new("umount").arg(&self.mounted))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.unmount() {
            run(Command::new("umount").arg("-l").arg(&self.mounted));
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn on_a_file_system_that_becomes_read_only_nothing_is_accepted_and_all_that_was_is_there_once_it_is_mounted_again()
 {
    let Some(disk) = Disk::new() else { return };
    let state = disk.mounted.join("state");
    let plain = |port| {
        let mut command = serve_at(port, &state);
        command.args(["--plain", "--disk-floor-bytes=0", "--disk-reserve-bytes=0"]);
        command
    };
    let mut service = Running::start(&mut plain(0));
    let port = listening(&service);
    let agent = Peer::connect_plain(&format!("127.0.0.1:{port}")).await.unwrap();
    let to = agent.subscribe().await;
    let post = async |body: &'static [u8]| agent.request(Method::POST, &to.push, &[("ttl", "600")], body).await;
    assert_eq!(post(b"kept").await.unwrap().status, StatusCode::CREATED);
    if !disk.fails() {
        eprintln!("SKIPPED: this system simulates no error of an ext4");
        return;
    }
    let refused = post(b"lost").await;
    assert!(refused.is_err() || refused.is_ok_and(|reply| reply.status.is_server_error()));
    service.prints("look at the disk of the state directory");
    assert!(!service.exit(|_| {}).success());
    // Until the operator repairs the disk.
    let line = refusal(&mut plain(port));
    let command = format!("`mount -o remount,rw {}`", disk.mounted.display());
    assert!(line.contains("is on a read-only file system") && line.contains(&command), "{line}");
    assert!(disk.unmount() && disk.mount());
    let service = Running::start(&mut plain(port));
    listening(&service);
    let agent = Peer::connect_plain(&format!("127.0.0.1:{port}")).await.unwrap();
    let mut received = agent.monitor(&to.subscription, true).await.unwrap();
    assert_eq!(received.recv().await.unwrap().reply.body, b"kept".as_slice());
}

#[test]
fn a_read_only_file_system_is_refused_and_the_command_that_is_named_fixes_it() {
    let Some(disk) = Disk::new() else { return };
    let state = disk.mounted.join("state");
    for is_new in [true, false] {
        disk.remount("remount,ro");
        let line = refusal(&mut serve(&state));
        assert!(line.contains("is on a read-only file system"), "{line}");
        assert!(run(Command::new("sh").args(["-c", line.split('`').nth(1).unwrap()])), "{line}");
        let mut service = Running::start(&mut serve(&state));
        service.prints("listening on");
        service.terminate();
        assert!(service.exit(|_| {}).success(), "{is_new}");
    }
}

#[tokio::test]
async fn with_1024_open_files_a_flood_of_connections_takes_none_of_the_stores_and_everything_works_after_it() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1024 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_doorbell"), "serve", "--plain"]);
    command.args(["--listen=127.0.0.1:0", "--connections-per-source-max=0", "--state-dir"]).arg(state.path());
    let service = Running::start(&mut command);
    let line = service.prints("the limit of open files is below connections_max");
    assert!(line.contains("connections_max=896") && line.contains("raise it (LimitNOFILE, ulimit -n)"), "{line}");
    let address = format!("127.0.0.1:{}", listening(&service));
    let agent = Peer::connect_plain(&address).await.unwrap();
    let to = agent.subscribe().await;
    let mut received = agent.monitor(&to.subscription, true).await.unwrap();
    let mut flood: Vec<TcpStream> = (0..1200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // The service accepts in order: once it has closed the first, all places are taken.
    flood[0].set_read_timeout(Some(Deadline::soon().left())).unwrap();
    assert!(matches!(flood[0].read(&mut [0]), Ok(0) | Err(_)));
    let open = std::fs::read_dir(format!("/proc/{}/fd", service.id())).unwrap().count();
    // Strangers have three quarters of 896 places; one that has to leave closes a moment later.
    assert!((672..1000).contains(&open), "{open} files are open");
    for number in 0..3_u8 {
        let sender = Peer::connect_plain(&address).await.unwrap();
        let reply = sender.request(Method::POST, &to.push, &[("ttl", "60")], &[number]).await.unwrap();
        assert_eq!(reply.status, StatusCode::CREATED);
        assert_eq!(received.recv().await.unwrap().reply.body, [number].as_slice());
    }
    drop(flood);
    let another = Peer::connect_plain(&address).await.unwrap();
    another.subscribe().await;
    assert_eq!(service.count("cannot accept a connection"), 0, "the system's limit is not reached");
    assert_eq!(service.count(" ERROR "), 0);
}

fn listening(service: &Running) -> u16 {
    service.wait_for("line `listening on`", |line| line.rsplit_once("http://127.0.0.1:")?.1.parse().ok())
}
