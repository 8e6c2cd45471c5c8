//! What `doorbell desktop` costs while nothing happens: memory, processor, wake-ups and bytes.
//!
//! The short form shows that it does nothing. Figures come from the long one, on a release build:
//! `DOORBELL_REST_SECONDS=600 cargo test --release -p doorbell --test desktop_rest -- --nocapture`

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use support::process::Running;
use support::service::doorbell;
use support::{Desktop, Service, peer};
use tokio_tungstenite::tungstenite::client::client_with_config;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// How long it rests in the short form.
const SECONDS_DEFAULT: u64 = 5;
/// What it may need at rest, in a release build.
const MEMORY_KIB_MAX: u64 = 8 << 10;
/// Times that its threads may wake up in the short form. There is no timer that is shorter.
const WAKE_UPS_MAX: u64 = 20;

type Socket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// A Firefox's side of its push protocol: registers one channel, and leaves. Its uaid.
fn uaid_of_a_closed_firefox(service: &Service) -> String {
    let mut tls = (*peer::tls(service)).clone();
    tls.alpn_protocols.clear();
    let stream = TcpStream::connect(service.authority()).unwrap();
    let client = ClientConnection::new(Arc::new(tls), "127.0.0.1".try_into().unwrap()).unwrap();
    let address = format!("wss://{}/", service.authority());
    let (mut socket, _) = client_with_config(address, StreamOwned::new(client, stream), None).unwrap();
    let hello = asks(&mut socket, &json!({ "messageType": "hello", "uaid": "", "use_webpush": true }));
    let channel = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
    let registered = asks(&mut socket, &json!({ "messageType": "register", "channelID": channel }));
    assert_eq!(registered["status"], 200, "{registered}");
    hello["uaid"].as_str().unwrap().to_owned()
}

fn asks(socket: &mut Socket, request: &Value) -> Value {
    socket.send(Message::text(request.to_string())).unwrap();
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// Passes bytes on to the service, and counts them and the connections.
#[derive(Default)]
struct Wire {
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Wire {
    /// The port that takes connections for `service`.
    fn to(service: &Service) -> (u16, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), service.authority());
        let wire = Arc::new(Self::default());
        let counts = wire.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(&target).unwrap();
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (here, there) = (counts.clone(), counts.clone());
                thread::spawn(move || carry(near, far, &here.sent));
                thread::spawn(move || carry(far_again, near_again, &there.received));
            }
        });
        (port, wire)
    }

    fn counts(&self) -> [u64; 3] {
        [&self.connections, &self.sent, &self.received].map(|count| count.load(Ordering::Relaxed))
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// How often the threads of a process have gone to sleep: as often as they woke up.
fn wake_ups(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    tasks.filter_map(|task| number_after(&task.path().join("status"), "voluntary_ctxt_switches:")).sum()
}

/// One of the kernel's sums over the memory of a process, in KiB.
fn memory_kib(process: u32, name: &str) -> u64 {
    number_after(Path::new(&format!("/proc/{process}/smaps_rollup")), name).expect("the kernel counts it")
}

/// The processor's time that it used, in milliseconds.
fn cpu_ms(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which is in parentheses: fields 14 and 15 of proc(5), in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [11, 12].map(|field| fields[field].parse::<u64>().unwrap() * 10).iter().sum()
}

fn number_after(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[test]
fn a_desktop_at_rest_holds_one_connection_and_does_nothing() {
    if !Desktop::is_here() {
        return;
    }
    let seconds = std::env::var("DOORBELL_REST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let seconds: u64 = seconds.unwrap_or(SECONDS_DEFAULT);
    let (service, desktop) = (Service::start(), Desktop::start());
    let uaid = uaid_of_a_closed_firefox(&service);
    let (port, wire) = Wire::to(&service);
    let folder = tempfile::tempdir().unwrap();
    // A copy: the service would share the pages of the program.
    let program = folder.path().join("doorbell");
    let built = PathBuf::from(doorbell("desktop").get_program());
    for name in ["doorbell", "doorbell-desktop"] {
        fs::copy(built.with_file_name(name), folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(["desktop", "run"]).arg(format!("https://127.0.0.1:{port}")).arg("--ca").arg(service.ca());
    for name in ["alice", "work"] {
        let profile = folder.path().join(name);
        fs::create_dir(&profile).unwrap();
        fs::write(profile.join("user.js"), "// Written by `doorbell firefox`, anew at each start.\n").unwrap();
        fs::write(profile.join("prefs.js"), format!("user_pref(\"dom.push.userAgentID\", \"{uaid}\");\n")).unwrap();
        command.arg("--firefox").arg(profile);
    }
    command.env("HOME", folder.path()).envs(desktop.variables()).env_remove("XDG_STATE_HOME");
    // A desktop has a system bus too; here it is the same one.
    let bus = desktop.variables().into_iter().find(|(name, _)| *name == "DBUS_SESSION_BUS_ADDRESS");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.expect("a desktop has a bus").1);
    let part = Running::start(&mut command);
    part.prints("/alice: messages wake");
    part.prints("/work: messages wake");

    let (process, before) = (part.id(), wire.counts());
    let (woken, worked) = (wake_ups(process), cpu_ms(process));
    thread::sleep(Duration::from_secs(seconds));
    let [connections, sent, received] = wire.counts();
    let (woken, worked) = (wake_ups(process) - woken, cpu_ms(process) - worked);
    let (sent, received) = (sent - before[1], received - before[2]);
    let memory = memory_kib(process, "Pss:");
    println!(
        "desktop: {seconds} s at rest with 2 profiles: {memory} KiB PSS, {} of them anonymous, {worked} ms CPU, {woken} \
         wake-ups, {sent} bytes sent, {received} received",
        memory_kib(process, "Pss_Anon:")
    );
    assert_eq!(connections, 1, "all profiles share a connection");
    // The pages of a debug build are no measure.
    if !cfg!(debug_assertions) {
        assert!(memory <= MEMORY_KIB_MAX, "{memory} KiB");
    }
    if seconds <= SECONDS_DEFAULT {
        assert!(woken <= WAKE_UPS_MAX, "{woken} wake-ups in {seconds} s");
        assert_eq!((sent, received), (0, 0));
    }
}
