//! What can go wrong before there is an answer, sorted by whose fault it is.

use thiserror::Error;

use crate::endpoint::EndpointError;
use crate::request::RequestError;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The extra CA certificates are not PEM, or no certificates.
    #[error("the CA certificates cannot be read: {0}")]
    Ca(String),
    /// Neither the system nor the caller named a CA to trust.
    #[error("there is no CA certificate to trust: the system has none and none was given")]
    NoRoots,
    /// TLS or the HTTP client could not be set up.
    #[error("setting up the HTTP client: {0}")]
    Setup(String),
}

/// Why a message got no answer. No text in here contains the endpoint's path, which is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The message could not be built.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The subscription points to where nothing may be sent.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There was no connection: nothing was sent, and trying again does no harm.
    #[error("no connection to the push service: {0}")]
    Connect(String),
    /// The push service could not prove who it is: nothing was sent, and
    /// nothing will be until somebody mends the certificate or names its authority.
    #[error("the push service could not prove who it is: {0}")]
    Untrusted(String),
    /// The connection broke after the request had begun: the message may have been accepted. Sending it again may
    /// deliver it twice, so that this is left to the caller.
    #[error("the connection broke before the answer, so that the message may or may not have been accepted: {0}")]
    Broken(String),
}
