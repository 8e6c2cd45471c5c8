//! A web application with axum: it stores the subscriptions that its page posts, and sends each a message.
//!
//! ```sh
//! cargo run --example axum_app
//! ```
//!
//! * `GET /key` returns the public key, which the page passes to `pushManager.subscribe()` as `applicationServerKey`.
//! * `POST /subscriptions` stores what `subscription.toJSON()` returned.
//! * `POST /messages` sends the body to all subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use doorbell_sender::{
    Answer, Client, ClientConfig, Message, Options, RetryPolicy, Signer, SigningKey, Subject, Subscription, Ttl,
};

/// How many subscriptions the application stores: anyone can post one.
const SUBSCRIPTIONS_MAX: usize = 100_000;

struct App {
    client: Client,
    signer: Signer,
    /// By endpoint. A real application has a table, with `subscription.to_json()` or sqlx's `Json<Subscription>` in a column.
    subscriptions: Mutex<HashMap<String, Subscription>>,
}

impl App {
    fn subscriptions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A real application generates its key once and keeps it: `to_pem` writes it.
    let signer = Signer::new(SigningKey::generate()?, Some(Subject::parse("mailto:ops@example.com")?));
    let app = App { client: Client::new(ClientConfig::default())?, signer, subscriptions: Mutex::default() };
    let routes = Router::new()
        .route("/key", get(key))
        .route("/subscriptions", post(subscribe))
        .route("/messages", post(send))
        .with_state(Arc::new(app));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn key(State(app): State<Arc<App>>) -> String {
    app.signer.public_key().to_base64url()
}

/// A subscription that is malformed, not https, or has a key that is not on the curve never gets here: axum answers 422.
async fn subscribe(State(app): State<Arc<App>>, Json(subscription): Json<Subscription>) -> StatusCode {
    let mut subscriptions = app.subscriptions();
    if subscriptions.len() >= SUBSCRIPTIONS_MAX {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    subscriptions.insert(subscription.endpoint.as_str().to_owned(), subscription);
    StatusCode::CREATED
}

/// For a page with few subscriptions; the example `fan_out` shows how to send to many at once.
async fn send(State(app): State<Arc<App>>, text: String) -> Result<String, StatusCode> {
    let recipients: Vec<Subscription> = app.subscriptions().values().cloned().collect();
    let options = Options::new(Ttl::from_secs(3600));
    let mut accepted = 0;
    for subscription in &recipients {
        let message = Message::new(subscription, text.as_bytes(), &options, &app.signer);
        match app.client.send_with_retries(&message, RetryPolicy::ONCE, |_| {}).await {
            Ok(reply) => match reply.answer {
                Answer::Accepted(_) => accepted += 1,
                Answer::Gone if reply.explanation.proves_gone(&subscription.endpoint, reply.status) => {
                    app.subscriptions().remove(subscription.endpoint.as_str());
                }
                Answer::TooLarge => return Err(StatusCode::PAYLOAD_TOO_LARGE),
                Answer::Gone | Answer::Refused | Answer::RetryLater { .. } => {
                    eprintln!("{}: {}", reply.status, reply.explanation.message)
                }
            },
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(format!("{accepted} of {} accepted\n", recipients.len()))
}
