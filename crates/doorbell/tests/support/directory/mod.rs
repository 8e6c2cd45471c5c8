//! A small directory of ACME (RFC 8555) with renewal information (RFC 9773), profiles and faults. It validates by a real
//! handshake (RFC 8737) and signs with a CA of its own.

mod answer;
mod validation;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    SerialNumber,
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use answer::Answer;

use super::authority::Signed;
use super::clock::{Deadline, now};

/// The key identifier of the CA: the first part of its certificates' names (RFC 9773 s4.1).
const CA_KEY_ID: [u8; 20] = [0xd1; 20];
/// Serial numbers from here on: the highest bit is set, so that the name has a byte more.
const FIRST_SERIAL: u64 = 0x8765_4321_0000_0001;

/// What the directory does. A test may change it at any time.
#[derive(Default)]
pub struct Manner {
    /// How long its certificates are valid, in seconds.
    pub lifetime_secs: i64,
    /// Its answer to the question when to renew; without it there is no such interface.
    pub renewal: Option<Renewal>,
    /// The kinds of certificates.
    pub profiles: Vec<&'static str>,
    pub fault: Option<Fault>,
}

/// When to renew.
#[derive(Clone)]
pub struct Renewal {
    /// The window, in seconds after the newest certificate was signed.
    pub window: (i64, i64),
    pub retry_after: &'static str,
    /// In place of the JSON.
    pub raw: Option<Answer>,
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// Each order gets this answer.
    Order(Answer),
    /// Each signed request gets this answer, as long as it is of the first account.
    Account(Answer),
    /// Everything gets this answer.
    All(Answer),
    /// The request to validate gets this answer, and nothing is validated.
    Validation(Answer),
    /// No nonce is good.
    Nonces,
    /// The domain leads elsewhere, to an address where nothing answers.
    Elsewhere,
}

/// What it has seen, and what it knows.
#[derive(Default)]
pub struct Seen {
    pub manner: Manner,
    /// The orders: what each asked for.
    pub orders: Vec<Value>,
    /// How often it was asked to validate the domain.
    pub validations: usize,
    /// The certificates whose renewal was asked for.
    pub asked: Vec<String>,
    pub issued: Vec<Issued>,
    /// How many accounts were created.
    pub accounts: usize,
    /// The agreement to the terms of the last account.
    pub terms_agreed: bool,
    nonces: HashSet<String>,
    minted: u64,
    /// Each account's key, as a point.
    keys: Vec<[Vec<u8>; 2]>,
    chain: String,
    state: OrderState,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum OrderState {
    #[default]
    Pending,
    Ready,
    Invalid,
    Valid,
}

/// A certificate that it signed.
#[derive(Clone)]
pub struct Issued {
    /// Its name in questions and orders.
    pub id: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// A running directory.
pub struct Directory {
    shared: Arc<Shared>,
    folder: TempDir,
    root: String,
    task: AbortHandle,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
    base: String,
    domain: String,
    /// Where the domain leads to.
    port: u16,
    issuer: Issuer<'static, KeyPair>,
}

impl Directory {
    /// Starts one that validates `domain` at `port` of this machine.
    pub async fn start(domain: &str, port: u16, manner: Manner) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Signed::until(2099, "127.0.0.1");
        std::fs::write(folder.path().join("ca.pem"), &own.ca_pem).expect("a file");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_no_client_auth();
        let tls = builder.with_single_cert(vec![own.der.clone()], own.private_key()).expect("a certificate");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("https://{}", socket.local_addr().expect("an address"));

        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "a test's issuer");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_identifier_method = KeyIdMethod::PreSpecified(CA_KEY_ID.to_vec());
        let key = KeyPair::generate().expect("a key");
        let root = ca.self_signed(&key).expect("a CA").pem();
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen { manner, ..Seen::default() }),
            changed: watch::channel(()).0,
            base,
            domain: domain.to_owned(),
            port,
            issuer: Issuer::new(ca, key),
        });
        let task = tokio::spawn(answer::serve(socket, Arc::new(tls), shared.clone())).abort_handle();
        Self { shared, folder, root, task }
    }

    /// The URL of its directory.
    pub fn url(&self) -> String {
        format!("{}/dir", self.shared.base)
    }

    /// The CA of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The root of the certificates that it signs, as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What it has seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().expect("no task panics")
    }

    /// Waits until it has seen something.
    pub async fn has_seen(&self, what: &str, is_there: impl Fn(&Seen) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let deadline = Deadline::soon();
        while !is_there(&self.seen()) {
            let more = timeout(deadline.left(), changed.changed()).await;
            more.unwrap_or_else(|_| panic!("the directory did not see {what}")).expect("it runs");
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The signed part of a request.
struct Signature {
    /// The number of the account, or its new key.
    account: Option<usize>,
    key: [Vec<u8>; 2],
    payload: Value,
}

impl Shared {
    /// Answers a request.
    async fn answer(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let answered = self.route(method, path, body).await.unwrap_or_else(|refused| refused);
        self.changed.send_replace(());
        answered.with("replay-nonce", &self.nonce())
    }

    async fn route(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, Answer> {
        let fault = self.seen().manner.fault.clone();
        if let Some(Fault::All(answer)) = &fault {
            return Err(answer.clone());
        }
        match (method, path) {
            ("GET", "/dir") => return Ok(self.directory()),
            ("HEAD", "/nonce") => return Ok(Answer::json(200, &Value::Null)),
            ("GET", path) if path.starts_with("/renewal/") => return Ok(self.renewal(&path["/renewal/".len()..])),
            _ => {}
        }
        let signed = self.signed(path, body)?;
        match (&fault, signed.account) {
            (Some(Fault::Nonces), _) => return Err(Answer::problem(400, "badNonce", "try again")),
            (Some(Fault::Account(answer)), Some(0)) => return Err(answer.clone()),
            _ => {}
        }
        Ok(match path {
            "/account" => self.account(signed),
            "/order" => match fault {
                Some(Fault::Order(answer)) => {
                    self.seen().orders.push(signed.payload);
                    answer
                }
                _ => self.new_order(signed.payload)?,
            },
            "/order/1" => self.order(),
            "/authorization" => self.authorization(&signed),
            "/challenge" => {
                self.seen().validations += 1;
                if let Some(Fault::Validation(answer)) = fault {
                    return Ok(answer);
                }
                let validated = !matches!(fault, Some(Fault::Elsewhere))
                    && validation::validates(&self.domain, self.port, &key_authorization(&signed.key)).await;
                self.seen().state = if validated { OrderState::Ready } else { OrderState::Invalid };
                Answer::json(200, &self.challenge())
            }
            "/finalize" => self.finalize(&signed.payload),
            "/certificate" => Answer::pem(&self.seen().chain),
            _ => Answer::problem(404, "malformed", "there is no such resource"),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no task panics")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn nonce(&self) -> String {
        let mut seen = self.seen();
        seen.minted += 1;
        let nonce = format!("nonce-{}", seen.minted);
        seen.nonces.insert(nonce.clone());
        nonce
    }

    /// Checks nonce, URL and signature (RFC 8555 s6.2 to s6.5).
    fn signed(&self, path: &str, body: &[u8]) -> Result<Signature, Answer> {
        let malformed = || Answer::problem(400, "malformed", "this is not a signed request");
        let decoded = |value: &Value| B64.decode(value.as_str()?).ok();
        let jws: Value = serde_json::from_slice(body).map_err(|_| malformed())?;
        let parts = (decoded(&jws["protected"]), decoded(&jws["payload"]), decoded(&jws["signature"]));
        let (Some(header), Some(payload), Some(signature)) = parts else { return Err(malformed()) };
        let header: Value = serde_json::from_slice(&header).map_err(|_| malformed())?;
        if !self.seen().nonces.remove(header["nonce"].as_str().unwrap_or_default()) {
            return Err(Answer::problem(400, "badNonce", "this nonce is unknown"));
        }
        let account = header["kid"].as_str().and_then(|kid| kid.rsplit('/').next()?.parse::<usize>().ok());
        let key = match account {
            Some(number) => self.seen().keys.get(number).cloned(),
            None => decoded(&header["jwk"]["x"]).zip(decoded(&header["jwk"]["y"])).map(|(x, y)| [x, y]),
        };
        let Some(key) = key else { return Err(Answer::problem(400, "accountDoesNotExist", "create one")) };
        let text = [&jws["protected"], &jws["payload"]].map(|part| part.as_str().unwrap_or_default()).join(".");
        let point = [&[4], key[0].as_slice(), key[1].as_slice()].concat();
        let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text.as_bytes(), &signature);
        if verified.is_err() || header["url"] != self.url(path) {
            return Err(malformed());
        }
        Ok(Signature { account, key, payload: serde_json::from_slice(&payload).unwrap_or(Value::Null) })
    }

    fn directory(&self) -> Answer {
        let seen = self.seen();
        let profiles = seen.manner.profiles.iter().map(|name| ((*name).to_owned(), json!("a kind"))).collect();
        let mut directory = json!({
            "newNonce": self.url("/nonce"), "newAccount": self.url("/account"), "newOrder": self.url("/order"),
            "meta": { "profiles": Value::Object(profiles) },
        });
        if seen.manner.renewal.is_some() {
            directory["renewalInfo"] = json!(self.url("/renewal"));
        }
        Answer::json(200, &directory)
    }

    fn renewal(&self, id: &str) -> Answer {
        let mut seen = self.seen();
        seen.asked.push(id.to_owned());
        let (Some(renewal), Some(newest)) = (seen.manner.renewal.clone(), seen.issued.last()) else {
            return Answer::problem(404, "malformed", "there is no such certificate");
        };
        if newest.id != id {
            return Answer::problem(404, "malformed", "this is not the newest certificate");
        }
        let (start, end) = (date(newest.at + renewal.window.0), date(newest.at + renewal.window.1));
        let usual = Answer::json(200, &json!({ "suggestedWindow": { "start": start, "end": end } }));
        renewal.raw.unwrap_or(usual).with("retry-after", renewal.retry_after)
    }

    fn account(&self, signed: Signature) -> Answer {
        let mut seen = self.seen();
        seen.accounts += 1;
        seen.terms_agreed = signed.payload["termsOfServiceAgreed"] == true;
        seen.keys.push(signed.key);
        let url = self.url(&format!("/account/{}", seen.keys.len() - 1));
        Answer::json(201, &json!({ "status": "valid" })).with("location", &url)
    }

    fn new_order(&self, payload: Value) -> Result<Answer, Answer> {
        let mut seen = self.seen();
        seen.orders.push(payload.clone());
        if payload["identifiers"] != json!([{ "type": "dns", "value": self.domain }]) {
            return Err(Answer::problem(400, "rejectedIdentifier", "another domain"));
        }
        seen.state = OrderState::Pending;
        drop(seen);
        let mut order = self.order_json();
        if !payload["replaces"].is_null() {
            order["replaces"] = payload["replaces"].clone();
        }
        Ok(Answer::json(201, &order).with("location", &self.url("/order/1")))
    }

    fn order(&self) -> Answer {
        Answer::json(200, &self.order_json())
    }

    fn order_json(&self) -> Value {
        let status = match self.seen().state {
            OrderState::Pending => "pending",
            OrderState::Ready => "ready",
            OrderState::Invalid => "invalid",
            OrderState::Valid => "valid",
        };
        let mut order = json!({
            "status": status, "identifiers": [{ "type": "dns", "value": self.domain }],
            "authorizations": [self.url("/authorization")], "finalize": self.url("/finalize"),
        });
        if status == "valid" {
            order["certificate"] = json!(self.url("/certificate"));
        }
        if status == "invalid" {
            order["error"] = answer::document("unauthorized", "an authorization is invalid");
        }
        order
    }

    fn authorization(&self, _signed: &Signature) -> Answer {
        let status = match self.seen().state {
            OrderState::Pending => "pending",
            OrderState::Invalid => "invalid",
            OrderState::Ready | OrderState::Valid => "valid",
        };
        let identifier = json!({ "type": "dns", "value": self.domain });
        Answer::json(200, &json!({ "status": status, "identifier": identifier, "challenges": [self.challenge()] }))
    }

    fn challenge(&self) -> Value {
        let mut challenge = json!({
            "type": "tls-alpn-01", "url": self.url("/challenge"), "token": validation::TOKEN, "status": "pending",
        });
        if self.seen().state == OrderState::Invalid {
            challenge["status"] = json!("invalid");
            challenge["error"] = answer::document("connection", "192.0.2.7: Connection refused");
        }
        challenge
    }

    fn finalize(&self, payload: &Value) -> Answer {
        let csr = payload["csr"].as_str().and_then(|csr| B64.decode(csr).ok()).unwrap_or_default();
        let Ok(mut request) = CertificateSigningRequestParams::from_der(&csr.into()) else {
            return Answer::problem(400, "badCSR", "it cannot be read");
        };
        let mut seen = self.seen();
        let at = now().as_millis() / 1000;
        let serial = FIRST_SERIAL + u64::try_from(seen.issued.len()).expect("few certificates");
        request.params.serial_number = Some(SerialNumber::from(serial));
        request.params.use_authority_key_identifier_extension = true;
        let instant = |secs| OffsetDateTime::from_unix_timestamp(secs).expect("a date");
        request.params.not_before = instant(at);
        request.params.not_after = instant(at + seen.manner.lifetime_secs);
        seen.chain = request.signed_by(&self.issuer).expect("a certificate").pem();
        // The bytes of the number in DER, with the zero before a highest bit.
        let number = [&[0], serial.to_be_bytes().as_slice()].concat();
        seen.issued.push(Issued { id: format!("{}.{}", B64.encode(CA_KEY_ID), B64.encode(number)), at });
        seen.state = OrderState::Valid;
        drop(seen);
        self.order()
    }
}

/// What proves that the account's owner answers (RFC 8555 s8.1, RFC 7638).
fn key_authorization(key: &[Vec<u8>; 2]) -> String {
    let [x, y] = [&key[0], &key[1]].map(|part| B64.encode(part));
    let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    format!("{}.{}", validation::TOKEN, B64.encode(digest(&SHA256, thumbprint.as_bytes())))
}

/// A moment as RFC 3339 has it.
fn date(secs: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(secs).expect("a date");
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}
