//! A browser, as a user of pages and of the desktop needs it.

use std::path::Path;

use serde_json::Value;

use super::desktop::Desktop;
use super::process::Running;
use super::star::Star;

/// A real browser with a profile of its own, running or not.
pub trait Browser {
    /// One that does not run yet, whose push service is the demo's, and whose notifications go to `desktop`.
    fn new(star: &Star, desktop: &Desktop) -> Self;
    /// Its machine has neither a microphone nor a camera, from its next start on.
    fn has_no_devices(&mut self);
    /// Starts it with an empty page, and a driver.
    fn starts_driven(&mut self);
    /// Opens a page, in a browser that is started if it does not run.
    fn visits(&mut self, url: &str);
    /// Goes to the page of `site` that something else than its driver has opened.
    fn turns_to_the_page_of(&mut self, site: &str);
    /// What the body of a function comes to in the page; a promise is waited for.
    fn runs(&mut self, body: &str, arguments: Value) -> Value;
    /// The same, and for the page it is something that its user does: it may play sound then.
    fn does(&mut self, body: &str, arguments: Value) -> Value;
    /// Closes the page; the browser stays, with an empty tab.
    fn closes_the_page(&mut self);
    /// Ends in order.
    fn quits(&mut self);
}

/// A browser that `doorbell desktop` can wake.
pub trait Woken: Browser {
    /// For the names of pictures.
    const NAME: &str;
    /// The desktop part for its profile, at a push service. It is ready, and the browser does not run.
    fn desktop_part(&self, push_service: &str, ca: &Path) -> Running;
    /// Its processes, of whichever program.
    fn processes(&self) -> Vec<u32>;
}
