//! `doorbell demo`: the push service and an application that uses it, in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbell_demo::{Certificate, Demo, IceServer};
use doorbell_desktop::rules::Bounds;
use doorbell_desktop::{Browser, ProfileConfig, Trust, program};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_sender::client::ClientConfig;
use doorbell_sender::network::{AddressPolicy, Network};
use doorbell_sender::origins::OriginMap;
use doorbell_sender::subject::Subject;
use doorbell_sender::token::Signer;
use doorbell_service::config::{Config, Settings, listen_address};
use doorbell_service::{Clock, Service};
use tokio::sync::mpsc;
use tracing::{error, info};
use url::Url;

use crate::browser::{Opened, status};
use crate::chromium;
use crate::desktop;
use crate::failure;
use crate::firefox;
use crate::keys::file;
use crate::open_files;
use crate::output;
use crate::serve::{ca_flag, own_name};
use crate::shell::quoted;
use crate::signals::Signals;
use crate::state::is_loopback;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// Address and port of the application; port 0 takes a free one
    #[arg(long, env = "DOORBELL_DEMO_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:8444", value_parser = listen_address)]
    demo_listen: SocketAddr,

    /// The origin at which browsers find the application [default: localhost with its port]
    #[arg(long, env = "DOORBELL_DEMO_URL", value_name = "URL")]
    demo_url: Option<String>,

    /// Let only people take a name who were invited, by a person or by the link that is printed at the start
    #[arg(long, env = "DOORBELL_DEMO_INVITED_ONLY")]
    demo_invited_only: bool,

    /// Certificate chain (PEM) of the application: browsers require TLS except on localhost
    #[arg(long, env = "DOORBELL_DEMO_TLS_CERT", value_name = "FILE", requires = "demo_tls_key")]
    demo_tls_cert: Option<PathBuf>,

    /// Private key of --demo-tls-cert (PEM)
    #[arg(long, env = "DOORBELL_DEMO_TLS_KEY", value_name = "FILE", requires = "demo_tls_cert")]
    demo_tls_key: Option<PathBuf>,

    /// Open Firefox at the application, with a profile of that name whose push service is this one; may be repeated
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "alice")]
    firefox: Vec<PathBuf>,

    /// The same with Chromium; may be repeated. Every Chromium is then taken for one that uses this push service
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "mom")]
    chromium: Vec<PathBuf>,

    /// Take every Chromium that subscribes for one that uses this push service: it still names a host of Google's
    #[arg(long)]
    own_chromiums: bool,

    /// How long a call rings, in seconds
    #[arg(long, env = "DOORBELL_RING_SECS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=300))]
    ring_secs: u32,

    /// A STUN server (`stun:HOST:PORT`), for calls between networks; may be repeated
    #[arg(long, value_name = "URL", value_parser = stun)]
    stun: Vec<IceServer>,

    /// A TURN server (`turn:HOST:PORT,USER,PASSWORD`); may be repeated
    #[arg(long, value_name = "URL,USER,PASSWORD", value_parser = turn)]
    turn: Vec<IceServer>,

    /// Contact for push services about the pushes: a mailto: or https: URI
    #[arg(long, env = "DOORBELL_SUBJECT", value_name = "URI")]
    subject: Option<String>,

    /// Address and port of the push service [default: 127.0.0.1:8443]
    #[arg(long, env = "DOORBELL_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// Where everything is kept [default: $XDG_STATE_HOME/doorbell or ~/.local/state/doorbell]
    #[arg(long, env = "DOORBELL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// A TOML file with further settings of the push service, as for `doorbell serve`
    #[arg(long, env = "DOORBELL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell demo                          then open two browsers as it prints
  doorbell demo --firefox=alice --firefox=mom         opens two
  doorbell demo --firefox --chromium     one of each, as Alice and as Mom
  doorbell demo --config doorbell.toml --demo-listen 0.0.0.0:443 \\
      --demo-url https://star.example.org --demo-invited-only \\
      --demo-tls-cert star.pem --demo-tls-key star.key

The push service is the one of `doorbell serve`, with the same state: the two must not run at the same time.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let listen = args.listen.map(|address| vec![address.into()]);
    let given = Settings { listen, state_dir: args.state_dir.clone(), ..Settings::default() };
    let config = open_files::fitted(Config::load(given, args.config.as_deref())?)?;
    let mut signals = Signals::new()?;
    let state_dir = config.state_dir.clone();
    let service = Service::start(config, Clock::system()).await?;
    let demo = Demo::start(settings(&args, &service, state_dir.clone())?).await?;
    info!(address = %demo.address(), "the demo serves");
    if args.demo_invited_only {
        output::report(format_args!("invitation    {} (brings one person; they invite others)", demo.guest_link()?));
    }
    print_welcome(&service, &demo, !(args.firefox.is_empty() && args.chromium.is_empty()));
    let mut reachable = Vec::new();
    let firefoxes = args.firefox.into_iter().map(|named| (firefox::open as Open, named));
    for (open, named) in firefoxes.chain(args.chromium.into_iter().map(|named| (chromium::open as Open, named))) {
        match open_browser(open, &service, &demo, named).await {
            Ok(profile) => reachable.push(profile),
            // The demo works without it: the user can open any browser.
            Err(why) => status(&format!("a browser is not opened: {}", failure::line(&why))),
        }
    }
    let desktop = keep_reachable(&service, reachable, state_dir.join(desktop::FOLDER_NAME));
    tokio::select! {
        () = desktop => {}
        signal = signals.next() => info!("{signal}: stopping"),
        failure = service.failed() => {
            error!(%failure, "stopping");
            return Ok(ExitCode::FAILURE);
        }
    }
    drop(demo);
    tokio::select! {
        stopped = service.stop() => stopped?,
        _ = signals.next() => return Ok(ExitCode::FAILURE),
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args, service: &Service, state_dir: PathBuf) -> Result<doorbell_demo::Settings> {
    let origin = service.origin().to_string();
    let subject = args.subject.as_deref().map(Subject::parse).transpose().context("--subject")?;
    if let Some(warning) = subject.as_ref().and_then(Subject::correction) {
        status(&warning);
    }
    let signer = Signer::new(file::read_or_create(&state_dir.join("demo-vapid.pem"))?, subject);
    let extra_ca_pem = match service.ca_file() {
        Some(file) => std::fs::read(file).context("cannot read the CA")?,
        None => Vec::new(),
    };
    let client = ClientConfig { addresses: addresses(&origin), extra_ca_pem, ..ClientConfig::default() };
    let certificate = args.demo_tls_cert.clone().zip(args.demo_tls_key.clone());
    let certificate = certificate.map(|(chain, key)| Certificate { chain, key });
    let site = args.demo_url.as_deref().map(site).transpose()?;
    let own_chromiums = args.own_chromiums || !args.chromium.is_empty();
    let origins = if own_chromiums { OriginMap::of_chromiums_at(&origin)? } else { OriginMap::default() };
    Ok(doorbell_demo::Settings {
        listen: args.demo_listen,
        certificate,
        site,
        invited_only: args.demo_invited_only,
        state_dir,
        push_origin: Some(origin),
        origins,
        client,
        signer,
        rings_for: Duration::from_secs(u64::from(args.ring_secs)),
        ice_servers: args.stun.iter().chain(&args.turn).cloned().collect(),
    })
}

/// The origin that browsers find.
fn site(url: &str) -> Result<Url> {
    let site =
        Url::parse(url).with_context(|| format!("--demo-url {url}: give an origin, as https://star.example.org"))?;
    let is_secure = site.scheme() == "https" || (site.scheme() == "http" && is_loopback(site.as_str()));
    ensure!(is_secure, "--demo-url {url}: browsers take https:// only, except on localhost");
    let is_origin = site.as_str().trim_end_matches('/') == site.origin().ascii_serialization();
    ensure!(is_origin, "--demo-url {url}: leave out what is not the origin, {}", site.origin().ascii_serialization());
    Ok(site)
}

/// Public push services, and ours wherever it is.
fn addresses(origin: &str) -> AddressPolicy {
    let host = origin
        .parse::<http::Uri>()
        .ok()
        .and_then(|uri| uri.host().map(|host| host.trim_matches(['[', ']']).to_owned()));
    let own: Option<Network> = host.and_then(|host| host.parse().ok());
    match own {
        Some(own) => AddressPolicy::public().allow(own),
        None if is_loopback(origin) => AddressPolicy::public().allow_loopback(),
        None => AddressPolicy::public(),
    }
}

fn print_welcome(service: &Service, demo: &Demo, opens_browsers: bool) {
    let (origin, site, doorbell) = (service.origin(), demo.site(), own_name());
    let ca = ca_flag(service);
    output::report(format_args!("push service  {origin}"));
    output::report(format_args!("demo          {site}"));
    output::report("");
    if let Some(code) = demo.code() {
        output::report("For the camera of a phone:");
        output::report("");
        output::report(code);
        output::report("");
    }
    output::report("Open it in two browsers that receive from this push service, each in a terminal of its own:");
    for name in ["alice", "mom"] {
        output::report(format_args!("  {doorbell} firefox {origin}{ca} --profile {name} -- {}", quoted(site)));
    }
    output::report("With Chromium, for which the demo must be started with --own-chromiums:");
    output::report(format_args!("  {doorbell} chromium {origin}{ca} --profile mom -- {}", quoted(site)));
    output::report("");
    let end = if opens_browsers { "and call her" } else { "call her, and start it again" };
    output::report(format_args!("Sign in as Alice and as Mom, make both reachable, close Alice's browser, {end}."));
}

/// Starts a browser with the push service and its authority, with a profile, at a page.
type Open = fn(&str, Option<&Path>, &Path, &str) -> Result<Opened>;

/// Who works with the profile: `alice` is Alice.
fn person_of(profile: &Path) -> String {
    let name = profile.file_name().unwrap_or_default().to_string_lossy();
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Preparing a profile may wait for a headless browser, which must not block the services.
async fn open_browser(open: Open, service: &Service, demo: &Demo, named: PathBuf) -> Result<ProfileConfig> {
    let (origin, site) = (service.origin().to_string(), demo.link_as(&person_of(&named))?);
    let ca = service.ca_file().map(Path::to_owned);
    let opened = tokio::task::spawn_blocking(move || open(&origin, ca.as_deref(), &named, &site));
    let Opened { mut process, profile } = opened.await??;
    // The user closes its windows; its process is then waited for.
    std::thread::spawn(move || process.wait());
    Ok(profile)
}

/// The desktop part: wakes the browsers that were opened, once their user has closed them. Without it the demo goes on.
async fn keep_reachable(service: &Service, profiles: Vec<ProfileConfig>, state: PathBuf) {
    if !profiles.is_empty()
        && let Err(why) = wake(service, profiles, state).await
    {
        status(&format!("browsers that you close are not woken: {}", failure::line(&why)));
    }
    std::future::pending().await
}

async fn wake(service: &Service, profiles: Vec<ProfileConfig>, state: PathBuf) -> Result<()> {
    if profiles.iter().any(|profile| profile.browser == Browser::Chromium) {
        // Its extension talks to it.
        program::find().map_err(desktop::explained)?;
    }
    let config = doorbell_desktop::Config {
        url: service.origin().to_string().parse()?,
        trust: Trust::with(service.ca_file())?,
        floor: Urgency::Normal,
        profiles,
        state,
        bounds: Bounds::default(),
        allow_debug_port: false,
    };
    // Nothing asks it for more.
    let (_commands, commanded) = mpsc::channel(1);
    doorbell_desktop::run(config, commanded, |report| status(&report.to_string())).await.map_err(desktop::explained)
}

fn stun(text: &str) -> Result<IceServer, String> {
    let is_stun = ["stun:", "stuns:"].iter().any(|scheme| text.starts_with(scheme));
    if is_stun { Ok(IceServer { url: text.to_owned(), login: None }) } else { Err("it begins with stun:".to_owned()) }
}

fn turn(text: &str) -> Result<IceServer, String> {
    let mut parts = text.splitn(3, ',').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(url), Some(user), Some(password)) if url.starts_with("turn:") || url.starts_with("turns:") => {
            Ok(IceServer { url, login: Some((user, password)) })
        }
        _ => Err("it is turn:HOST:PORT,USER,PASSWORD".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_sends_to_its_own_push_service_and_to_public_ones_only() {
        let permits = |origin: &str, address: &str| addresses(origin).permits(address.parse().unwrap());
        assert!(permits("https://127.0.0.1:8443", "127.0.0.1") && permits("https://127.0.0.1:8443", "9.9.9.9"));
        assert!(!permits("https://127.0.0.1:8443", "10.0.0.1") && !permits("https://push.example.org", "127.0.0.1"));
        assert!(permits("https://10.0.0.7", "10.0.0.7") && !permits("https://10.0.0.7", "10.0.0.8"));
        assert!(permits("https://[::1]:8443", "::1") && permits("https://localhost:8443", "127.0.0.1"));
    }

    #[test]
    fn the_url_of_the_demo_is_an_origin_at_which_browsers_allow_push() {
        for url in ["https://star.example.org", "https://star.example.org/", "http://localhost:8444", "http://[::1]:1"]
        {
            assert_eq!(format!("{}/", url.trim_end_matches('/')), site(url).unwrap().as_str());
        }
        for url in [
            "https://",
            "https://star.example.org:99999",
            "https://star example.org",
            "http://star.example.org",
            "ftp://star.example.org",
            "star.example.org",
            "https://star.example.org/path",
            "https://star.example.org/?query",
            "https://alice@star.example.org",
        ] {
            assert!(site(url).unwrap_err().to_string().starts_with(&format!("--demo-url {url}: ")), "{url}");
        }
    }

    #[test]
    fn a_profile_is_named_after_its_person() {
        for (profile, person) in [("alice", "Alice"), ("./trial/mom", "Mom"), ("zoë 2", "Zoë 2"), ("..", "")] {
            assert_eq!(person_of(Path::new(profile)), person);
        }
    }

    #[test]
    fn stun_and_turn_are_read_and_others_refused() {
        assert!(stun("stun:stun.example.org:3478").is_ok() && stun("turn:x").is_err());
        let server = turn("turn:turn.example.org:3478,user,pass,word").unwrap();
        assert_eq!(server.login, Some(("user".to_owned(), "pass,word".to_owned())));
        assert!(turn("turn:turn.example.org").is_err() && turn("stun:x,a,b").is_err());
    }
}
