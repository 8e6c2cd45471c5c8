//! Promised requests: the GETs that server pushes answer (RFC 9113 s8.4.1).

use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

use super::Doors;
use crate::capability::Resource;

/// Creates promises under the name by which the client addresses the service.
pub(super) struct Promises {
    doors: Arc<Doors>,
    scheme: Scheme,
    authority: Authority,
}

impl Promises {
    /// For a request to `uri`; `None` if the URI has no scheme or authority, as in some HTTP/1.1 requests.
    pub(super) fn for_request(doors: Arc<Doors>, uri: Uri) -> Option<Self> {
        let parts = uri.into_parts();
        // The promises repeat both, so that the client accepts the service as authoritative for them.
        Some(Self { doors, scheme: parts.scheme?, authority: parts.authority? })
    }

    /// The GET of a resource.
    pub(super) fn of(&self, resource: Resource) -> http::Request<()> {
        let path = self.doors.capabilities.path(resource);
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(path).expect("a capability path is base64url"));
        let mut request = http::Request::new(());
        *request.uri_mut() = Uri::from_parts(parts).expect("a URI of scheme, authority and path is complete");
        request
    }
}
