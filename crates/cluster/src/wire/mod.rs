//! The frames that the nodes of a cell send each other, as bytes and back. Both directions of a connection have one format.
//!
//! A frame is `u32 length, u8 kind, payload`; the length is that of kind and payload, [`FRAME_MAX`] at most. Fields follow
//! each other without padding or names:
//!
//! | field | bytes |
//! |---|---|
//! | integer | fixed width, big-endian; ids and moments are `i64`, moments in milliseconds since 1970 |
//! | flag | one byte, 0 or 1 |
//! | one of several | one byte, its code; then its fields |
//! | optional | a flag; then the value, if the flag is 1 |
//! | bytes, text | `u32` length, then the bytes |
//! | list | `u32` count, then the items |
//!
//! Each value has one encoding: what decodes encodes to the same bytes. No input makes the decoder panic, and it allocates
//! no more than the frame has bytes. A connection is over after the first error: nothing that follows has a meaning.
//!
//! The first frame of each direction is [`Frame::Hello`]; both nodes then use [`negotiate`] to get the version of all other
//! frames. The bytes of `Hello` are the same in every version. A kind or code never gets another meaning; a new one, or a
//! new field, makes a new version.

mod codec;
mod error;
mod field;
mod frame;
mod layout;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

pub use codec::Decoder;
pub use error::WireError;
pub use frame::{Answer, Body, EndReason, Event, Frame, Mode, Submitted, Tell};

/// The oldest version of the frames that this program sends and receives.
pub const WIRE_MIN: u16 = 1;

/// The newest version of the frames that this program sends and receives.
pub const WIRE_MAX: u16 = 1;

/// The longest frame, in bytes, without the four of its length: room for the longest body that a service may be set to
/// accept (1 MiB), and for what comes with it.
pub const FRAME_MAX: usize = (1 << 20) + (64 << 10);

/// The longest name of a cluster, in bytes.
pub const CLUSTER_MAX: usize = 64;

/// The newest version of the frames that both nodes have; `None`: there is no such version, and the connection must end.
/// Each range is that of one node's [`Frame::Hello`], from `wire_min` to `wire_max`; an empty one has no versions.
pub fn negotiate(ours: RangeInclusive<u16>, theirs: RangeInclusive<u16>) -> Option<u16> {
    let oldest = *ours.start().max(theirs.start());
    let newest = *ours.end().min(theirs.end());
    (oldest <= newest).then_some(newest)
}
