//! The fields of a protobuf message: the three wire types that Chromium uses, read within bounds and written.
//!
//! The encoding is protobuf's public one: a key (number and wire type) as a varint, then the value. Names and schema
//! are not on the wire, so that a message with a dozen fields needs no compiler for schemas.

use thiserror::Error;

/// The longest varint, in bytes: 64 bits, 7 at a time.
const VARINT_MAX: usize = 10;

/// The greatest number that a field may have.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// The value of one field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, a bool or an enum. A negative one comes as its two's complement in 64 bits.
    Varint(u64),
    /// 64 bits, little endian on the wire.
    Fixed64(u64),
    /// Text, bytes, or a message inside the message.
    Bytes(&'a [u8]),
    /// 32 bits, little endian on the wire. No message that we know has one; it is here to be skipped.
    Fixed32(u32),
}

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a number in the message is longer than 64 bits")]
    Varint,
    /// A field number of 0 or beyond protobuf's range, or a wire type that does not exist (or a group, which no client sends).
    #[error("a field of the message has no valid key")]
    Key,
    /// A field that we know, with another wire type than it should have.
    #[error("field {0} of the message has the wrong wire type")]
    Type(u32),
    /// A field that we know, with a value that it cannot have.
    #[error("field {0} of the message has an impossible value")]
    Value(u32),
    /// A field that the message must have is missing.
    #[error("field {0} of the message is missing")]
    Missing(u32),
}

/// The fields of a message in the order of the wire. After the first error there are no more.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of the message `bytes`. Nothing is copied, and nothing is read before it is asked for.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Field<'a>, WireError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&n| n != 0 && u64::from(n) <= NUMBER_MAX);
        let number = number.ok_or(WireError::Key)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Key),
        };
        Ok(Field { number, value })
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let (value, length) = varint(self.rest)?.ok_or(WireError::Truncated)?;
        self.rest = &self.rest[length..];
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// One field of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number, which identifies it.
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The number that it must be.
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(WireError::Type(self.number)),
        }
    }

    /// The number of at most 32 bits that it must be: a stream id, for one.
    pub fn u32(&self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::Value(self.number))
    }

    /// The 64 bits that it must be.
    pub fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(WireError::Type(self.number)),
        }
    }

    /// The bytes that it must be.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(value) => Ok(value),
            _ => Err(WireError::Type(self.number)),
        }
    }

    /// The text of at most `max` bytes that it must be.
    pub fn text(&self, max: usize) -> Result<&'a str, WireError> {
        let text = std::str::from_utf8(self.bytes()?).ok().filter(|text| text.len() <= max);
        text.ok_or(WireError::Value(self.number))
    }
}

/// The varint at the start of `bytes` and its length in bytes; `None` if it goes on after their end.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    let mut value = 0u64;
    for (place, &byte) in bytes.iter().take(VARINT_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if place == VARINT_MAX - 1 && byte > 1 {
            return Err(WireError::Varint);
        }
        value |= bits << (7 * place);
        if byte < 0x80 {
            return Ok(Some((value, place + 1)));
        }
    }
    Ok(None)
}

/// A message that is being written, field by field, in the order of the calls.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number.
    #[must_use]
    pub fn varint(mut self, number: u32, value: u64) -> Self {
        self.key(number, 0);
        push_varint(&mut self.0, value);
        self
    }

    /// Adds 64 bits.
    #[must_use]
    pub fn fixed64(mut self, number: u32, value: u64) -> Self {
        self.key(number, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds text, bytes, or a message that is already written.
    #[must_use]
    pub fn bytes(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(number, 2);
        push_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// The bytes of the message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, number: u32, wire_type: u64) {
        push_varint(&mut self.0, u64::from(number) << 3 | wire_type);
    }
}

/// Appends `value` in its shortest form.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<Field<'_>>, WireError> {
        Fields::new(bytes).collect()
    }

    fn error(bytes: &[u8]) -> WireError {
        read(bytes).err().unwrap()
    }

    #[test]
    fn a_stream_ack_as_captured_reads_field_by_field() {
        let fields = read(&[0x10, 1, 0x1a, 0, 0x3a, 4, 8, 0x0d, 0x12, 0, 0x50, 2]).unwrap();
        let numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [2, 3, 7, 10]);
        assert_eq!(fields[0].varint(), Ok(1));
        assert_eq!(fields[1].text(0), Ok(""));
        assert_eq!(fields[2].bytes(), Ok(&[8, 0x0d, 0x12, 0][..]));
        assert_eq!(fields[3].u32(), Ok(2));
    }

    #[test]
    fn varints_end_at_64_bits() {
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(varint(&most), Ok(Some((u64::MAX, 10))));
        assert_eq!(varint(&[0x80; 9]), Ok(None));
        for last in [0x80, 2, 0x81, 0xff] {
            let mut more = most;
            more[9] = last;
            assert_eq!(varint(&more), Err(WireError::Varint), "{last:#x}");
        }
        assert_eq!(error(&[&[8], &[0xff; 11][..]].concat()), WireError::Varint);
        // Padded to more bytes than needed is still the same number, as everywhere in protobuf.
        assert_eq!(varint(&[0x85, 0x80, 0]), Ok(Some((5, 3))));
    }

    #[test]
    fn keys_that_are_none_and_groups_are_refused() {
        for bytes in [&[0][..], &[2, 0], &[0x0b], &[0x0c], &[0x0e, 0], &[0x0f, 0], &[0x80, 0x80, 0x80, 0x80, 0x10, 0]] {
            assert_eq!(error(bytes), WireError::Key, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_without_reserving_it() {
        for bytes in [&[0x0a, 1][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], &[9, 0, 0, 0, 0, 0, 0, 0], &[0x0d, 0]] {
            assert_eq!(error(bytes), WireError::Truncated, "{bytes:02x?}");
        }
        let longest = [&[0x0a][..], &[0xff; 9], &[1]].concat();
        assert_eq!(error(&longest), WireError::Truncated);
    }

    #[test]
    fn a_field_of_the_wrong_type_or_range_is_named() {
        let number = Field { number: 7, value: Value::Varint(1 << 32) };
        assert_eq!(number.bytes(), Err(WireError::Type(7)));
        assert_eq!(number.fixed64(), Err(WireError::Type(7)));
        assert_eq!(number.u32(), Err(WireError::Value(7)));
        let text = Field { number: 3, value: Value::Bytes(b"ab\xff") };
        assert_eq!(text.varint(), Err(WireError::Type(3)));
        assert_eq!(text.text(9), Err(WireError::Value(3)));
        assert_eq!(Field { number: 3, value: Value::Bytes(b"abc") }.text(2), Err(WireError::Value(3)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 1u32..1 << 29, value: u64, bytes: Vec<u8>) {
            let message = Writer::new().varint(number, value).fixed64(number, value).bytes(number, &bytes).finish();
            let fields = read(&message).unwrap();
            prop_assert_eq!(fields.len(), 3);
            prop_assert!(fields.iter().all(|field| field.number == number));
            prop_assert_eq!(fields[0].varint(), Ok(value));
            prop_assert_eq!(fields[1].fixed64(), Ok(value));
            prop_assert_eq!(fields[2].bytes(), Ok(&bytes[..]));
            for cut in 0..message.len() {
                // A cut between two fields is a shorter message; everywhere else the end is missed.
                if let Err(error) = read(&message[..cut]) {
                    prop_assert_eq!(error, WireError::Truncated);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_find_more_fields_than_they_can_hold(bytes: Vec<u8>) {
            prop_assert!(Fields::new(&bytes).count() <= bytes.len());
        }
    }
}
