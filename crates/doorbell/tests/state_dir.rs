//! The files of the state directory: private where they hold secrets; and the certificates, which are renewed while the
//! service runs.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::Service;
use support::clock::Deadline;
use support::foreign::here;
use support::process::Running;
use tempfile::TempDir;

/// Files that others may read: a certificate is shown to every client.
const PUBLIC: [&str; 1] = ["ca.pem"];

#[test]
fn under_a_lax_umask_every_file_with_secrets_is_private_to_its_owner() {
    for (verb, started) in [("serve", "listening on"), ("demo", "Sign in as Alice")] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let script = "umask 022; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_doorbell"), verb, "--listen=127.0.0.1:0", "--state-dir"]);
        command.arg(&state);
        if verb == "demo" {
            command.arg("--demo-listen=127.0.0.1:0");
        }
        let process = Running::start(&mut command);
        process.prints(started);
        assert_eq!(mode(&state), 0o700, "{verb}");
        let (mut seen, mut folders) = (Vec::new(), vec![state.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&state).unwrap().to_str().unwrap().to_owned();
                let expected = match (path.is_dir(), PUBLIC.contains(&name.as_str())) {
                    (true, _) => 0o700,
                    (false, true) => 0o644,
                    (false, false) => 0o600,
                };
                assert_eq!(mode(&path), expected, "{verb}: {name}");
                if path.is_dir() {
                    folders.push(path);
                }
                seen.push(name);
            }
        }
        let expected = ["ca.key", "capability.keys", "doorbell.db"].into_iter();
        let of_demo = ["demo.sqlite", "demo.sqlite-wal", "demo.sqlite-shm", "demo.key", "demo-vapid.pem"];
        for name in expected.chain(of_demo.into_iter().filter(|_| verb == "demo")) {
            assert!(seen.iter().any(|seen| seen == name), "{verb}: {name} in {seen:?}");
        }
        process.terminate();
    }
}

#[test]
fn certificates_that_another_program_renews_are_used_without_a_restart_and_no_connection_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let first = files.renew();
    let service = Service::start_with(&[
        &format!("--tls-cert={}", files.cert.display()),
        &format!("--tls-key={}", files.key.display()),
        "--keepalive-secs=1",
    ]);
    let mut open = listen(&service, &first);
    assert_eq!(presented(&open), first);
    // A program that is interrupted between the two leaves a pair that does not match.
    fs::write(&files.cert, "half of a certi").unwrap();
    service.prints("the old one stays in use until this is fixed");
    assert_eq!(presented(&connect(&service, &first)), first);
    let second = files.renew();
    while !service.output().contains("a new certificate is in use") {
        lines_until(&mut open, |line| line.starts_with(':'));
    }
    assert_eq!(presented(&connect(&service, &second)), second);
    // Older comments may be in the buffers; the fifth from now was sent after the renewal.
    (0..5).for_each(|_| drop(lines_until(&mut open, |line| line.starts_with(':'))));
}

#[test]
fn a_new_ca_is_made_on_request_only_and_openssl_and_python_accept_its_certificates() {
    let mut service = Service::start();
    let first = fs::read(service.ca()).unwrap();
    service.ends();
    service.start_again();
    assert_eq!(fs::read(service.ca()).unwrap(), first, "a restart keeps the CA");
    judged_by_foreign_clients(&service);
    service.ends();
    service.start_again_with("--new-ca");
    assert_ne!(fs::read(service.ca()).unwrap(), first);
    assert_eq!(fs::read(service.ca().with_file_name("ca.pem.1")).unwrap(), first);
    judged_by_foreign_clients(&service);
    let process =
        Running::start(support::service::doorbell("serve").args(["--new-ca", "--plain", "--state-dir", "/no"]));
    process.prints("--new-ca: this service uses no self-signed CA");
}

#[test]
fn a_directory_that_others_can_use_is_refused_with_the_command_that_fixes_it() {
    let (_folder, state) = in_use();
    for loose in [0o775, 0o722, 0o777] {
        fs::set_permissions(&state, fs::Permissions::from_mode(loose)).unwrap();
        let line = refusal(&mut serve(&state));
        assert!(line.contains(&format!("(mode {loose:o})")) && line.contains("`chmod 700 "), "{line}");
        assert_eq!(mode(&state), loose, "it is left as it is");
        follow(&line);
        assert_eq!(mode(&state), 0o700);
    }
    // Who can only list it has seen no secret: systemd gives a StateDirectory its mode at each start.
    for listed in [0o755, 0o750, 0o701] {
        fs::set_permissions(&state, fs::Permissions::from_mode(listed)).unwrap();
        starts(&mut serve(&state));
        assert_eq!(mode(&state), 0o700);
    }
    // A backup is not the service's to judge.
    fs::write(state.join("capability.keys.bak"), "").unwrap();
    fs::set_permissions(state.join("capability.keys.bak"), fs::Permissions::from_mode(0o644)).unwrap();
    starts(&mut serve(&state));
    // An empty one has no secrets that were seen.
    let empty = tempfile::tempdir().unwrap();
    fs::set_permissions(empty.path(), fs::Permissions::from_mode(0o755)).unwrap();
    starts(&mut serve(empty.path()));
    assert_eq!(mode(empty.path()), 0o700);
    // One of other programs is not ours to change.
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(shared.path().join("a file"), "").unwrap();
    let line = refusal(&mut serve(shared.path()));
    assert!(line.contains("give a directory of its own"), "{line}");
    assert_eq!(mode(shared.path()), 0o755);
}

#[test]
fn secrets_that_others_can_read_are_refused_with_the_command_that_fixes_them() {
    let (_folder, state) = in_use();
    fs::create_dir(state.join("acme")).unwrap();
    fs::write(state.join("acme/account.json"), "{}").unwrap();
    fs::set_permissions(state.join("acme"), fs::Permissions::from_mode(0o755)).unwrap();
    let line = refusal(&mut serve(&state));
    assert!(line.contains("`chmod 700 ") && line.contains("/acme`"), "{line}");
    follow(&line);
    let secrets = ["capability.keys", "ca.key", "doorbell.db", "acme/account.json"];
    for secret in secrets {
        fs::set_permissions(state.join(secret), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let line = refusal(&mut serve(&state));
    assert!(secrets.iter().all(|secret| line.contains(secret)) && !line.contains("ca.pem"), "{line}");
    follow(&line);
    assert!(secrets.iter().all(|secret| mode(&state.join(secret)) == 0o600));
    starts(&mut serve(&state));
}

#[test]
fn a_folder_above_it_where_others_can_put_another_directory_is_refused_also_behind_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let [above, loose] = ["above", "it's loose"].map(|name| folder.path().join(name));
    fs::create_dir(&above).unwrap();
    starts(&mut serve(&above.join("state")));
    fs::rename(&above, &loose).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&loose, &above).unwrap();
    for state in [loose.join("state"), above.join("state")] {
        let line = refusal(&mut serve(&state));
        assert!(line.contains("another directory in the place") && line.contains("`chmod o-w "), "{line}");
    }
    // Where only the owner of an entry can rename it, it is safe: /tmp.
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o1777)).unwrap();
    starts(&mut serve(&above.join("state")));
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o777)).unwrap();
    follow(&refusal(&mut serve(&above.join("state"))));
    starts(&mut serve(&above.join("state")));
}

#[test]
fn each_link_in_the_path_is_followed_and_what_others_can_replace_in_it_is_refused() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let [real, loose, way] = ["real", "loose", "way"].map(|name| folder.path().join(name));
    [&real, &loose, &way].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    // way/to → ../loose/middle → real: only the link in the middle is in a folder that others can write.
    symlink(&real, loose.join("middle")).unwrap();
    symlink("../loose/middle", way.join("to")).unwrap();
    let state = way.join("to/state");
    starts(&mut serve(&state));
    for is_new in [false, true] {
        fs::set_permissions(&loose, fs::Permissions::from_mode(0o777)).unwrap();
        if is_new {
            fs::remove_dir_all(&state).unwrap();
        }
        let line = refusal(&mut serve(&state));
        assert!(line.contains("another directory in the place") && line.contains("loose`"), "{line}");
        assert_eq!(state.exists(), !is_new, "nothing is created");
        follow(&line);
        starts(&mut serve(&state));
    }
    symlink("around", way.join("around")).unwrap();
    let line = refusal(&mut serve(&way.join("around/state")));
    assert!(line.contains("cannot use the state directory") && line.contains("--state-dir"), "{line}");
    // In /tmp only the owner of a link can replace it, and that is another user.
    let Some(daemon) = daemon() else { return };
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o1777)).unwrap();
    starts(&mut serve(&state));
    std::os::unix::fs::lchown(loose.join("middle"), Some(daemon.0), None).unwrap();
    let line = refusal(&mut serve(&state));
    assert!(line.contains("the link ") && line.contains("/loose/middle belongs to daemon"), "{line}");
    starts(&mut serve(&real.join("state")));
}

#[test]
fn a_volume_that_its_group_may_write_is_used_by_a_directory_in_it_or_made_private() {
    let Some(daemon) = daemon() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let volume = folder.path().join("volume");
    fs::create_dir(&volume).unwrap();
    // As Kubernetes gives it to a container with an fsGroup.
    std::os::unix::fs::chown(&volume, Some(0), Some(1)).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2775)).unwrap();
    let line = refusal(&mut daemon.runs(&serve(&volume)));
    let state = volume.join("state");
    let words = [format!("`--state-dir {}`", state.display()), "`sudo -u root doorbell serve".to_owned()];
    assert!(words.iter().all(|words| line.contains(words)) && line.contains("`--user 0` of a container"), "{line}");
    (0..2).for_each(|_| starts(&mut daemon.runs(&serve(&state))));
    // The group may write the directory: its files are the service's, and no other user could read them.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o2770)).unwrap();
    starts(&mut daemon.runs(&serve(&state)));
    assert_eq!(mode(&state) & 0o777, 0o700);
    // What the group could have made there is refused, and is not forgotten.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o2770)).unwrap();
    let link = state.join("doorbell.reserve.new");
    std::os::unix::fs::symlink(state.join("capability.keys"), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(daemon.0), None).unwrap();
    for _ in 0..2 {
        let line = refusal(&mut daemon.runs(&serve(&state)));
        assert!(line.contains("doorbell.reserve.new, which is a link"), "{line}");
        assert_eq!(mode(&state), 0o770, "it is not made private");
    }
    fs::remove_file(&link).unwrap();
    // Secrets that the group could read are no longer secret.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o2770)).unwrap();
    fs::set_permissions(state.join("capability.keys"), fs::Permissions::from_mode(0o660)).unwrap();
    let line = refusal(daemon.runs(&serve(&state)).env("KUBERNETES_SERVICE_HOST", "10.0.0.1"));
    assert!(line.contains("`chmod 600 ") && line.contains("fsGroupChangePolicy: OnRootMismatch"), "{line}");
    follow(&line);
    starts(&mut daemon.runs(&serve(&state)));
}

#[test]
fn a_directory_of_another_user_is_refused_with_the_command_that_fixes_it_and_nothing_of_root_is_left_in_it() {
    let Some(daemon) = daemon() else { return };
    let (_folder, state) = in_use();
    // The service's user cannot use what root has made.
    let line = refusal(&mut daemon.runs(&serve(&state)));
    assert!(line.contains("belongs to root") && line.contains("`sudo chown -R daemon: "), "{line}");
    follow(&line.replace("sudo ", ""));
    starts(&mut daemon.runs(&serve(&state)));
    // Root would make files that lock the service out.
    for more in ["--plain", "--rotate-capability-key"] {
        let line = refusal(serve(&state).arg(more));
        assert!(line.contains("belongs to daemon") && line.contains("`sudo -u daemon doorbell serve"), "{line}");
    }
    assert!(fs::read_dir(&state).unwrap().all(|entry| entry.unwrap().metadata().unwrap().uid() == daemon.0));
    starts(daemon.runs(&serve(&state)).arg("--rotate-capability-key"));
    // An earlier version did not refuse it.
    std::os::unix::fs::chown(state.join("capability.keys"), Some(0), None).unwrap();
    let line = refusal(&mut daemon.runs(&serve(&state)));
    assert!(line.contains("capability.keys belongs to root") && line.contains("`sudo chown daemon: "), "{line}");
    follow(&line.replace("sudo ", ""));
    starts(&mut daemon.runs(&serve(&state)));
    // The owner of a folder above can replace it.
    let line = refusal(&mut serve(&state.join("of root")));
    assert!(line.contains("daemon can put another directory"), "{line}");
    assert!(!state.join("of root").exists(), "nothing of root is left, which would lock the service out");
}

#[test]
fn what_is_no_directory_or_cannot_be_created_is_an_error_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("state")] {
        let line = refusal(&mut serve(&path));
        assert!(line.contains("is a file: move it away") && line.contains("--state-dir"), "{line}");
    }
    let mut homeless = support::service::doorbell("serve");
    let line = refusal(homeless.env_remove("HOME").env_remove("XDG_STATE_HOME"));
    assert!(line.contains("no home directory") && line.contains("give --state-dir"), "{line}");
    let Some(daemon) = daemon() else { return };
    let line = refusal(&mut daemon.runs(&serve(Path::new("/var/lib/doorbell-of-a-test"))));
    assert!(line.contains("`sudo install -d -m 700 -o daemon /var/lib/doorbell-of-a-test`"), "{line}");
}

/// A state directory of a service that has ended.
fn in_use() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    starts(&mut serve(&state));
    (folder, state)
}

fn serve(state: &Path) -> Command {
    let mut command = support::service::doorbell("serve");
    command.args(["--listen=127.0.0.1:0", "--log=warn", "--state-dir"]).arg(state);
    command
}

/// The service starts, and ends in order.
fn starts(command: &mut Command) {
    let mut process = Running::start(command);
    process.prints("listening on");
    process.terminate();
    assert!(process.exit(|_| {}).success());
}

/// The service does not start: the only line that it prints.
fn refusal(command: &mut Command) -> String {
    let mut process = Running::start(command);
    let status = process.exit(|line| panic!("{line}"));
    assert!(!status.success());
    let line = process.prints("! ");
    assert_eq!(process.count("! "), 1, "{}", process.output());
    line
}

/// Runs the command between the first two backticks.
fn follow(line: &str) {
    let command = line.split('`').nth(1).unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}

/// Another user, which every Debian has, if this one may become it.
struct Daemon(u32);

fn daemon() -> Option<Daemon> {
    let is_root = rustix::process::geteuid().is_root();
    here("root, who can become another user (setpriv)", is_root).then_some(Daemon(1))
}

impl Daemon {
    fn runs(&self, command: &Command) -> Command {
        let mut as_daemon = Command::new("setpriv");
        as_daemon.args([&format!("--reuid={}", self.0), "--regid=1", "--clear-groups"]);
        as_daemon.arg(command.get_program()).args(command.get_args());
        as_daemon
    }
}

/// Certificate and key where another program keeps them.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Writes new ones: the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&self.cert, made.cert.pem()).unwrap();
        fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

/// Both verify the name and the constraints of the CA.
fn judged_by_foreign_clients(service: &Service) {
    let authority = service.authority();
    let openssl = ["s_client", "-connect", &authority, "-verify_ip", "127.0.0.1", "-verify_return_error", "-CAfile"];
    let openssl = Command::new("openssl").args(openssl).arg(service.ca()).stdin(std::process::Stdio::null()).output();
    let output = openssl.expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("Verify return code: 0 (ok)"), "{text}");
    let script = "import socket, ssl, sys\n\
        host, port = sys.argv[2].split(':')\n\
        context = ssl.create_default_context(cafile=sys.argv[1])\n\
        for name in (host, 'localhost'):\n\
        \x20   context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=name).close()\n";
    let python = Command::new("python3").args(["-c", script]).arg(service.ca()).arg(&authority).output();
    let output = python.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn connect(service: &Service, trusted: &CertificateDer<'static>) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(service.authority()).unwrap());
    stream.flush().unwrap();
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream
}

fn presented(connection: &Connection) -> CertificateDer<'static> {
    connection.conn.peer_certificates().unwrap()[0].clone()
}

/// A connection on which the service sends a comment every second.
fn listen(service: &Service, trusted: &CertificateDer<'static>) -> Connection {
    let mut connection = connect(service, trusted);
    connection.write_all(b"POST /subscribe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").unwrap();
    let head = lines_until(&mut connection, str::is_empty);
    let location = head.iter().find_map(|line| line.strip_prefix("location: ")).expect("a subscription");
    let path = &location[location.find("/s/").expect("a path")..];
    let get = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    connection.write_all(get.as_bytes()).unwrap();
    let head = lines_until(&mut connection, str::is_empty);
    assert!(head[0].starts_with("HTTP/1.1 200 "), "{head:?}");
    connection
}

/// Reads lines until one is the last.
fn lines_until(connection: &mut Connection, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    let (deadline, mut lines) = (Deadline::soon(), vec![String::new()]);
    loop {
        connection.sock.set_read_timeout(Some(deadline.left())).unwrap();
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        let line = lines.last_mut().expect("there is a first line");
        match byte[0] {
            b'\n' if is_last(line) => return lines,
            b'\n' => lines.push(String::new()),
            b'\r' => {}
            byte => line.push(byte.into()),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
