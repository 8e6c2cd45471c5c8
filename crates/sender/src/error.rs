//! What can go wrong before there is an answer, sorted by whose fault it is.

use thiserror::Error;

use crate::endpoint::EndpointError;
use crate::request::RequestError;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The additional CA certificates are not PEM, or not certificates.
    #[error("the CA certificates cannot be read: {0}")]
    Ca(String),
    /// Neither the system nor the caller has a CA to trust.
    #[error("there is no CA certificate to trust: the system has none and none was given")]
    NoRoots,
    /// TLS or the HTTP client could not be set up.
    #[error("setting up the HTTP client: {0}")]
    Setup(String),
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No authority of the system or of [`ClientConfig`](crate::client::ClientConfig) has signed it.
    #[error("no authority that is trusted here has signed it")]
    Issuer,
    /// Its time is over, or this machine's clock is ahead.
    #[error("it has expired")]
    Expired,
    /// Its time has not begun, or this machine's clock is behind.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It is for another host.
    #[error("it is for another host")]
    OtherHost,
    /// Anything else, in the words of the TLS library.
    #[error("{0}")]
    Other(String),
}

/// Why a message got no answer. No text of these errors contains the path of the endpoint, which is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The message could not be built.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The endpoint is not one that the client may send to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There was no connection: nothing was sent, and another attempt does no harm.
    #[error("no connection to the push service: {0}")]
    Connect(String),
    /// The proxy wants another user name and password, or any: nothing was sent, and another attempt is useless. With the
    /// proxy's origin.
    #[error("the proxy {0} wants a user name and a password (http://USER:PASSWORD@HOST:PORT), or others")]
    ProxyLogin(String),
    /// The push service has no certificate that the client trusts: nothing was sent. Another attempt is useless until the
    /// certificate is fixed or its authority is trusted ([`ClientConfig`](crate::client::ClientConfig)).
    #[error("the certificate of the push service is not trusted: {0}")]
    Untrusted(Distrust),
    /// The connection broke after the request began: the push service may have accepted the message. Another attempt may
    /// deliver it twice, so the caller decides.
    #[error("the connection broke before the answer; the message may or may not have been accepted: {0}")]
    Broken(String),
}
