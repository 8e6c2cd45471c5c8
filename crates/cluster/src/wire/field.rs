//! How one field is written and read. Both directions of a type stand next to each other, and the length of a list is
//! checked in one place.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use super::{CLUSTER_MAX, FRAME_MAX, WireError};
use crate::{Life, NodeId, Slot};

/// The greatest number of a node.
const NODE_MAX: u16 = 1023;

/// The bytes of a count, or of the length of a byte string.
const LENGTH_BYTES: usize = 4;

/// A type that is a field of a frame, or a part of one.
pub(super) trait Field: Sized {
    /// Every value has at least so many bytes. It bounds the count of a list, and is never 0.
    const BYTES_MIN: usize;

    /// Appends the value.
    ///
    /// # Errors
    /// The value is one that [`Field::read`] returns an error for, or the frame would be too long.
    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError>;

    /// Takes a value from the front.
    ///
    /// # Errors
    /// The bytes are too few, or they are not the one encoding of a value.
    fn read(from: &mut Reader) -> Result<Self, WireError>;
}

/// The end of a buffer that a frame is appended to.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    /// Where the kind of the frame is.
    start: usize,
}

impl<'a> Writer<'a> {
    /// Writes a frame without its length to the end of `out`.
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// Appends one field.
    pub(super) fn put<T: Field>(&mut self, value: &T) -> Result<(), WireError> {
        value.write(self)
    }

    /// How many bytes are written.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub(super) fn end(self) -> Result<usize, WireError> {
        self.room(0)?;
        Ok(self.out.len() - self.start)
    }

    /// Checks that `more` bytes fit into the frame, before they are copied.
    fn room(&self, more: usize) -> Result<(), WireError> {
        let length = (self.out.len() - self.start).saturating_add(more);
        if length > FRAME_MAX { Err(WireError::TooLong { length }) } else { Ok(()) }
    }

    /// Appends the length of a byte string, or the count of a list, that has `bytes` bytes.
    fn length(&mut self, length: usize, bytes: usize) -> Result<(), WireError> {
        self.room(bytes.saturating_add(LENGTH_BYTES))?;
        self.out.put_u32(u32::try_from(length).expect("it is not greater than the bytes, which fit into a frame"));
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.length(bytes.len(), bytes.len())?;
        self.out.put_slice(bytes);
        Ok(())
    }
}

/// What is left of a frame.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    /// A reader of a frame without its length.
    pub(super) fn new(frame: Bytes) -> Self {
        Self { rest: frame }
    }

    /// Takes one field.
    pub(super) fn take<T: Field>(&mut self) -> Result<T, WireError> {
        T::read(self)
    }

    /// The frame has no more fields.
    ///
    /// # Errors
    /// [`WireError::Trailing`].
    pub(super) fn end(self) -> Result<(), WireError> {
        let left = self.rest.len();
        if left > 0 { Err(WireError::Trailing { left }) } else { Ok(()) }
    }

    fn need(&self, needed: usize) -> Result<(), WireError> {
        let left = self.rest.len();
        if needed > left { Err(WireError::Cut { needed, left }) } else { Ok(()) }
    }

    /// A length or a count. One that does not fit into `usize` is greater than every frame.
    fn length(&mut self) -> Result<usize, WireError> {
        self.need(LENGTH_BYTES)?;
        Ok(usize::try_from(self.rest.get_u32()).unwrap_or(usize::MAX))
    }

    /// Without a copy: they share the memory of the frame.
    fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = self.length()?;
        self.need(length)?;
        Ok(self.rest.split_to(length))
    }
}

macro_rules! integers {
    ($($type:ty: $put:ident, $get:ident;)*) => {$(
        impl Field for $type {
            const BYTES_MIN: usize = size_of::<Self>();

            fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
                to.out.$put(*self);
                Ok(())
            }

            fn read(from: &mut Reader) -> Result<Self, WireError> {
                from.need(size_of::<Self>())?;
                Ok(from.rest.$get())
            }
        }
    )*};
}

integers! {
    u8: put_u8, get_u8;
    u16: put_u16, get_u16;
    u32: put_u32, get_u32;
    u64: put_u64, get_u64;
    i64: put_i64, get_i64;
}

/// Types that are another field inside, of which all values are allowed.
macro_rules! wrappers {
    ($($type:ty: $inner:ty, $from:expr, $into:expr;)*) => {$(
        impl Field for $type {
            const BYTES_MIN: usize = <$inner>::BYTES_MIN;

            fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
                let inner: $inner = $into(*self);
                inner.write(to)
            }

            fn read(from: &mut Reader) -> Result<Self, WireError> {
                <$inner>::read(from).map($from)
            }
        }
    )*};
}

wrappers! {
    AgentId: i64, Self::from_raw, Self::raw;
    SubscriptionId: i64, Self::from_raw, Self::raw;
    MessageId: i64, Self::from_raw, Self::raw;
    ReceiptSubscriptionId: i64, Self::from_raw, Self::raw;
    UnixMs: i64, Self::from_millis, Self::as_millis;
    Life: i64, Self, |life: Self| life.0;
    Slot: u8, Self, |slot: Self| slot.0;
}

impl Field for bool {
    const BYTES_MIN: usize = 1;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        u8::from(*self).write(to)
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(WireError::UnknownCode { of: "flag", code }),
        }
    }
}

impl Field for NodeId {
    const BYTES_MIN: usize = u16::BYTES_MIN;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        node(self.0)?.0.write(to)
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        node(u16::read(from)?)
    }
}

fn node(number: u16) -> Result<NodeId, WireError> {
    if (1..=NODE_MAX).contains(&number) { Ok(NodeId(number)) } else { Err(WireError::Node(number)) }
}

impl Field for Bytes {
    const BYTES_MIN: usize = LENGTH_BYTES;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.bytes(self)
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        from.bytes()
    }
}

/// The name of a cluster: the only text that is a `String`.
impl Field for String {
    const BYTES_MIN: usize = LENGTH_BYTES;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.bytes(cluster(self.as_bytes())?.as_bytes())
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        cluster(&from.bytes()?).map(str::to_owned)
    }
}

fn cluster(name: &[u8]) -> Result<&str, WireError> {
    let text = str::from_utf8(name).ok().filter(|text| text.is_ascii() && text.len() <= CLUSTER_MAX);
    text.ok_or(WireError::Cluster)
}

impl Field for Topic {
    const BYTES_MIN: usize = LENGTH_BYTES + 1;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.bytes(self.as_str().as_bytes())
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        let bytes = from.bytes()?;
        str::from_utf8(&bytes).map_err(|_| WireError::TopicNotText)?.parse().map_err(WireError::Topic)
    }
}

impl<const N: usize> Field for [u8; N] {
    const BYTES_MIN: usize = N;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.out.put_slice(self);
        Ok(())
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        from.need(N)?;
        let mut array = [0; N];
        from.rest.copy_to_slice(&mut array);
        Ok(array)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    const BYTES_MIN: usize = A::BYTES_MIN + B::BYTES_MIN;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.put(&self.0)?;
        to.put(&self.1)
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        Ok((from.take()?, from.take()?))
    }
}

impl<T: Field> Field for Box<T> {
    const BYTES_MIN: usize = T::BYTES_MIN;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        T::write(self, to)
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        T::read(from).map(Self::new)
    }
}

impl<T: Field> Field for Option<T> {
    const BYTES_MIN: usize = bool::BYTES_MIN;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.put(&self.is_some())?;
        self.iter().try_for_each(|value| to.put(value))
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        if from.take()? { from.take().map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    const BYTES_MIN: usize = LENGTH_BYTES;

    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.length(self.len(), self.len().saturating_mul(T::BYTES_MIN))?;
        self.iter().try_for_each(|item| to.put(item))
    }

    fn read(from: &mut Reader) -> Result<Self, WireError> {
        let (count, left) = (from.length()?, from.rest.len());
        if count > left / T::BYTES_MIN {
            return Err(WireError::Count { count, left });
        }
        let mut items = Self::with_capacity(count);
        for _ in 0..count {
            items.push(from.take()?);
        }
        Ok(items)
    }
}
