//! Promised requests: the GETs that server pushes answer (RFC 9113 s8.4.1).

use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::Doors;
use crate::capability::Resource;

/// Makes promises in the name under which the client knows the service.
pub(super) struct Promises {
    doors: Arc<Doors>,
    scheme: Scheme,
    authority: Authority,
}

impl Promises {
    /// For a request to `uri`; `None` if it does not say where it was sent to, which only HTTP/1.1 requests omit.
    pub(super) fn for_request(doors: Arc<Doors>, uri: Uri) -> Option<Self> {
        let parts = uri.into_parts();
        // The promises repeat both, so that the client takes the service as authoritative for them.
        Some(Self { doors, scheme: parts.scheme?, authority: parts.authority? })
    }

    /// The GET of a resource.
    pub(super) fn of(&self, resource: Resource) -> Option<http::Request<()>> {
        let path = PathAndQuery::try_from(self.doors.capabilities.path(resource)).ok()?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let mut request = http::Request::new(());
        *request.uri_mut() = uri.build().ok()?;
        Some(request)
    }
}
