//! TLS streams (BCP 195) that hold no buffer while a connection is idle.

mod plaintext;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use stream::TlsStream;
