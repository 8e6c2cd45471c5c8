//! POST to the check-in resource: a browser becomes a device, or proves that it is one.

use doorbell_protocol::mcs::checkin::{CONTENT_TYPE, CheckinRequest, CheckinResponse, REQUEST_MAX, Settings};
use doorbell_protocol::mcs::device::Device;
use http::header::{self, HeaderValue};

use super::answer::CheckinRejection;
use super::{CHECKIN_PATH, REGISTRATION_PATH};
use crate::doors::Doors;
use crate::transport::source::Source;
use crate::transport::{Request, Response};

/// How often devices check in, in seconds: as often as Chromium accepts. Only a check-in shows a browser that the
/// service no longer knows its secret.
const INTERVAL_S: u32 = 12 * 3600;

impl Doors {
    pub(in crate::doors) async fn check_in(&self, request: Request) -> Response {
        self.try_check_in(request).await.unwrap_or_else(CheckinRejection::answer)
    }

    async fn try_check_in(&self, request: Request) -> Result<Response, CheckinRejection> {
        let (head, incoming) = request.into_parts();
        let source = incoming.place.source_of(&head.headers);
        let request_timeout = self.config().limits.request_timeout;
        let body = incoming.body.read(REQUEST_MAX, request_timeout).await?;
        let device = match CheckinRequest::parse(&body)?.device {
            Some(device) if self.capabilities.agent_of(device).is_none() => return Err(CheckinRejection::Device),
            Some(device) => device,
            None => self.enrol(source)?,
        };
        let base = self.origin.as_str();
        let (checkin_url, registration_url) = (format!("{base}{CHECKIN_PATH}"), format!("{base}{REGISTRATION_PATH}"));
        // Chromium keeps these in the profile, so that it finds us at its next start even without a switch. Without
        // them it would go to Google, with our secret. Without TLS the settings have no address for a stream: a browser
        // uses MCS over TLS only.
        let settings = (self.origin.scheme() == "https").then(|| Settings {
            checkin_url: &checkin_url,
            registration_url: &registration_url,
            mcs_host: self.origin.host(),
            mcs_port: self.config().chromium.mcs_port.unwrap_or(self.mcs_port),
            checkin_interval_s: Some(INTERVAL_S),
        });
        let mut response = Response::new(CheckinResponse { device, now: self.clock.wall(), settings }.encode().into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        Ok(response)
    }

    /// A new id with its secret. The agent is created with its first subscription.
    fn enrol(&self, source: Option<Source>) -> Result<Device, CheckinRejection> {
        self.chromium.enrolments.admit(source, self.clock.now())?;
        let agent = self.hub.new_agent().id();
        Ok(self.capabilities.device(agent).expect("minted ids are positive numbers"))
    }
}
