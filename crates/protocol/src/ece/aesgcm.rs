//! `aesgcm`: the coding of draft-ietf-webpush-encryption-04, which old application servers still emit. Opened only.
//!
//! Salt and key are in header fields, which real senders quote, pad and separate in every possible way.

use zeroize::Zeroizing;

use super::EceError;
use super::derive::{self, ContentKey, IKM_LENGTH, NONCE_LENGTH, SALT_LENGTH, TAG_LENGTH};
use super::keys::AgentKeys;
use crate::base64url;
use crate::headers::params;
use crate::key::{PUBLIC_KEY_LENGTH, PublicKey};

/// The record size when Encryption has no `rs`.
const RECORD_SIZE_DEFAULT: u32 = 4096;
/// Two bytes of padding length and one of text.
const RECORD_SIZE_MIN: u32 = 3;
const PADDING_LENGTH: usize = 2;

/// Opens a body whose Encryption and Crypto-Key fields were `encryption` and `crypto_key`.
pub fn decrypt(keys: &AgentKeys, encryption: &str, crypto_key: &str, body: &[u8]) -> Result<Vec<u8>, EceError> {
    let Encryption { salt, record_size } = Encryption::parse(encryption)?;
    let sender = sender_key(crypto_key)?;
    // A record of full length announces another one, and Web Push has a single record: the rest was cut off.
    if body.len() < PADDING_LENGTH + TAG_LENGTH || body.len() - TAG_LENGTH >= record_size {
        return Err(EceError::Truncated);
    }
    let record = content_key(keys, &sender, &salt)?.open(0, body)?;
    unpad(&record).map(<[u8]>::to_vec)
}

/// The key and nonce of the draft's s4.2 and of draft-ietf-httpbis-encryption-encoding-03 s3.2.
fn content_key(keys: &AgentKeys, sender: &PublicKey, salt: &[u8; SALT_LENGTH]) -> Result<ContentKey, EceError> {
    let auth = keys.auth_secret().as_bytes();
    let ikm: Zeroizing<[u8; IKM_LENGTH]> = derive::hkdf(auth, &keys.agree(sender)?, &[b"Content-Encoding: auth\0"])?;
    let length = (PUBLIC_KEY_LENGTH as u16).to_be_bytes();
    let context: [&[u8]; 5] = [b"P-256\0", &length, keys.public_key().as_bytes(), &length, sender.as_bytes()];
    let info = |label: &'static [u8]| [&[label], &context[..]].concat();
    let key = derive::hkdf::<{ derive::KEY_LENGTH }>(salt, ikm.as_slice(), &info(b"Content-Encoding: aesgcm\0"))?;
    let nonce = derive::hkdf::<NONCE_LENGTH>(salt, ikm.as_slice(), &info(b"Content-Encoding: nonce\0"))?;
    ContentKey::new(&key, nonce)
}

/// Two bytes of padding length, that many zeros, the text.
fn unpad(record: &[u8]) -> Result<&[u8], EceError> {
    let (length, rest) = record.split_first_chunk::<PADDING_LENGTH>().ok_or(EceError::Padding)?;
    let padding = usize::from(u16::from_be_bytes(*length));
    let (zeros, text) = rest.split_at_checked(padding).ok_or(EceError::Padding)?;
    if zeros.iter().all(|&byte| byte == 0) { Ok(text) } else { Err(EceError::Padding) }
}

/// `salt=…[;rs=…]`.
struct Encryption {
    salt: [u8; SALT_LENGTH],
    record_size: usize,
}

impl Encryption {
    fn parse(field: &str) -> Result<Self, EceError> {
        let mut entries = params::split(field, ',');
        let (entry, another) = (entries.next().ok_or(EceError::HeaderField)?, entries.next());
        // A key in the field itself would replace the agreed one (draft s4.1).
        if another.is_some() || params::get(entry, "aesgcm").is_some() {
            return Err(EceError::HeaderField);
        }
        let salt = params::get(entry, "salt").ok_or(EceError::HeaderField)?;
        let rs = params::get(entry, "rs").map_or(Ok(RECORD_SIZE_DEFAULT), str::parse);
        let rs = rs.map_err(|_| EceError::HeaderField)?;
        if rs < RECORD_SIZE_MIN {
            return Err(EceError::RecordSize(rs));
        }
        let salt = base64url::decode_array(salt).map_err(|_| EceError::HeaderField)?;
        Ok(Self { salt, record_size: usize::try_from(rs).map_err(|_| EceError::RecordSize(rs))? })
    }
}

/// The one `dh` of Crypto-Key; entries without it belong to VAPID.
fn sender_key(field: &str) -> Result<PublicKey, EceError> {
    let parameters = || params::split(field, ',').flat_map(|entry| params::split(entry, ';')).map(params::pair);
    let mut keys = parameters().filter(|(name, _)| name.eq_ignore_ascii_case("dh")).filter_map(|(_, value)| value);
    let (key, another) = (keys.next().ok_or(EceError::HeaderField)?, keys.next());
    if another.is_some() || parameters().any(|(name, _)| name.eq_ignore_ascii_case("aesgcm")) {
        return Err(EceError::HeaderField);
    }
    Ok(PublicKey::from_base64url(params::unquote(key))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url::{decode, decode_array, encode};
    use crate::ece::keys::AgentKeyParts;
    use crate::key::KeyError;
    use proptest::prelude::*;

    const WALRUS: &[u8] = b"I am the walrus";
    /// draft-ietf-webpush-encryption-04 s5.
    const DH: &str = "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    const SALT: &str = "lngarbyKfMoi9Z75xYXmkg";
    const BODY: &str = "6nqAQUME8hNqw5J3kl8cpVVJylXKYqZOeseZG8UueKpA";

    fn keys(private: &str, auth: &str) -> AgentKeys {
        let private = Zeroizing::new(decode_array(private).unwrap());
        AgentKeys::from_parts(&AgentKeyParts { private, auth: Zeroizing::new(decode_array(auth).unwrap()) }).unwrap()
    }

    fn draft_keys() -> AgentKeys {
        keys("9FWl15_QUQAWDaD3k3l50ZBZQJ4au27F1V4F0uLSD_M", "R29vIGdvbyBnJyBqb29iIQ")
    }

    fn open(encryption: &str, crypto_key: &str, body: &[u8]) -> Result<Vec<u8>, EceError> {
        decrypt(&draft_keys(), &encryption.replace("SALT", SALT), &crypto_key.replace("POINT", DH), body)
    }

    fn opened(encryption: &str, crypto_key: &str) -> Result<Vec<u8>, EceError> {
        open(encryption, crypto_key, &decode(BODY).unwrap())
    }

    /// Seals a record as it is, padding length included.
    fn sealed(record: &[u8]) -> Vec<u8> {
        let salt = decode_array(SALT).unwrap();
        let mut sealed = record.to_vec();
        let sender = PublicKey::from_base64url(DH).unwrap();
        content_key(&draft_keys(), &sender, &salt).unwrap().seal(0, &mut sealed).unwrap();
        sealed
    }

    #[test]
    fn the_example_of_the_draft_opens_cr_aesgcm_2_cr_aesgcm_3() {
        assert_eq!(
            draft_keys().public_key().to_base64url(),
            "BCEkBjzL8Z3C-oi2Q7oE5t2Np-p7osjGLg93qUP0wvqRT21EEWyf0cQDQcakQMqz4hQKYOQ3il2nNZct4HgAUQU"
        );
        assert_eq!(opened("keyid=p256dh;salt=SALT", "keyid=p256dh;dh=POINT").unwrap(), WALRUS);
        assert_eq!(encode(&sealed(&[b"\0\0", WALRUS].concat())), BODY);
    }

    /// Made with pywebpush: the first without padding, the second with.
    #[test]
    fn messages_of_a_real_sender_open() {
        let keys = keys("yerDmA9uNFoaUnSt2TkWWLwPseG1qtzS2zdjUl8Z7tc", "LsuUOBKVQRY6-l7_Ajo-Ag");
        for (dh, salt, body, text) in [
            (
                "BJvcyzf8ocm6F7lbFePebtXU7OHkmylXN9FL2g-yBHwUKqo6cD-FP1h5SHEQQ-xEgJl-F0xEEmSaEx2-qeJHYmk",
                "8qX1ZgkLD50LHgocZdPKZQ",
                "8Vyes671P_VDf3G2e6MgY6IaaydgR-vODZZ7L0ZHbpCJNVaf_2omEms2tiPJiU22L3BoECKJixiOxihcsxWMjTgAcplbvfu1g6LWeP4j8dMAzJionWs7OOLif6jBKN6LGm4EUw9e26EBv9hNhi87-HaEGbfBMGcLvm1bql1F",
                "Amidst the mists and coldest frosts I thrust my fists against the\nposts and still demand to see the ghosts.\n",
            ),
            (
                "BCX7KJ_1Em-LjeB56E2KDoMjKDhTaDhjv8c6dwbvZQZ_Gsfp3AT54x2zYUPcBwd1GVyGsk55ProJ98cFrVxrPz4",
                "x2I2OZpSCoe-Cc5UW36Nng",
                "Ua3-WW5kTbt11dBTiXBP6_hLBYhBNOtDFfue5QHMTd2DicL0wutDnt5z9pjRJ76w562egPq5qro95YLnsX0NWGmDQbsQ0Azds6jcBGsxHPt0p5GELAtR4AJj2OsB_LV7dTuGHN2SqsyXLARjTFN2wsF3xWhmuw",
                "Tabs are the real indent",
            ),
        ] {
            let crypto_key = format!("dh=\"{dh}\";p256ecdsa=x");
            let got = decrypt(&keys, &format!("salt=\"{salt}\";rs=4096"), &crypto_key, &decode(body).unwrap());
            assert_eq!(got.unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn the_fields_are_read_in_every_form_that_senders_write_cr_aesgcm_1() {
        for encryption in
            ["salt=SALT", "salt=\"SALT\"", "Salt = SALT== ; rs=4096", "rs=34;keyid=\"x\";salt=SALT", "salt=SALT,"]
        {
            assert_eq!(opened(encryption, "dh=POINT").unwrap(), WALRUS, "{encryption}");
        }
        for crypto_key in [
            "dh=\"POINT\"",
            "DH=POINT=",
            "keyid=p256dh; dh=POINT ;p256ecdsa=BA1H",
            "p256ecdsa=BA1H,dh=POINT",
            "dh=POINT,p256ecdsa=\"x\"",
        ] {
            assert_eq!(opened("salt=SALT", crypto_key).unwrap(), WALRUS, "{crypto_key}");
        }
    }

    #[test]
    fn missing_repeated_or_unreadable_fields_are_refused_cr_aesgcm_4() {
        for encryption in [
            "",
            "rs=4096",
            "salt=",
            "salt=SALT,salt=SALT",
            "salt=x",
            "salt=SALT;rs=",
            "salt=SALT;rs=-1",
            "salt=SALT;aesgcm=x",
        ] {
            assert_eq!(opened(encryption, "dh=POINT"), Err(EceError::HeaderField), "{encryption}");
        }
        for crypto_key in ["", "p256ecdsa=BA1H", "dh=POINT,dh=POINT", "dh=POINT;dh=POINT", "dh", "dh=POINT;aesgcm=x"] {
            assert_eq!(opened("salt=SALT", crypto_key), Err(EceError::HeaderField), "{crypto_key}");
        }
        assert_eq!(opened("salt=SALT", "dh=BNoR"), Err(EceError::Key(KeyError::Length(3))));
        assert_eq!(opened("salt=SALT;rs=2", "dh=POINT"), Err(EceError::RecordSize(2)));
    }

    #[test]
    fn wrong_padding_is_refused() {
        assert_eq!(open("salt=SALT", "dh=POINT", &sealed(b"\0\x02\0\0text")).unwrap(), b"text");
        assert_eq!(open("salt=SALT", "dh=POINT", &sealed(b"\0\0")).unwrap(), b"");
        for record in [&b"\0\x02\0\x01text"[..], b"\0\x09text", b"\xff\xff"] {
            assert_eq!(open("salt=SALT", "dh=POINT", &sealed(record)), Err(EceError::Padding), "{record:?}");
        }
        assert_eq!(open("salt=SALT", "dh=POINT", &sealed(b"\0")), Err(EceError::Truncated));
    }

    #[test]
    fn a_full_record_or_a_cut_one_is_refused_ua_8188_4_2_1() {
        assert_eq!(opened("salt=SALT;rs=17", "dh=POINT"), Err(EceError::Truncated), "a full record announces another");
        assert_eq!(opened("salt=SALT;rs=18", "dh=POINT").unwrap(), WALRUS);
        let body = decode(BODY).unwrap();
        for end in 0..body.len() {
            assert!(open("salt=SALT", "dh=POINT", &body[..end]).is_err(), "cut to {end} bytes");
        }
    }

    #[test]
    fn the_largest_text_of_a_4096_byte_body_opens_cr_aesgcm_6() {
        let body = sealed(&[&b"\0\0"[..], &[b'x'; 4078]].concat());
        assert_eq!(body.len(), 4096);
        assert_eq!(open("salt=SALT", "dh=POINT", &body).unwrap().len(), 4078);
    }

    proptest! {
        #[test]
        fn no_field_and_no_body_make_it_panic(
            encryption in r#"(salt=|lngarbyKfMoi9Z75xYXmkg|rs=|[0-9;,=" ])*"#,
            crypto_key in r#"(dh=|POINT|[a-z;,=" ])*"#,
            body: Vec<u8>,
        ) {
            let _ = open(&encryption, &crypto_key, &body);
        }
    }
}
