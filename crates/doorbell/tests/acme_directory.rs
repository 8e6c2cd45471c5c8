//! Renewal when a certificate authority suggests it, kinds of certificates, and directories that fail or are hostile: the
//! service keeps its certificate, its log has one line with the fix, and it recovers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::json;
use support::clock::Deadline;
use support::directory::{Answer, Directory, Fault, Manner, Renewal};
use support::host::{DOMAIN, Host};
use support::pebble::free_port;
use support::process::Running;
use tempfile::TempDir;

/// A service that got its first certificate from the directory.
struct Case {
    directory: Directory,
    host: Host,
    state: TempDir,
}

impl Case {
    async fn start(manner: Manner, settings: &[&str]) -> Self {
        let case = Self::without_certificate(manner, settings).await;
        case.host.uses(1);
        case
    }

    async fn without_certificate(manner: Manner, settings: &[&str]) -> Self {
        let (port, state) = (free_port(), tempfile::tempdir().unwrap());
        let directory = Directory::start(DOMAIN, port, manner).await;
        let host = Host::start(state.path(), port, (&directory.url(), &directory.ca()), settings);
        Self { directory, host, state }
    }

    /// A due certificate is not renewed, because of this: the line of the log.
    async fn fails(fault: Fault) -> (Self, String) {
        Self::fail([fault]).await.pop().unwrap()
    }

    /// The same for several services at a time.
    async fn fail(faults: impl IntoIterator<Item = Fault>) -> Vec<(Self, String)> {
        let mut cases = Vec::new();
        for fault in faults {
            let case = Self::start(due_soon(), &[]).await;
            let first = case.host.leaf(case.directory.root()).await;
            case.directory.seen().manner.fault = Some(fault);
            cases.push((case, first));
        }
        let mut failed = Vec::new();
        for (case, first) in cases {
            let line = case.host.service.prints("no new certificate");
            assert_eq!(case.host.leaf(case.directory.root()).await, first, "the old certificate stays: {line}");
            assert!(line.contains(" ERROR ") && line.contains("old_certificate_ends=\"20"), "{line}");
            failed.push((case, line));
        }
        failed
    }

    /// The operator has solved the problem.
    fn recovers(&self) {
        self.directory.seen().manner.fault = None;
        self.host.hang_up();
        self.host.uses(2);
        assert_eq!(self.host.service.count("no new certificate"), 1, "one line");
    }
}

/// A certificate that is renewed as soon as the service may order one more: after a quarter of its life.
fn due_soon() -> Manner {
    Manner { lifetime_secs: 40, renewal: Some(NOW), ..Manner::default() }
}

/// An authority that has revoked a certificate wants it renewed at once (RFC 9773 s4.2).
const NOW: Renewal = Renewal { window: (-20, -10), retry_after: "21600", raw: None };
/// A window that a certificate of a minute never reaches.
const LATER: Renewal = Renewal { window: (3600, 7200), retry_after: "21600", raw: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_certificate_is_renewed_in_the_window_that_the_authority_suggests_rfc_9773() {
    // The last third would begin after 27 s, and the authority wants a later time.
    let renewal = Renewal { window: (30, 31), retry_after: "21600", raw: None };
    let case = Case::start(Manner { lifetime_secs: 40, renewal: Some(renewal), ..Manner::default() }, &[]).await;
    case.directory.has_seen("a renewal", |seen| seen.issued.len() == 2).await;
    let seen = case.directory.seen();
    assert!(seen.issued[1].at - seen.issued[0].at >= 30, "not before the window");
    assert_eq!(seen.asked[0], seen.issued[0].id, "it asks by the name of the certificate");
    assert_eq!(seen.orders[0]["replaces"], json!(null));
    assert_eq!(seen.orders[1]["replaces"], json!(seen.issued[0].id));
    assert_eq!((seen.orders.len(), seen.accounts, seen.terms_agreed), (2, 1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_window_that_moves_into_the_past_renews_the_certificate_at_once_rfc_9773() {
    let manner = Manner { lifetime_secs: 60, renewal: Some(LATER), ..Manner::default() };
    let case = Case::start(manner, &[]).await;
    case.directory.has_seen("a question", |seen| !seen.asked.is_empty()).await;
    case.directory.seen().manner.renewal = Some(NOW);
    // The authority would be asked again in six hours: the operator has learned of the revocation.
    case.host.hang_up();
    case.directory.has_seen("a renewal", |seen| seen.issued.len() == 2).await;
    case.host.uses(2);
    let seen = case.directory.seen();
    let after = seen.issued[1].at - seen.issued[0].at;
    assert!((15..40).contains(&after), "not in the last third of its life, and after {after} s");
    assert_eq!(seen.orders[1]["replaces"], json!(seen.issued[0].id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn hostile_answers_to_the_question_when_to_renew_change_nothing_and_are_not_asked_for_again_and_again() {
    let case = Case::start(Manner { lifetime_secs: 40, renewal: Some(LATER), ..Manner::default() }, &[]).await;
    case.directory.has_seen("a question", |seen| !seen.asked.is_empty()).await;
    let window = (7200, 3600);
    let hostile = [
        Renewal { window, retry_after: "0", raw: None },
        Renewal { window, retry_after: "18446744073709551615", raw: None },
        Renewal { window, retry_after: "soon", raw: None },
        Renewal { retry_after: "Fri, 31 Dec 9999 23:59:59 GMT", ..LATER },
        Renewal { raw: Some(Answer::page(200)), ..LATER },
        Renewal { raw: Some(Answer::endless()), ..LATER },
        Renewal { raw: Some(Answer::page(302).with("location", "https://127.0.0.1:1/")), ..LATER },
        Renewal { window, retry_after: "0", raw: None },
    ];
    let questions = 1 + hostile.len();
    for (number, renewal) in hostile.into_iter().enumerate() {
        case.directory.seen().manner.renewal = Some(renewal);
        case.host.hang_up();
        case.directory.has_seen("another question", |seen| seen.asked.len() >= number + 2).await;
    }
    case.directory.has_seen("a renewal", |seen| seen.issued.len() == 2).await;
    case.host.uses(2);
    let seen = case.directory.seen();
    // The new certificate is asked for, too.
    assert!((questions..=questions + 1).contains(&seen.asked.len()), "{} questions", seen.asked.len());
    assert_eq!(case.host.service.count(" ERROR "), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_short_lived_certificate_is_ordered_by_its_profile_and_renewed_in_time() {
    let manner = Manner { lifetime_secs: 24, profiles: vec!["classic", "shortlived"], ..Manner::default() };
    let case = Case::start(manner, &["--acme-profile", "shortlived"]).await;
    let first = case.host.leaf(case.directory.root()).await;
    case.host.uses(2);
    let second = case.host.leaf(case.directory.root()).await;
    case.host.uses(3);
    let third = case.host.leaf(case.directory.root()).await;
    assert!(first != second && second != third);
    let seen = case.directory.seen();
    assert!(seen.orders.iter().all(|order| order["profile"] == "shortlived"), "{:?}", seen.orders);
    for pair in seen.issued.windows(2) {
        let after = pair[1].at - pair[0].at;
        assert!((16..24).contains(&after), "in the last third of its life, and after {after} s");
    }
    assert_eq!(case.host.service.count(" ERROR "), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_profile_that_the_authority_does_not_have_is_an_error_that_names_those_that_it_has() {
    for (profiles, words) in [
        (vec!["shortlived", "classic"], "has no profile `short-lived`: it has classic, shortlived"),
        (vec![], "has no profile `short-lived`, and no other one"),
    ] {
        let manner = Manner { lifetime_secs: 600, profiles, ..Manner::default() };
        let case = Case::without_certificate(manner, &["--acme-profile", "short-lived"]).await;
        let line = case.host.service.prints("no new certificate");
        assert!(line.contains(words) && line.contains("give another acme_profile, or none"), "{line}");
        assert!(case.directory.seen().orders.is_empty(), "nothing is ordered");
        // The directory is read again.
        case.directory.seen().manner.profiles = vec!["short-lived"];
        case.host.hang_up();
        case.host.uses(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn where_the_authority_limits_the_rate_the_service_waits_as_long_as_it_asks() {
    let limited = Answer::problem(429, "rateLimited", "too many certificates").with("retry-after", "5000");
    let (_case, line) = Case::fails(Fault::Order(limited)).await;
    for words in ["too many certificates", "next_attempt_in_secs=5000", "it is tried again"] {
        assert!(line.contains(words), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_domain_that_leads_elsewhere_is_named_with_the_address_that_the_authority_tried() {
    let (_case, line) = Case::fails(Fault::Elsewhere).await;
    for words in ["192.0.2.7: Connection refused", "port 443 of the domain", "next_attempt_in_secs=720"] {
        assert!(line.contains(words), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_directory_that_rejects_every_nonce_or_has_a_failure_of_its_own_is_asked_again() {
    let failure = Answer::page(503).with("retry-after", "31");
    let words = [
        ["badNonce", "next_attempt_in_secs=30", "it is tried again"],
        ["it answered 503", "next_attempt_in_secs=31", "a problem of its own"],
    ];
    for ((case, line), words) in Case::fail([Fault::Nonces, Fault::All(failure)]).await.into_iter().zip(words) {
        assert!(words.iter().all(|words| line.contains(words)), "{line}");
        // By itself, without a signal.
        case.directory.seen().manner.fault = None;
        case.host.uses(2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn new_terms_of_service_are_an_error_that_names_where_to_agree() {
    let place = "https://ca.example/terms?account=7";
    let (case, line) = Case::fails(Fault::Order(Answer::problem_at(403, "userActionRequired", place))).await;
    assert!(line.contains(&format!("new terms of service: open {place}")), "{line}");
    case.recovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_deactivated_account_is_an_error_that_says_which_file_to_remove() {
    let refused = Answer::problem(401, "unauthorized", "the account is deactivated");
    let (case, line) = Case::fails(Fault::Account(refused)).await;
    assert!(line.contains("the account is deactivated") && line.contains("remove acme/account.json"), "{line}");
    std::fs::remove_file(case.state.path().join("acme/account.json")).unwrap();
    case.host.hang_up();
    case.host.uses(2);
    assert_eq!(case.directory.seen().accounts, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_account_that_the_authority_has_forgotten_is_created_again() {
    let forgotten = Answer::problem(400, "accountDoesNotExist", "who?");
    let (case, line) = Case::fails(Fault::Account(forgotten)).await;
    assert!(line.contains("the next attempt creates another one"), "{line}");
    case.host.hang_up();
    case.host.uses(2);
    assert_eq!(case.directory.seen().accounts, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn answers_without_an_end_too_large_or_from_elsewhere_are_refused_in_one_line_and_the_service_recovers() {
    let large = Answer::json(201, &json!({ "authorizations": vec!["https://127.0.0.1:1/authorization"; 100_000] }));
    let elsewhere = Answer::page(307).with("location", "https://127.0.0.1:1/dir");
    let cases = [
        (Answer::endless(), ["longer than 262144 bytes", "must be the URL of a directory of ACME"]),
        (large, ["longer than 262144 bytes", "must be the URL of a directory of ACME"]),
        (elsewhere, ["307", "give the URL of the directory itself as acme_directory"]),
        (Answer::page(200), ["JSON", "must be the URL of a directory of ACME"]),
    ];
    let (answers, words): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let failed = Case::fail(answers.into_iter().map(Fault::Order)).await;
    for ((case, line), words) in failed.into_iter().zip(words) {
        assert!(words.iter().all(|words| line.contains(words)), "{line}");
        case.recovers();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_answer_that_never_ends_is_given_up_after_a_while() {
    let case = Case::start(Manner { lifetime_secs: 80, ..due_soon() }, &[]).await;
    let first = case.host.leaf(case.directory.root()).await;
    case.directory.seen().manner.fault = Some(Fault::Order(Answer::stalls()));
    case.directory.has_seen("the second order", |seen| seen.orders.len() == 2).await;
    assert_eq!(case.host.leaf(case.directory.root()).await, first);
    let line = case.host.service.prints("no new certificate");
    assert!(line.contains("was not complete after 30 s"), "{line}");
    case.recovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_stop_in_an_order_costs_half_a_minute_before_the_validation_and_twelve_minutes_after_it() {
    type Seen = fn(&support::directory::Seen) -> bool;
    let ended: [(Fault, Seen, u64, &str); 2] = [
        (
            Fault::Order(Answer::stalls()),
            |seen| seen.orders.len() == 1,
            30,
            "`doorbell reload` starts the next attempt",
        ),
        (Fault::Validation(Answer::stalls()), |seen| seen.validations == 1, 720, "nothing shortens the wait"),
    ];
    for (fault, has_begun, wait, advice) in ended {
        let manner = Manner { lifetime_secs: 600, fault: Some(fault), ..Manner::default() };
        let mut case = Case::without_certificate(manner, &[]).await;
        case.directory.has_seen("the order", has_begun).await;
        case.host.service.terminate();
        assert!(case.host.service.exit(|_| {}).success());
        case.directory.seen().manner.fault = None;

        let admin = free_port();
        let settings = ["--admin-listen", &format!("127.0.0.1:{admin}")];
        let directory = (case.directory.url(), case.directory.ca());
        case.host = Host::start(case.state.path(), case.host.port, (&directory.0, &directory.1), &settings);
        let line = case.host.service.prints("failed or was interrupted");
        let (_, left) = line.split_once("next_attempt_in_secs=").unwrap();
        let left: u64 = left.split(' ').next().unwrap().parse().unwrap();
        assert!(line.contains(advice) && left <= wait && left > wait / 30, "{line}");
        let ready = support::prometheus::get(&format!("127.0.0.1:{admin}"), "/readyz", "*/*").1;
        assert!(ready.contains("the next attempt is in ") && ready.contains(advice), "{ready}");

        case.host.hang_up();
        if wait == 30 {
            case.host.uses(1);
            let ready = support::prometheus::get(&format!("127.0.0.1:{admin}"), "/readyz", "*/*").1;
            assert!(!ready.contains("the next attempt"), "{ready}");
        } else {
            // It looks at the certificate each 5 s, and at the signal.
            case.host.service.prints("reloaded: no setting has changed");
            let deadline = Deadline::soon();
            loop {
                let ready = support::prometheus::get(&format!("127.0.0.1:{admin}"), "/readyz", "*/*").1;
                let (_, now) = ready.split_once("the next attempt is in ").expect("it waits");
                if now.split(' ').next().unwrap().parse::<u64>().unwrap() + 6 <= left {
                    break;
                }
                assert!(!deadline.left().is_zero(), "{ready}");
            }
            let seen = case.directory.seen();
            assert_eq!((seen.orders.len(), seen.validations), (1, 1), "a reload does not shorten it");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_file_of_the_settings_that_cannot_be_read_stops_the_start_with_one_line_and_a_reload_needs_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (gone, key) = (folder.path().join("gone"), folder.path().join("key"));
    std::fs::write(&key, "-_8\n").unwrap();
    let binding = ["--acme-binding-id", "7", "--acme-binding-key-file"];
    for (settings, words) in [
        (vec!["--acme-ca"], ["cannot read acme_ca", "give as acme_ca a file"]),
        (binding.to_vec(), ["cannot read acme_binding_key_file", "the key that the authority shows"]),
    ] {
        let mut command = support::service::doorbell("serve");
        command.args(["--domain", DOMAIN, "--listen", "127.0.0.1:0", "--state-dir"]).arg(folder.path().join("state"));
        let mut service = Running::start(command.args(settings).arg(&gone));
        assert!(!service.exit(|_| {}).success());
        let line = service.prints(words[0]);
        assert!(line.contains(words[1]) && line.contains(gone.to_str().unwrap()), "{line}");
    }

    let with_key = [&binding[..], &[key.to_str().unwrap()]].concat();
    let case = Case::start(Manner { lifetime_secs: 600, ..Manner::default() }, &with_key).await;
    std::fs::remove_file(&key).unwrap();
    case.host.hang_up();
    case.host.service.prints("reloaded");
    assert_eq!(case.host.service.count(" ERROR "), 0);
    drop(case.host);
    let directory = (case.directory.url(), case.directory.ca());
    let again = Host::start(case.state.path(), free_port(), (&directory.0, &directory.1), &with_key);
    assert_eq!(again.service.count(" ERROR "), 0, "the account needs no key any more");
}
