//! The identity of a Chromium: the id and the secret from its check-in. They are 64-bit numbers, written in decimal wherever
//! they are text. Neither is ever 0: to Chromium that means that it has not checked in.

use std::fmt;
use std::num::NonZeroU64;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// The id of a device. In Chromium's words the Android id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(NonZeroU64);

impl DeviceId {
    /// The id `raw`; `None` for 0.
    pub fn new(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// Reads decimal text.
    pub fn parse(text: &str) -> Option<Self> {
        decimal(text).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// What a device proves its id with. In Chromium's words the security token.
#[derive(Clone, Copy)]
pub struct DeviceSecret(NonZeroU64);

impl DeviceSecret {
    /// The secret `raw`; `None` for 0.
    pub fn new(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// Reads decimal text.
    pub fn parse(text: &str) -> Option<Self> {
        decimal(text).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// Compares in constant time, so that a secret cannot be found byte by byte.
impl PartialEq for DeviceSecret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.get().to_be_bytes(), &other.get().to_be_bytes()).is_ok()
    }
}

impl Eq for DeviceSecret {}

/// An id with the secret that was given for it. Nothing is verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The identity that it claims.
    pub id: DeviceId,
    /// What it shows for it.
    pub secret: DeviceSecret,
}

impl Device {
    /// Both from decimal text.
    pub fn parse(id: &str, secret: &str) -> Option<Self> {
        Some(Self { id: DeviceId::parse(id)?, secret: DeviceSecret::parse(secret)? })
    }
}

/// A number other than 0 as Chromium writes it: digits without sign and leading zeros, so that one number has one text.
fn decimal(text: &str) -> Option<NonZeroU64> {
    let canonical = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| canonical)
}

/// Shows nothing: a device's id links the subscriptions of its user, and the secret is a secret.
macro_rules! hidden {
    ($($name:ident)*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        })*
    };
}

hidden!(DeviceId DeviceSecret Device);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_text_and_is_never_0() {
        assert_eq!(DeviceId::parse("3571252552137967365").map(DeviceId::get), Some(0x318f_a346_5d64_0705));
        assert_eq!(DeviceId::parse("18446744073709551615").map(DeviceId::get), Some(u64::MAX));
        for text in ["", "0", "01", "+1", "-1", " 1", "1 ", "1.0", "0x1", "18446744073709551616", "\u{661}"] {
            assert_eq!(DeviceId::parse(text), None, "{text:?}");
            assert!(DeviceSecret::parse(text).is_none(), "{text:?}");
            assert!(Device::parse("1", text).is_none(), "{text:?}");
        }
        assert_eq!(DeviceId::new(0), None);
    }

    #[test]
    fn a_device_does_not_show_itself() {
        let device = Device::parse("123", "456").unwrap();
        assert_eq!(
            format!("{device:?} {:?} {:?}", device.id, device.secret),
            "Device(..) DeviceId(..) DeviceSecret(..)"
        );
        assert_ne!(device, Device::parse("123", "457").unwrap());
    }
}
