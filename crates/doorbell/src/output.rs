//! Standard output, which may be full or closed (`> /dev/full`, `| head`). `println!` panics there.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::sync::Once;

use anyhow::{Context, Result};

use crate::browser::status;
use crate::failure;

/// Prints what was asked for, and ends the line.
pub(crate) fn result(text: impl Display) -> Result<()> {
    writeln!(stdout(), "{text}").context("cannot write to standard output")
}

/// Prints what has happened, and ends the line. It has happened also if that cannot be printed.
pub(crate) fn report(text: impl Display) {
    static IS_REPORTED: Once = Once::new();
    if let Err(why) = result(text) {
        IS_REPORTED.call_once(|| status(&failure::line(&why)));
    }
}
