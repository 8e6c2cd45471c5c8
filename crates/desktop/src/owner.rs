//! Whose files are believed: this user's and root's, if no other user can write them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::getuid;

use crate::error::DesktopError;

/// Written by the group or by all.
const OTHERS_WRITE: u32 = 0o022;

/// Of a folder that all users share.
const STICKY: u32 = 0o1000;

/// Refuses a file or a folder that another user owns or can write.
pub(crate) fn check(path: &Path, metadata: &Metadata) -> Result<(), DesktopError> {
    let own = getuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(DesktopError::refused(
            path,
            "it belongs to another user: delete it, or make it yours with `chown`",
        ));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        let reason = if metadata.mode() & STICKY == 0 {
            "other users can write it: take that from them (chmod go-w) once you know what is in it".to_owned()
        } else {
            // Such as /tmp, which has to stay so.
            "all users may write it: name another folder (XDG_RUNTIME_DIR, XDG_STATE_HOME or XDG_CONFIG_HOME)"
                .to_owned()
        };
        return Err(DesktopError::refused(path, reason));
    }
    Ok(())
}
