//! What requests carry, read into types. Bodies are bounded, and must arrive in time.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::calls::Media;
use crate::error::DemoError;
use crate::house::Guest;
use crate::limits::{JSON_BYTES_MAX, REQUEST_TIMEOUT};
use crate::steps::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInBody {
    pub(super) name: Option<String>,
    pub(super) passphrase: Option<String>,
    /// Lets a device in.
    pub(super) invitation: Option<String>,
    /// Lets another person take a name.
    pub(super) guest: Option<String>,
    pub(super) label: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvitationBody {
    #[serde(rename = "for")]
    pub(super) guest: Guest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceBody {
    /// The JSON of a PushSubscription; null: pushes do not reach it any more.
    #[serde(default, deserialize_with = "super::given")]
    pub(super) subscription: Option<Value>,
    pub(super) available: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallBody {
    pub(super) to: String,
    pub(super) from: Option<String>,
    pub(super) media: Media,
    pub(super) page: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageBody {
    pub(super) page: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextBody {
    pub(super) text: String,
    pub(super) from: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReportBody {
    pub(super) from: String,
    pub(super) story: String,
    pub(super) what: Report,
    pub(super) after_ms: u32,
}

/// The JSON of a body.
pub(super) async fn json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, DemoError> {
    let body = bytes(request, JSON_BYTES_MAX, "the request is too long").await?;
    serde_json::from_slice(&body).map_err(|_| DemoError::Malformed("the request is not the JSON that is expected here"))
}

/// A body of at most `bytes_max`.
pub(super) async fn bytes(
    request: Request<Incoming>,
    bytes_max: usize,
    too_large: &'static str,
) -> Result<Bytes, DemoError> {
    let body = Limited::new(request.into_body(), bytes_max);
    match timeout(REQUEST_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(DemoError::TooLarge(too_large)),
        Ok(Err(_)) | Err(_) => Err(DemoError::Malformed("the request did not arrive as a whole")),
    }
}
