//! A browser that a desktop part has started and that stays: it has no reason to end by itself.

use std::fs;

use crate::browser::Mode;
use crate::firefox::{WOKEN_VARIABLE, woken_value};

/// Whether `process` is a browser that was started by a desktop part, and stays.
pub fn is_resident(process: u32) -> bool {
    // The process may have ended meanwhile.
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let variable = format!("{WOKEN_VARIABLE}={}", woken_value(Mode::Resident));
    environment.split(|&byte| byte == 0).any(|it| it == variable.as_bytes())
}
