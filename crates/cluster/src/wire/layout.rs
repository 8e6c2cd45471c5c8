//! The layout of all frames: the code of each variant, and its fields in their order on the wire.
//!
//! A code never gets another meaning, and a field keeps its place: a change here is a new version of the frames.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::receipt::Outcome;

use super::WireError;
use super::field::{Field, Reader, Writer};
use super::frame::{Answer, Body, EndReason, Event, Frame, Mode, Submitted, Tell};

/// Both directions of an enum: a byte with the code of the variant, then the fields in the order given.
macro_rules! variants {
    ($type:ident, $of:literal: $($code:literal => $variant:ident $({ $($field:ident),* })? $(($inner:ident))?,)*) => {
        impl Field for $type {
            const BYTES_MIN: usize = 1;

            fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($inner))? => {
                        to.put::<u8>(&$code)?;
                        $($(to.put($field)?;)*)?
                        $(to.put($inner)?;)?
                    })*
                }
                Ok(())
            }

            fn read(from: &mut Reader) -> Result<Self, WireError> {
                match from.take::<u8>()? {
                    $($code => {
                        $($(let $field = from.take()?;)*)?
                        $(let $inner = from.take()?;)?
                        Ok(Self::$variant $({ $($field),* })? $(($inner))?)
                    })*
                    code => Err(WireError::UnknownCode { of: $of, code }),
                }
            }
        }
    };
}

/// Both directions of a struct: its fields in the order given.
macro_rules! fields {
    ($type:ident: $first:ident, $($field:ident),*) => {
        impl Field for $type {
            const BYTES_MIN: usize = 1;

            fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
                let Self { $first, $($field),* } = self;
                to.put($first)?;
                $(to.put($field)?;)*
                Ok(())
            }

            fn read(from: &mut Reader) -> Result<Self, WireError> {
                let $first = from.take()?;
                $(let $field = from.take()?;)*
                Ok(Self { $first, $($field),* })
            }
        }
    };
}

variants! { Frame, "kind of frame":
    // The same in every version of the frames: it is read before the version is known.
    1 => Hello { wire_min, wire_max, cluster, node, life },
    2 => Submit { request, again, message },
    3 => Answer { request, answer },
    4 => Connect { link, opening, agent, scope, floor, mode, window, retry_same, exclusive },
    5 => Tell { link, opening, tell },
    6 => Event { link, opening, event },
    7 => YieldSlot { slot },
    8 => Listen { of, on },
    9 => Woke { of },
    10 => Rates { used, unreachable },
    11 => Ping { number },
    12 => Pong { number },
}

fields! { Submitted: id, agent, subscription, ttl_secs, urgency, topic, receipt, headers, body }

fields! { Body: subscription, expires_at, headers, body }

variants! { Answer, "answer":
    1 => Accepted,
    2 => NotOwner,
    3 => Gone,
    4 => NoReceipts,
    5 => ReceiptsFull,
    6 => Full,
    7 => NoRoom,
    8 => StoreFull,
    9 => Overloaded,
    10 => Unavailable,
    11 => Damaged,
    12 => TooFast { retry_after_ms },
}

variants! { Tell, "report of a link":
    1 => Settle { id, outcome },
    2 => NotPassedOn { id },
    3 => Undeliverable { id },
    4 => Declined { id },
    5 => Gone { id },
    6 => Arrived { id },
    7 => SetFloor(floor),
    8 => Disconnect,
}

variants! { Event, "event of a link":
    1 => Connected,
    2 => NotOwner,
    3 => Put { id, second, message },
    4 => Recall { id },
    5 => Settled { id },
    6 => Drained,
    7 => Waiting { messages, urgency, since, expires },
    8 => Quiet,
    9 => End(reason),
}

variants! { EndReason, "reason of an end":
    1 => SubscriptionGone,
    2 => AgentGone,
    3 => Superseded,
    4 => Stopping,
}

variants! { Mode, "mode of a link":
    1 => Drain,
    2 => Hold,
    3 => Watch,
}

variants! { Urgency, "urgency":
    1 => VeryLow,
    2 => Low,
    3 => Normal,
    4 => High,
}

/// With the codes of the store.
impl Field for Outcome {
    const BYTES_MIN: usize = 1;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.put(&self.code())
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        let code = from.take()?;
        Self::from_code(code).ok_or(WireError::UnknownCode { of: "outcome", code })
    }
}
