//! `aes128gcm`: the content coding of RFC 8188 with the keys of RFC 8291.
//!
//! We write one record of at most 4096 bytes, as RFC 8291 s4 asks, and read any number of them.

use aws_lc_rs::agreement;
use zeroize::Zeroizing;

use super::derive::{self, ContentKey, IKM_LENGTH, SALT_LENGTH, TAG_LENGTH};
use super::keys::{self, AgentKeys, AuthSecret};
use super::{EceError, PLAINTEXT_MAX};
use crate::key::{PUBLIC_KEY_LENGTH, PublicKey};

/// The record size that we write: Apple and some older agents accept no other.
const RECORD_SIZE: u32 = 4096;
/// Room for one byte of delimiter, one of text and the tag (RFC 8188 s2).
const RECORD_SIZE_MIN: u32 = 18;
const HEADER_LENGTH: usize = SALT_LENGTH + 4 + 1;
const LAST: u8 = 2;
const NOT_LAST: u8 = 1;

/// How far a text is padded, to hide its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// No padding.
    #[default]
    None,
    /// With zeros up to this many bytes, at most [`PLAINTEXT_MAX`]; a longer text stays as it is.
    To(usize),
}

/// Encrypts `plaintext` for the subscription with the keys `agent` and `auth`, with a fresh key and a fresh salt.
///
/// # Errors
/// If the text with its padding is longer than [`PLAINTEXT_MAX`], or the cryptographic library fails.
pub fn encrypt(plaintext: &[u8], padding: Padding, agent: &PublicKey, auth: &AuthSecret) -> Result<Vec<u8>, EceError> {
    let mut salt = [0; SALT_LENGTH];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| EceError::Crypto)?;
    encrypt_with(plaintext, padding, agent, auth, &keys::generate_private()?, &salt)
}

/// [`encrypt`] with a given key and salt: for test vectors only, since a pair must never be used twice.
fn encrypt_with(
    plaintext: &[u8],
    padding: Padding,
    agent: &PublicKey,
    auth: &AuthSecret,
    sender: &agreement::PrivateKey,
    salt: &[u8; SALT_LENGTH],
) -> Result<Vec<u8>, EceError> {
    let padded = match padding {
        Padding::None => plaintext.len(),
        Padding::To(length) => plaintext.len().max(length),
    };
    if padded > PLAINTEXT_MAX {
        return Err(EceError::TooLong);
    }
    let sender_public = keys::public_of(sender)?;
    let ikm = ikm(&keys::agree(sender, agent)?, auth, agent, &sender_public)?;
    let mut record = Vec::with_capacity(padded + 1 + TAG_LENGTH);
    record.extend_from_slice(plaintext);
    record.push(LAST);
    record.resize(padded + 1, 0);
    ContentKey::aes128gcm(salt, ikm.as_slice())?.seal(0, &mut record)?;
    debug_assert_eq!(record.len(), padded + 1 + TAG_LENGTH, "a record has text, delimiter, padding and tag");
    let keyid = sender_public.as_bytes();
    let keyid_length = [PUBLIC_KEY_LENGTH as u8];
    Ok([&salt[..], &RECORD_SIZE.to_be_bytes(), &keyid_length, keyid, &record].concat())
}

/// Decrypts a body. Anything that is not exactly a message for these keys is an error, and no part of it is returned.
///
/// # Errors
/// See [`EceError`].
pub fn decrypt(keys: &AgentKeys, body: &[u8]) -> Result<Vec<u8>, EceError> {
    let header = Header::parse(body)?;
    let sender = PublicKey::from_bytes(header.keyid)?;
    let ikm = ikm(&keys.agree(&sender)?, keys.auth_secret(), keys.public_key(), &sender)?;
    header.open(ikm.as_slice())
}

/// The input keying material of RFC 8291 s3.4.
fn ikm(
    shared: &[u8],
    auth: &AuthSecret,
    agent: &PublicKey,
    sender: &PublicKey,
) -> Result<Zeroizing<[u8; IKM_LENGTH]>, EceError> {
    derive::hkdf(auth.as_bytes(), shared, &[b"WebPush: info\0", agent.as_bytes(), sender.as_bytes()])
}

/// The header of a body (RFC 8188 s2.1) and what follows it.
struct Header<'a> {
    salt: &'a [u8],
    record_size: usize,
    keyid: &'a [u8],
    records: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, EceError> {
        let (fixed, rest) = body.split_first_chunk::<HEADER_LENGTH>().ok_or(EceError::HeaderTruncated)?;
        let (salt, after) = fixed.split_at(SALT_LENGTH);
        let &[a, b, c, d, keyid_length] = after else { return Err(EceError::HeaderTruncated) };
        let record_size = u32::from_be_bytes([a, b, c, d]);
        if record_size < RECORD_SIZE_MIN {
            return Err(EceError::RecordSize(record_size));
        }
        let (keyid, records) = rest.split_at_checked(usize::from(keyid_length)).ok_or(EceError::HeaderTruncated)?;
        let record_size = usize::try_from(record_size).map_err(|_| EceError::RecordSize(record_size))?;
        Ok(Self { salt, record_size, keyid, records })
    }

    /// Opens all records. The delimiter marks the last one, so a body that was cut between records is an error.
    fn open(&self, ikm: &[u8]) -> Result<Vec<u8>, EceError> {
        let key = ContentKey::aes128gcm(self.salt, ikm)?;
        let mut text = Vec::with_capacity(self.records.len());
        let mut records = (0u64..).zip(self.records.chunks(self.record_size)).peekable();
        if records.peek().is_none() {
            return Err(EceError::Truncated);
        }
        while let Some((sequence, record)) = records.next() {
            if record.len() <= TAG_LENGTH {
                return Err(EceError::Truncated);
            }
            let opened = key.open(sequence, record)?;
            text.extend_from_slice(unpad(&opened, records.peek().is_none())?);
        }
        Ok(text)
    }
}

/// The text of a record: what is before the delimiter, which is the last byte that is not zero.
fn unpad(record: &[u8], last: bool) -> Result<&[u8], EceError> {
    let at = record.iter().rposition(|&byte| byte != 0).ok_or(EceError::Padding)?;
    match (record[at], last) {
        (LAST, true) | (NOT_LAST, false) => Ok(&record[..at]),
        (NOT_LAST, true) => Err(EceError::Truncated),
        _ => Err(EceError::Padding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url::{decode, decode_array, encode};
    use crate::ece::keys::AgentKeyParts;
    use proptest::prelude::*;

    const WALRUS: &[u8] = b"I am the walrus";

    /// RFC 8291 s5 and appendix A.
    mod rfc8291 {
        pub(super) const TEXT: &[u8] = b"When I grow up, I want to be a watermelon";
        pub(super) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
        pub(super) const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
        pub(super) const AGENT_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
        pub(super) const AGENT_PUBLIC: &str =
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        pub(super) const SENDER_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
        pub(super) const SENDER_PUBLIC: &str =
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        pub(super) const SHARED: &str = "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs";
        pub(super) const IKM: &str = "S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg";
        pub(super) const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
    }

    fn agent_keys() -> AgentKeys {
        let private = decode_array(rfc8291::AGENT_PRIVATE).unwrap();
        let auth = decode_array(rfc8291::AUTH).unwrap();
        AgentKeys::from_parts(&AgentKeyParts { private: Zeroizing::new(private), auth: Zeroizing::new(auth) }).unwrap()
    }

    /// Opens a body of plain RFC 8188, whose keying material is not agreed but known.
    fn open(ikm: &str, body: &[u8]) -> Result<Vec<u8>, EceError> {
        Header::parse(body)?.open(&decode(ikm).unwrap())
    }

    /// Seals records as they are, delimiter and padding included, so that wrong ones can be made.
    fn seal(ikm: &[u8], record_size: u32, keyid: &[u8], records: &[&[u8]]) -> Vec<u8> {
        let salt = [7; SALT_LENGTH];
        let key = ContentKey::aes128gcm(&salt, ikm).unwrap();
        let keyid_length = [u8::try_from(keyid.len()).unwrap()];
        let mut body = [&salt[..], &record_size.to_be_bytes(), &keyid_length, keyid].concat();
        for (sequence, record) in (0..).zip(records) {
            let mut sealed = record.to_vec();
            key.seal(sequence, &mut sealed).unwrap();
            body.extend(sealed);
        }
        body
    }

    fn unsealed(records: &[&[u8]], record_size: u32) -> Result<Vec<u8>, EceError> {
        open(&encode(b"ikm"), &seal(b"ikm", record_size, b"", records))
    }

    #[test]
    fn the_example_of_one_record_opens_rfc_8188_3_1() {
        let body = decode("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg").unwrap();
        assert_eq!(body.len(), 53);
        assert_eq!(open("yqdlZ-tYemfogSmv7Ws5PQ", &body).unwrap(), WALRUS);
    }

    #[test]
    fn the_example_of_two_records_opens_and_shows_a_cut_rfc_8188_3_2_cr_8188_4_2_1() {
        let ikm = "BO3ZVPxUlnLORbVGMpbT1Q";
        let body = decode(
            "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA",
        )
        .unwrap();
        assert_eq!(body.len(), 73);
        assert_eq!(open(ikm, &body).unwrap(), WALRUS);
        let header = HEADER_LENGTH + 2;
        assert_eq!(open(ikm, &body[..header + 25]), Err(EceError::Truncated), "cut behind the first record");
        for end in 0..body.len() {
            assert!(open(ikm, &body[..end]).is_err(), "cut to {end} bytes");
        }
    }

    #[test]
    fn the_derived_values_of_the_examples_are_ours_cr_8188_2_2_1_cr_8188_2_3_1() {
        for (salt, ikm, key, nonce) in [
            ("I1BsxtFttlv3u_Oo94xnmw", "yqdlZ-tYemfogSmv7Ws5PQ", "_wniytB-ofscZDh4tbSjHw", "Bcs8gkIRKLI8GeI8"),
            ("uNCkWiNYzKTnBN9ji3-qWA", "BO3ZVPxUlnLORbVGMpbT1Q", "u_eEOTjjVWUVrH82pQNwpw", "VqylG1rdt-mJrNgP"),
            ("DGv6ra1nlYgDCS1FRnbzlw", rfc8291::IKM, "oIhVW04MRdy2XN9CiKLxTg", "4h_95klXJ5E_qnoN"),
        ] {
            let (salt, ikm) = (decode(salt).unwrap(), decode(ikm).unwrap());
            let derived = derive::hkdf::<16>(&salt, &ikm, &[b"Content-Encoding: aes128gcm\0"]).unwrap();
            assert_eq!(encode(derived.as_slice()), key);
            let derived = derive::hkdf::<12>(&salt, &ikm, &[b"Content-Encoding: nonce\0"]).unwrap();
            assert_eq!(encode(derived.as_slice()), nonce);
        }
    }

    #[test]
    fn the_example_of_rfc_8291_opens_and_is_made_byte_by_byte_cr_8291_3_1() {
        let keys = agent_keys();
        assert_eq!(keys.public_key().to_base64url(), rfc8291::AGENT_PUBLIC);
        let sender = keys::private_from_bytes(&decode_array(rfc8291::SENDER_PRIVATE).unwrap()).unwrap();
        let sender_public = PublicKey::from_base64url(rfc8291::SENDER_PUBLIC).unwrap();
        let shared = keys::agree(&sender, keys.public_key()).unwrap();
        assert_eq!(encode(&shared), rfc8291::SHARED);
        let ikm = ikm(&shared, keys.auth_secret(), keys.public_key(), &sender_public).unwrap();
        assert_eq!(encode(ikm.as_slice()), rfc8291::IKM);
        let salt = decode_array(rfc8291::SALT).unwrap();
        let body =
            encrypt_with(rfc8291::TEXT, Padding::None, keys.public_key(), keys.auth_secret(), &sender, &salt).unwrap();
        assert_eq!(encode(&body), rfc8291::BODY);
        assert_eq!(body.len(), 144);
        assert_eq!(decrypt(&keys, &body).unwrap(), rfc8291::TEXT);
    }

    #[test]
    fn a_record_size_below_18_is_refused_cr_8188_2_2() {
        for size in [0, 1, 17] {
            assert_eq!(unsealed(&[b"\x02"], size), Err(EceError::RecordSize(size)));
        }
        assert_eq!(unsealed(&[b"a\x01", b"b\x02"], 18).unwrap(), b"ab");
        assert_eq!(unsealed(&[b"a\x02"], u32::MAX).unwrap(), b"a");
    }

    #[test]
    fn every_wrong_delimiter_is_refused_cr_8188_2_4_cr_8188_2_5_ua_8291_4_1() {
        assert_eq!(unsealed(&[b"a\x02\0\0"], 4096).unwrap(), b"a");
        assert_eq!(unsealed(&[b"\x02"], 4096).unwrap(), b"");
        for record in [&b""[..], b"\0", b"\0\0\0", b"a\x03", b"a\x03\0", b"a"] {
            let error = if record.is_empty() { EceError::Truncated } else { EceError::Padding };
            assert_eq!(unsealed(&[record], 4096), Err(error), "{record:?}");
        }
        assert_eq!(unsealed(&[b"a\x01"], 4096), Err(EceError::Truncated));
        assert_eq!(unsealed(&[b"a\x02", b"b\x02"], 18), Err(EceError::Padding), "the first is marked as the last");
        assert_eq!(unsealed(&[b"\0\0", b"b\x02"], 18), Err(EceError::Padding));
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let body = seal(b"ikm", 18, b"", &[b"a\x01", b"b\x01", b"c\x02"]);
        let (header, records) = body.split_at(HEADER_LENGTH);
        let swapped = [header, &records[18..36], &records[..18], &records[36..]].concat();
        assert_eq!(open(&encode(b"ikm"), &swapped), Err(EceError::Sealed));
    }

    #[test]
    fn a_key_that_is_no_point_is_refused_cr_8291_e_ua_8291_7_1() {
        let keys = agent_keys();
        let mut off = *PublicKey::from_base64url(rfc8291::SENDER_PUBLIC).unwrap().as_bytes();
        off[64] ^= 1;
        let compressed = [&[2], &off[1..33]].concat();
        for keyid in [&b""[..], b"a1", &off, &off[..64], &compressed] {
            let body = seal(b"ikm", 4096, keyid, &[b"a\x02"]);
            assert!(matches!(decrypt(&keys, &body), Err(EceError::Key(_))), "{} bytes", keyid.len());
        }
    }

    #[test]
    fn a_message_cut_anywhere_or_changed_anywhere_is_discarded_ua_8188_4_2_1() {
        let keys = agent_keys();
        let body = decode(rfc8291::BODY).unwrap();
        for end in 0..body.len() {
            assert!(decrypt(&keys, &body[..end]).is_err(), "cut to {end} bytes");
        }
        // The record size may change as long as there is one record: it is not part of what is sealed.
        for at in (0..body.len()).filter(|at| !(SALT_LENGTH..SALT_LENGTH + 4).contains(at)) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(decrypt(&keys, &changed).is_err(), "byte {at} changed");
        }
        assert!(decrypt(&keys, b"I am not encrypted").is_err());
    }

    #[test]
    fn the_largest_text_fills_4096_bytes_and_one_more_is_refused_cr_8291_4_1_as_8291_4_4() {
        let keys = agent_keys();
        let encrypted = |length| encrypt(&vec![0xa5; length], Padding::None, keys.public_key(), keys.auth_secret());
        for length in [0, 1, 100, PLAINTEXT_MAX] {
            let body = encrypted(length).unwrap();
            assert_eq!(body.len(), length + 103);
            assert_eq!(
                body[SALT_LENGTH..=SALT_LENGTH + 4],
                [0, 0, 16, 0, 65],
                "record size 4096 and a key (AS-8291-4-1)"
            );
            assert_eq!(decrypt(&keys, &body).unwrap(), vec![0xa5; length]);
        }
        assert_eq!(encrypted(PLAINTEXT_MAX).unwrap().len(), 4096);
        assert_eq!(encrypted(PLAINTEXT_MAX + 1), Err(EceError::TooLong));
    }

    #[test]
    fn padding_hides_the_length_as_8291_7_2() {
        let keys = agent_keys();
        let padded = |text: &[u8], to| encrypt(text, Padding::To(to), keys.public_key(), keys.auth_secret());
        for text in [&b""[..], b"yes", &[0; 200]] {
            let body = padded(text, 200).unwrap();
            assert_eq!(body.len(), 303);
            assert_eq!(decrypt(&keys, &body).unwrap(), text);
        }
        assert_eq!(padded(&[1; 300], 200).unwrap().len(), 403);
        assert_eq!(padded(b"", PLAINTEXT_MAX + 1), Err(EceError::TooLong));
    }

    #[test]
    fn every_message_has_its_own_key_and_salt_as_8291_4_2_cr_8188_2_1_1() {
        let keys = agent_keys();
        let one = encrypt(b"x", Padding::None, keys.public_key(), keys.auth_secret()).unwrap();
        let two = encrypt(b"x", Padding::None, keys.public_key(), keys.auth_secret()).unwrap();
        assert_ne!(one[..SALT_LENGTH], two[..SALT_LENGTH]);
        assert_ne!(one[HEADER_LENGTH..HEADER_LENGTH + 65], two[HEADER_LENGTH..HEADER_LENGTH + 65]);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>, keep in 0usize..144) {
            let keys = agent_keys();
            prop_assert!(decrypt(&keys, &bytes).is_err());
            let mut started = decode(rfc8291::BODY).unwrap();
            started.truncate(keep);
            started.extend(&bytes);
            prop_assert!(decrypt(&keys, &started).is_err());
        }

        #[test]
        fn any_split_into_records_opens_cr_8188_2_3(text: Vec<u8>, size in 18u32..64) {
            let chunk = usize::try_from(size).unwrap() - 17;
            let mut records: Vec<Vec<u8>> = text.chunks(chunk).map(|c| [c, &[NOT_LAST]].concat()).collect();
            match records.last_mut().and_then(|record| record.last_mut()) {
                Some(delimiter) => *delimiter = LAST,
                None => records.push(vec![LAST]),
            }
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(unsealed(&records, size), Ok(text));
        }
    }
}
