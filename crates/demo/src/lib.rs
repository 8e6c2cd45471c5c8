//! Ringo's Star: an application server that shows how a site uses push. People sign in, call each other, write and leave
//! voice mails; a push wakes the device of a person who is away, whether or not a page or the browser is open.
//!
//! [`Demo`] puts it together. `house` is what people can do, `door` the requests, `courier` sends pushes and receives
//! receipts, `notice` has the text of notifications, `steps` and `events` what pages receive, `calls` has the rules of calls, `store` remembers. The
//! page is in `web/`.

mod allowance;
mod calls;
mod clock;
mod code;
mod courier;
mod door;
mod error;
mod events;
mod guesses;
mod house;
mod limits;
mod listen;
mod lock;
mod name;
mod notice;
mod pages;
mod passphrase;
mod rates;
mod session;
mod sites;
mod steps;
mod store;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_sender::client::{Client, ClientConfig};
use doorbell_sender::origins::OriginMap;
use doorbell_sender::token::Signer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::courier::Courier;
use crate::house::House;
use crate::limits::CONNECTIONS_OF_SOURCE_MAX;
use crate::listen::Tls;
use crate::pages::Pages;
use crate::passphrase::Hashing;
use crate::session::Seal;
use crate::sites::Sites;
use crate::store::{PersonId, Store};

pub use error::DemoError;
pub use listen::Certificate;

/// Who invites on behalf of no person: people have positive numbers.
const OPERATOR: PersonId = PersonId(0);

/// How the demo is set up.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate; without one it serves plain HTTP, which browsers take for a secure context on localhost only.
    pub certificate: Option<Certificate>,
    /// The origin at which browsers find it; none: localhost, with the port that it listens on.
    pub site: Option<Url>,
    /// Whether a person needs an invitation to take a name, as on a public address.
    pub invited_only: bool,
    /// Where its store and its key are kept. It must exist.
    pub state_dir: PathBuf,
    /// The push service on this machine that subscriptions may name, if there is one.
    pub push_origin: Option<String>,
    /// Which endpoints stand for which: Chromiums that use one's own push service name a host of Google's.
    pub origins: OriginMap,
    /// How it connects to push services.
    pub client: ClientConfig,
    /// Who signs its pushes.
    pub signer: Signer,
    /// How long a call rings.
    pub rings_for: Duration,
    /// URLs of STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// A server that helps two browsers to find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port`.
    pub url: String,
    /// The user name and the credential that a TURN server wants.
    pub login: Option<(String, String)>,
}

/// A running demo. It ends with this value.
pub struct Demo {
    address: SocketAddr,
    house: Arc<House>,
    task: JoinHandle<()>,
}

impl Demo {
    /// Starts it; it serves when this returns.
    pub async fn start(settings: Settings) -> Result<Self, DemoError> {
        let Settings { listen, certificate, state_dir, push_origin, origins, client, signer, rings_for, .. } = settings;
        let tls = certificate.map(|certificate| Tls::open(certificate, clock::moment().instant)).transpose()?;
        let store = Arc::new(Store::open(&state_dir.join("demo.sqlite"), clock::moment().instant)?);
        let seal = Seal::load_or_create(&state_dir.join("demo.key"))?;
        let bind = |source| DemoError::Bind { address: listen, source };
        let socket = TcpListener::bind(listen).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let site = settings.site.unwrap_or_else(|| {
            Url::parse(&format!("{scheme}://localhost:{}", address.port()))
                .expect("a scheme, a host and a port are a URL")
        });
        let pages = Arc::new(Pages::default());
        let courier = Arc::new(Courier::new(Client::new(client)?, signer, store.clone(), pages.clone()));
        courier.resume()?;
        let ice_servers = settings.ice_servers.iter().map(IceServer::for_page).collect();
        let (calls, rings) = (Mutex::default(), Mutex::default());
        let (guesses, rates, hashing) = (Mutex::default(), Mutex::default(), Hashing::default());
        let house = House {
            store,
            pages,
            courier,
            seal,
            calls,
            rings,
            guesses,
            rates,
            hashing,
            sites: Sites::new(&site, scheme, address),
            serves_this_machine_only: address.ip().is_loopback() && is_on_this_machine(site.as_str()),
            site: site.origin().ascii_serialization(),
            invited_only: settings.invited_only,
            push_origin,
            origins,
            rings_for,
            ice_servers,
        };
        let house = Arc::new(house);
        let task = tokio::spawn(listen::run(socket, tls, house.clone(), CONNECTIONS_OF_SOURCE_MAX));
        Ok(Self { address, house, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that people open.
    pub fn site(&self) -> &str {
        &self.house.site
    }

    /// The link by which the next person takes a name: with an invitation by the operator, if one is needed.
    pub fn guest_link(&self) -> Result<String, DemoError> {
        self.house.guest_link(OPERATOR, clock::now())
    }

    /// The link for a browser that the operator opens, with a name filled in. While a person has the name, the browser may
    /// come in as one more device of theirs, if only this machine can open the demo and no passphrase keeps the name.
    pub fn link_as(&self, name: &str) -> Result<String, DemoError> {
        self.house.operator_link(name, clock::moment())
    }

    /// The address as a QR code made of letters, for a terminal; none if no other device can open it.
    pub fn code(&self) -> Option<String> {
        code::text(self.site()).filter(|_| !is_on_this_machine(self.site()))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether only this machine can open the address.
fn is_on_this_machine(site: &str) -> bool {
    match Url::parse(site).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl IceServer {
    fn for_page(&self) -> serde_json::Value {
        match &self.login {
            None => serde_json::json!({ "urls": self.url }),
            Some((username, credential)) => {
                serde_json::json!({ "urls": self.url, "username": username, "credential": credential })
            }
        }
    }
}
