//! `doorbell doctor`: examines a push service from the outside, step by step, and names the fix for what is wrong.

mod audience;
mod checkin;
mod chromium;
mod connector;
mod firefox;
mod front;
mod http1;
mod mcs;
mod rejection;
mod report;
mod socket;
mod target;
mod trust;
mod visit;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::failure;
use crate::signals::Signals;
use crate::{USAGE, unusable};
use connector::Connector;
use report::{Finding, Report};
use socket::Idle;
use target::Target;
use visit::Visit;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// The push service, as its users reach it
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// Trust the certificate authorities in this file too (PEM)
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Leave a WebSocket without traffic for this long, in seconds, to find proxies that cut it; 0: do not
    #[arg(long, value_name = "N", default_value = "65")]
    idle_secs: u64,

    /// The address of Chromium's stream (--gcm-mcs-endpoint) [default: the same address]
    #[arg(long, value_name = "URL", conflicts_with = "no_chromium")]
    mcs: Option<String>,

    /// The service does not serve Firefox: leave out its WebSocket
    #[arg(long)]
    no_firefox: bool,

    /// The service does not serve Chromium: leave out its stream
    #[arg(long)]
    no_chromium: bool,

    /// Look at this Firefox profile too: does it use this service?
    #[arg(long, value_name = "DIR")]
    firefox_profile: Option<PathBuf>,

    /// Look at this Chromium profile too: has it used a push service?
    #[arg(long, value_name = "DIR")]
    chromium_profile: Option<PathBuf>,

    /// Print all steps as one JSON document at the end
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  doorbell doctor                        the service on this machine
  doorbell doctor https://push.example.org       also behind a proxy
  doorbell doctor https://push.example.org --idle-secs 0 --json \\
      | jq '.steps[] | select(.result == \"failed\")'
  doorbell doctor https://push.corp --ca corp-ca.pem \\
      --firefox-profile ~/.mozilla/firefox/x1y2.default
  doorbell doctor https://push.corp --mcs https://push.corp:5228 \\
      --chromium-profile ~/.config/chromium/Default

Run it where the users are: a firewall or a proxy treats it as it treats them. It subscribes, sends itself a message \
and removes its subscriptions; it needs no access to the service's machine. It takes a little longer than --idle-secs.

Exit status:
  0  nothing is wrong (there may be warnings)
  1  something is, or the doctor was interrupted
  2  the arguments cannot be used";

/// How long one exchange may take. A service that needs longer is broken for users too.
const STEP_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let ca_files: Vec<PathBuf> = args.ca.clone().into_iter().chain(crate::state::local_ca(&args.url)).collect();
    let verifier = match trust::verifier(&ca_files) {
        Ok(verifier) => verifier,
        Err(error) => return Ok(unusable(&error)),
    };
    let mut report = Report::new(&args.url, args.json);
    let mut made = Made::default();

    let examination = examine(&args, &ca_files, &verifier, &mut report, &mut made);
    let mut interrupted = tokio::select! {
        () = examination => false,
        _ = signals.next() => true,
    };
    if let Some(visit) = &mut made.visit {
        report.add("tidy up", visit.tidy_up().await);
    }
    if let Some(idle) = made.idle.filter(|_| !interrupted) {
        report.note(&format!("waiting until the WebSocket has been idle for {} s", args.idle_secs));
        let finding = tokio::select! {
            finding = idle.finding() => finding,
            _ = signals.next() => {
                interrupted = true;
                Finding::skipped("interrupted")
            }
        };
        report.add("idle", finding);
    }
    if interrupted {
        report.add("all", Finding::failed("interrupted", "let it run to its end: it takes a little over --idle-secs"));
    }
    let status = report.finish();
    // The report shows which; a script must not take a mistyped URL for a service that is broken.
    let is_usable = [Some(&args.url), args.mcs.as_ref()].into_iter().flatten().all(|url| Target::parse(url).is_ok());
    Ok(if is_usable { status } else { ExitCode::from(USAGE) })
}

/// What must be cleaned up in any case.
#[derive(Default)]
struct Made {
    visit: Option<Visit>,
    idle: Option<Idle>,
}

/// Every step but the last two, which clean up and wait.
async fn examine(args: &Args, ca_files: &[PathBuf], verifier: &trust::Verifier, report: &mut Report, made: &mut Made) {
    // One that is not a URL is reported by the step of the stream.
    let stream = args.mcs.as_ref().and_then(|url| Target::parse(url).ok());
    if let Some(connector) = reach(&args.url, verifier, report).await {
        let http2 = report.add("http2", connector.http2().await);
        greet(&connector, report).await;
        deliver(&connector, ca_files, http2, report, made).await;
        made.idle = if args.no_firefox {
            report.skip(&["websocket", "idle"], "--no-firefox");
            None
        } else {
            open_socket(&connector, args.idle_secs, report).await
        };
        let port = stream.as_ref().unwrap_or(&connector.target).port;
        let checkin =
            if args.no_chromium { Finding::skipped("--no-chromium") } else { checkin::check(&connector, port).await };
        report.add("checkin", checkin);
        let mcs = match &args.mcs {
            _ if args.no_chromium => Finding::skipped("--no-chromium"),
            None => mcs::check(&connector).await,
            Some(url) => mcs::check_at(url, verifier).await,
        };
        report.add("mcs", mcs);
    } else {
        report.skip(&["rest"], "every other step needs this one");
    }
    let Ok(target) = Target::parse(&args.url) else { return };
    if let Some(profile) = &args.firefox_profile {
        report.add("firefox", firefox::check(profile, &target));
    }
    if let Some(profile) = &args.chromium_profile {
        report.add("chromium", chromium::check(profile, &target, stream.as_ref().unwrap_or(&target)));
    }
}

/// From the URL to a TLS connection; `None` if no other step is possible.
async fn reach(url: &str, verifier: &trust::Verifier, report: &mut Report) -> Option<Connector> {
    let target = report.take("url", Target::check(url))?;
    let addresses = report.take("name", target.resolve().await)?;
    let connector = report.take("tcp", Connector::open(target, addresses, verifier.clone()).await)?;
    report.add("tls", connector.certificate().await).then_some(connector)
}

/// What a browser shows that opens the service, and the time of its clock.
async fn greet(connector: &Connector, report: &mut Report) {
    match front::get(connector).await {
        Ok(front) => {
            report.add("clock", front.clock());
            report.add("doorbell", front.greeting(&connector.target));
        }
        Err(error) => {
            report.add("clock", Finding::skipped("there is no answer with a Date"));
            let fix = "read the logs of the proxy and of the service";
            report.add("doorbell", Finding::failed(format!("GET / is not answered: {error}"), fix));
        }
    }
}

/// Subscribes, sends, receives.
async fn deliver(connector: &Connector, ca_files: &[PathBuf], http2: bool, report: &mut Report, made: &mut Made) {
    if !http2 {
        report.skip(&["subscribe", "send", "receive", "receipt", "audience"], "receiving by server push needs HTTP/2");
        return;
    }
    let visit = match Visit::new(&connector.target, ca_files) {
        Ok(visit) => made.visit.insert(visit),
        Err(error) => {
            report.add("subscribe", Finding::failed(failure::line(&error), "look at --ca and at this machine's CAs"));
            return;
        }
    };
    if report.add("subscribe", visit.subscribe(&connector.target).await) {
        visit.deliver(report).await;
        report.add("audience", visit.audience(connector).await);
    } else {
        report.skip(&["send", "receive", "receipt", "audience"], "there is no subscription");
    }
}

/// Uses a WebSocket, and then leaves it idle while other steps run.
async fn open_socket(connector: &Connector, idle_secs: u64, report: &mut Report) -> Option<Idle> {
    let (finding, socket) = socket::check(connector).await;
    report.add("websocket", finding);
    match socket {
        Some(socket) if idle_secs > 0 => return Some(Idle::watch(socket, Duration::from_secs(idle_secs))),
        Some(_) => report.skip(&["idle"], "--idle-secs 0"),
        None => report.skip(&["idle"], "there is no WebSocket"),
    }
    None
}
