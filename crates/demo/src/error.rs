//! What can go wrong, sorted by whose fault it is. `door/answer.rs` turns it into an answer.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum DemoError {
    // The person, or the page, asks for what cannot be.
    /// The request makes no sense.
    #[error("{0}")]
    Malformed(&'static str),
    /// More than the bound.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Too many of something.
    #[error("{0}")]
    TooMany(&'static str),
    /// There is no session, or it is over.
    #[error("you are not signed in")]
    NotSignedIn,
    /// Another device has the name, and the request does not show that it is the same person's.
    #[error("{0} is signed in already, on another device")]
    NameTaken(String),
    /// Only people who were invited can take a name here that is new, or free again.
    #[error("a name needs an invitation here")]
    InvitationNeeded,
    /// The name is right and the passphrase is not.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// It was guessed at too often: how long until the next guess is taken.
    #[error("there were too many wrong passphrases: the next one is taken in {} s", .0.as_secs().saturating_add(1))]
    TooManyGuesses(Duration),
    /// The source, or all of them, did it too often: how long until it may again.
    #[error("there were too many requests of this kind: the next one is taken in {} s", .0.as_secs().saturating_add(1))]
    TooOften(Duration),
    /// Too many passphrases are being checked: how long until there is room again.
    #[error("too many people sign in at this moment")]
    TooManyAtOnce(Duration),
    /// The request names another sender than its session.
    #[error("you can only act for yourself")]
    NotYou,
    /// Another web site sent the request.
    #[error("the request comes from another web site")]
    OtherSite,
    /// The request is for another server.
    #[error("this server does not answer under this name")]
    WrongHost,
    /// The subscription belongs to a push service that this server does not send to.
    #[error("the subscription cannot be used: {0}")]
    Subscription(String),

    // It could be, but is not.
    /// There is nothing of this kind.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The callee takes no calls.
    #[error("{0} takes no calls now")]
    Away(String),
    /// One of the two is in another call.
    #[error("{0} is in another call")]
    Busy(String),
    /// The call was ended before, or answered by another device.
    #[error("this call is over, or another device has answered it")]
    CallOver,

    // The server's own.
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The store fails.
    #[error("the store: {0}")]
    Store(#[from] rusqlite::Error),
    /// A file of the state directory, or a certificate, cannot be used.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The port cannot be had.
    #[error("cannot listen on {address}: {source}; give another address with --demo-listen (port 0 takes a free one)")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system reported.
        source: std::io::Error,
    },
    /// The sender cannot be set up.
    #[error(transparent)]
    Sender(#[from] doorbell_sender::error::ClientError),
}
