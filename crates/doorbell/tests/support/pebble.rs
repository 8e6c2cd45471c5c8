//! Pebble, Let's Encrypt's certificate authority for tests, and a DNS server that has the address of this machine for
//! every name.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use serde_json::json;
use tempfile::TempDir;

use super::authority::Signed;
use super::clock::Deadline;
use super::desktop::on_path;
use super::foreign::here;
use super::peer::{Peer, tls_of};
use super::process::Running;

/// What the authority does.
pub struct Manner {
    /// How long its certificates are valid, in seconds.
    pub validity_secs: u32,
    /// How many of 100 requests it rejects with "bad nonce".
    pub bad_nonces: u8,
    /// Whether it validates after a random delay.
    pub delays: bool,
    /// Whether an account needs a binding; `KID` and `KEY` are one.
    pub wants_binding: bool,
}

/// A running authority.
pub struct Pebble {
    folder: TempDir,
    directory: String,
    management: String,
    _authority: Running,
    _names: Running,
}

impl Pebble {
    /// An account that the authority knows from elsewhere, and its key in base64url.
    pub const BINDING: (&str, &str) = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

    /// Whether it is installed.
    pub fn is_here() -> bool {
        here("pebble", ["pebble", "pebble-challtestsrv"].iter().all(|program| on_path(program).is_some()))
    }

    /// Starts one that validates domains at `port` of this machine.
    pub fn start(port: u16, manner: &Manner) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Signed::until(2099, "127.0.0.1");
        for (name, text) in [("ca.pem", &own.ca_pem), ("cert.pem", &own.pem), ("key.pem", &own.key.serialize_pem())] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let [directory, management, dns, names] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
        let settings = json!({ "pebble": {
            "listenAddress": directory,
            "managementListenAddress": management,
            "certificate": folder.path().join("cert.pem"),
            "privateKey": folder.path().join("key.pem"),
            "httpPort": 1,
            "tlsPort": port,
            "certificateValidityPeriod": manner.validity_secs,
            "externalAccountBindingRequired": manner.wants_binding,
            "externalAccountMACKeys": { Self::BINDING.0: Self::BINDING.1 },
        }});
        std::fs::write(folder.path().join("pebble.json"), settings.to_string()).expect("a file");
        let mut server = Command::new("pebble-challtestsrv");
        server.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let server = Running::start(server.args(["-dns01", &dns, "-management", &names]));
        server.prints("Starting management server");
        let mut authority = Command::new("pebble");
        authority.env("PEBBLE_WFE_NONCEREJECT", manner.bad_nonces.to_string());
        if !manner.delays {
            authority.env("PEBBLE_VA_NOSLEEP", "1");
        }
        let authority =
            Running::start(authority.arg("-config").arg(folder.path().join("pebble.json")).args(["-dnsserver", &dns]));
        authority.prints("ACME directory available");
        // It prints that before it listens there.
        let deadline = Deadline::soon();
        while TcpStream::connect(&management).is_err() {
            assert!(!deadline.left().is_zero(), "{}", authority.output());
            std::thread::yield_now();
        }
        Self {
            folder,
            directory: format!("https://{directory}/dir"),
            management,
            _authority: authority,
            _names: server,
        }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The CA of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The root of the certificates that it signs, as PEM.
    pub async fn root(&self) -> String {
        let tls = tls_of(&std::fs::read_to_string(self.ca()).expect("the CA file"), &[b"h2"]);
        let peer = Peer::connect_with(&format!("https://{}", self.management), &self.management, tls).await;
        let root = peer.expect("a connection").request(Method::GET, "/roots/0", &[], b"").await.expect("an answer");
        String::from_utf8(root.body.to_vec()).expect("PEM")
    }
}

/// A port that is free, below those that connections get by themselves: no connection of another test takes it before it is
/// used. Processes of tests that run at the same time begin at different ports.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    const OF_ONE_PROCESS: u32 = 64;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let mut ports = (0..COUNT).map(|_| {
        let number =
            std::process::id().wrapping_mul(OF_ONE_PROCESS).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + number % COUNT).expect("a port below 32,000")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free port")
}
