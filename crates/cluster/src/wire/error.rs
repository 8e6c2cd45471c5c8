//! Why bytes are not a frame, or a frame cannot be sent.

use doorbell_protocol::headers::topic::TopicError;
use thiserror::Error;

use super::{CLUSTER_MAX, FRAME_MAX};

/// Why bytes are not a frame, or a frame cannot be sent. The connection that such bytes came on must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A frame, or a part of one, has more than [`FRAME_MAX`] bytes.
    #[error("a frame of {length} bytes: {FRAME_MAX} are allowed")]
    TooLong {
        /// Bytes of the frame, as far as they were counted.
        length: usize,
    },
    /// A frame of zero bytes.
    #[error("a frame without a kind")]
    Empty,
    /// A kind of frame, or a code of a variant, that this version does not have.
    #[error("there is no {of} with code {code}")]
    UnknownCode {
        /// What it should be a code of.
        of: &'static str,
        /// The code.
        code: u8,
    },
    /// The frame ends inside a field.
    #[error("a frame ends after {left} of {needed} bytes of a field")]
    Cut {
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that are left of the frame.
        left: usize,
    },
    /// A list with more items than the rest of its frame can hold.
    #[error("a list of {count} items in {left} bytes")]
    Count {
        /// The count that the frame has.
        count: usize,
        /// Bytes that are left of the frame.
        left: usize,
    },
    /// Bytes after the last field of a frame.
    #[error("{left} bytes after the last field of a frame")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A topic that is not one by RFC 8030 s5.4.
    #[error("the topic of a message is not valid: {0}")]
    Topic(#[source] TopicError),
    /// A topic that is not even text.
    #[error("the topic of a message is not UTF-8")]
    TopicNotText,
    /// A name of a cluster that is too long or not ASCII.
    #[error("the name of a cluster is not ASCII of at most {CLUSTER_MAX} characters")]
    Cluster,
    /// The number of a node that is not 1 to 1023.
    #[error("the number of a node is {0}, and not from 1 to 1023")]
    Node(u16),
}
