//! The page: files that are in the binary, so that the demo needs no other file.

use bytes::Bytes;
use http::Method;

use super::answer::{self, Response};
use crate::error::DemoError;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $kind:expr,)*) => {
        const FILES: &[(&str, &str, &[u8])] = &[$(($path, $kind, include_bytes!(concat!("../../web/", $path)))),*];
    };
}

files! {
    "index.html" HTML,
    "style.css" CSS,
    "app.js" SCRIPT,
    "api.js" SCRIPT,
    "arrival.js" SCRIPT,
    "call.js" SCRIPT,
    "chat.js" SCRIPT,
    "events.js" SCRIPT,
    "identity.js" SCRIPT,
    "invite.js" SCRIPT,
    "lists.js" SCRIPT,
    "live.js" SCRIPT,
    "media.js" SCRIPT,
    "next.js" SCRIPT,
    "patience.js" SCRIPT,
    "people.js" SCRIPT,
    "problem.js" SCRIPT,
    "push.js" SCRIPT,
    "sign-in.js" SCRIPT,
    "steps.js" SCRIPT,
    "voice.js" SCRIPT,
    "sw.js" SCRIPT,
    "manifest.webmanifest" "application/manifest+json",
    "icon.svg" "image/svg+xml",
    "icon-192.png" "image/png",
    "icon-512.png" "image/png",
}

pub(super) fn file(method: &Method, path: &str) -> Result<Response, DemoError> {
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let is_read = *method == Method::GET || *method == Method::HEAD;
    let found = FILES.iter().find(|(path, ..)| *path == name && is_read);
    let (_, kind, content) = found.ok_or(DemoError::NotFound("file"))?;
    Ok(answer::with_type(kind, Bytes::from_static(content)))
}
