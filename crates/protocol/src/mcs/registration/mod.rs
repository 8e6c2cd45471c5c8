//! Registration: the form POST to `/c2dm/register3` by which Chromium subscribes and unsubscribes. As captured.

pub mod answer;
mod urlencoded;

use std::fmt;

use http::{HeaderMap, header};
use thiserror::Error;

use super::device::{Device, DeviceId};

/// The longest form, in bytes. Chromium's has about 400; the longest part is the origin of the page, which a browser
/// accepts with a host of 255 bytes, written with three bytes each at worst.
pub const FORM_MAX: usize = 8 * 1024;

/// How many fields of a form are looked at. Chromium sends ten.
pub const FIELDS_MAX: usize = 32;

/// The longest value, in bytes, after decoding.
pub const VALUE_MAX: usize = 1024;

/// The `app` of Doorbell's extension for Chromium: the id that follows from the `key` in its manifest.
pub const WAKE_EXTENSION: &str = "gkigfmlkdphhhddmngbopalgdekllnip";

/// The form as Chromium sends it for a page's subscription.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The device that asks. It must be the one that Authorization names.
    pub device: DeviceId,
    /// `app`: the browser ("org.chromium.linux"), an extension's id, or a part of Google's services. Push messages
    /// repeat it.
    pub app: String,
    /// `X-subtype`: the subscription ("wp:", the page's origin, '#' and a random id). Push messages repeat it. Without
    /// it the form is not for a page: Chromium itself registers (`com.google.android.gms`), and wants any token.
    pub subtype: Option<String>,
    /// `sender`: the page's applicationServerKey in base64url, or what the page passed instead; "*" if all of a
    /// subscription shall go. Push messages repeat it. Empty only if an app leaves.
    pub sender: String,
    /// `scope`: "GCM" from a page.
    pub scope: Option<String>,
    /// `appid`: an id of the registration's instance, random.
    pub instance: Option<String>,
    /// `gmsv`: the browser's major version.
    pub browser: Option<String>,
    /// `delete=true`: it unsubscribes.
    pub delete: bool,
}

/// Why a form or its credentials were refused; the answer is [`answer::ErrorWord::InvalidParameters`], or for
/// credentials [`answer::ErrorWord::AuthenticationFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RegistrationError {
    /// A form longer than [`FORM_MAX`].
    #[error("the form is longer than {FORM_MAX} bytes")]
    TooLong,
    /// More fields than [`FIELDS_MAX`].
    #[error("the form has more than {FIELDS_MAX} fields")]
    TooMany,
    /// A value that is not UTF-8, has control characters, or is longer than [`VALUE_MAX`].
    #[error("{0} is not short, printable text")]
    Value(&'static str),
    /// A field that we know, twice.
    #[error("{0} was given more than once")]
    Repeated(&'static str),
    /// A field that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// No Authorization, several, or one that is no `AidLogin id:secret`.
    #[error("there is no Authorization: AidLogin id:secret")]
    Credentials,
}

/// The fields that we read. Others have no meaning for a push service.
const KNOWN: [&str; 8] = ["app", "X-subtype", "device", "sender", "scope", "appid", "gmsv", "delete"];

impl Registration {
    /// Reads a body of type `application/x-www-form-urlencoded`.
    pub fn parse(form: &[u8]) -> Result<Self, RegistrationError> {
        if form.len() > FORM_MAX {
            return Err(RegistrationError::TooLong);
        }
        let mut values: [Option<String>; KNOWN.len()] = Default::default();
        for (n, pair) in form.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            if n >= FIELDS_MAX {
                return Err(RegistrationError::TooMany);
            }
            let (name, value) = urlencoded::split(pair);
            let name = urlencoded::decode(name);
            let Some((&known, slot)) = KNOWN.iter().zip(&mut values).find(|(known, _)| known.as_bytes() == name) else {
                continue;
            };
            if slot.replace(text(known, value)?).is_some() {
                return Err(RegistrationError::Repeated(known));
            }
        }
        let [app, subtype, device, sender, scope, instance, browser, delete] = values;
        let device = device.ok_or(RegistrationError::Missing("device"))?;
        let delete = delete.as_deref() == Some("true");
        let subtype = subtype.filter(|subtype| !subtype.is_empty());
        let leaves = delete && subtype.is_none();
        Ok(Self {
            device: DeviceId::parse(&device).ok_or(RegistrationError::Value("device"))?,
            app: required("app", app)?,
            subtype,
            sender: if leaves { sender.unwrap_or_default() } else { required("sender", sender)? },
            scope,
            instance,
            browser,
            delete,
        })
    }

    /// Whether a page asks, and not Chromium for itself.
    pub fn is_of_a_page(&self) -> bool {
        self.subtype.as_deref().is_some_and(|subtype| subtype.starts_with("wp:"))
    }

    /// Whether an app (an extension) unregisters from all senders: the form has no sender, and the answer is
    /// [`answer::RegistrationAnswer::Deleted`].
    pub fn is_of_an_app_that_leaves(&self) -> bool {
        self.delete && self.sender.is_empty()
    }
}

fn required(name: &'static str, value: Option<String>) -> Result<String, RegistrationError> {
    value.filter(|value| !value.is_empty()).ok_or(RegistrationError::Missing(name))
}

fn text(name: &'static str, value: &[u8]) -> Result<String, RegistrationError> {
    let value = String::from_utf8(urlencoded::decode(value)).ok();
    let value = value.filter(|value| value.len() <= VALUE_MAX && !value.chars().any(char::is_control));
    value.ok_or(RegistrationError::Value(name))
}

/// Reads `Authorization: AidLogin id:secret`, both numbers in decimal.
pub fn credentials(headers: &HeaderMap) -> Result<Device, RegistrationError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(RegistrationError::Credentials) };
    let pair = value.to_str().ok().and_then(|value| {
        let (scheme, pair) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("AidLogin").then(|| pair.trim())?.split_once(':')
    });
    pair.and_then(|(id, secret)| Device::parse(id, secret)).ok_or(RegistrationError::Credentials)
}

/// Shows nothing: the subtype has the page's origin, and the sender identifies who sends to it.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const PAGE: &[u8] =
        b"app=org.chromium.linux&X-subtype=wp:http://localhost:18201/%23B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2\
        &device=3571252552137967365&scope=GCM&X-scope=GCM&gmsv=156&appid=fGibHV8Uu-w\
        &sender=BC_9XIqDuRxKCTzTzCVjw1hZ83Udxi2DNNDThTjm95aiTkmT41xBly7WlQ5kv3GBJ_vqiz56kbC9ckdAsgn9DXs";
    const ITSELF: &[u8] = b"app=com.google.android.gms&device=3571252552137967365&sender=745476177629";
    const UNSUBSCRIBE: &[u8] = b"app=org.chromium.linux\
        &X-subtype=wp:http://localhost:18201/%23BE30E18B-8FBF-44BD-AFCC-D322C0767-V2\
        &device=3571252552137967365&delete=true&appid=ciZfELteAFM&sender=*&scope=*&X-scope=*&gmsv=156";

    #[test]
    fn the_form_of_a_page_as_captured_has_what_its_messages_must_repeat() {
        let form = Registration::parse(PAGE).unwrap();
        assert_eq!(form.app, "org.chromium.linux");
        assert_eq!(form.subtype.as_deref(), Some("wp:http://localhost:18201/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2"));
        assert_eq!(
            form.sender,
            "BC_9XIqDuRxKCTzTzCVjw1hZ83Udxi2DNNDThTjm95aiTkmT41xBly7WlQ5kv3GBJ_vqiz56kbC9ckdAsgn9DXs"
        );
        assert_eq!(form.device.get(), 3_571_252_552_137_967_365);
        assert_eq!((form.scope.as_deref(), form.browser.as_deref()), (Some("GCM"), Some("156")));
        assert_eq!((form.instance.as_deref(), form.delete, form.is_of_a_page()), (Some("fGibHV8Uu-w"), false, true));
        assert_eq!(format!("{form:?}"), "Registration(..)");
    }

    #[test]
    fn chromiums_own_form_and_an_unsubscription_as_captured_are_distinguished() {
        let own = Registration::parse(ITSELF).unwrap();
        assert_eq!((own.is_of_a_page(), own.subtype, own.delete), (false, None, false));
        let gone = Registration::parse(UNSUBSCRIBE).unwrap();
        assert_eq!((gone.is_of_a_page(), gone.delete, gone.sender.as_str()), (true, true, "*"));
    }

    #[test]
    fn an_extension_registers_with_its_id_and_leaves_without_a_sender() {
        let parse =
            |more: &str| Registration::parse(format!("app={WAKE_EXTENSION}&device=7&{more}").as_bytes()).unwrap();
        let form = parse("sender=doorbell");
        assert_eq!((&*form.app, form.is_of_a_page(), form.is_of_an_app_that_leaves()), (WAKE_EXTENSION, false, false));
        let gone = parse("delete=true&gcm_unreg_caller=false");
        assert_eq!((&*gone.sender, gone.is_of_an_app_that_leaves()), ("", true));
        assert!(!parse("delete=true&sender=*").is_of_an_app_that_leaves(), "this one expects a token");
    }

    #[test]
    fn forms_that_cannot_be_are_refused() {
        use RegistrationError::{Missing, Repeated, TooLong, TooMany, Value};
        let page = |more: &str| [PAGE, more.as_bytes()].concat();
        let long = "x".repeat(VALUE_MAX + 1);
        for (form, error) in [
            (vec![], Missing("device")),
            (b"device=1&sender=s".to_vec(), Missing("app")),
            (b"device=1&app=a".to_vec(), Missing("sender")),
            (b"device=1&app=a&delete=true&X-subtype=wp:a".to_vec(), Missing("sender")),
            (b"device=1&app=a&delete=yes".to_vec(), Missing("sender")),
            (b"device=1&app=&sender=s".to_vec(), Missing("app")),
            (b"device=0&app=a&sender=s".to_vec(), Value("device")),
            (b"device=1&app=a&sender=%ff".to_vec(), Value("sender")),
            (b"device=1&app=a%0d%0a&sender=s".to_vec(), Value("app")),
            (format!("device=1&app=a&sender={long}").into_bytes(), Value("sender")),
            (page("&sender=other"), Repeated("sender")),
            (page("&%73ender=other"), Repeated("sender")),
            (page(&"&x=y".repeat(FIELDS_MAX)), TooMany),
            (page(&"&".repeat(FORM_MAX)), TooLong),
        ] {
            assert_eq!(Registration::parse(&form), Err(error));
        }
    }

    #[test]
    fn the_credentials_as_captured_are_read_and_others_refused() {
        let read = |values: &[&str]| {
            let values = values.iter().map(|v| (header::AUTHORIZATION, HeaderValue::from_str(v).unwrap()));
            let mut headers = HeaderMap::new();
            values.for_each(|(name, value)| _ = headers.append(name, value));
            credentials(&headers)
        };
        let captured = read(&["AidLogin 3571252552137967365:3535566535892729245"]).unwrap();
        assert_eq!(Some(captured), Device::parse("3571252552137967365", "3535566535892729245"));
        for values in [
            &[][..],
            &["AidLogin 1:2", "AidLogin 1:2"],
            &["Basic 1:2"],
            &["AidLogin"],
            &["AidLogin 1"],
            &["AidLogin 0:2"],
            &["AidLogin 1:2:3"],
        ] {
            assert_eq!(read(values), Err(RegistrationError::Credentials), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read(value in "[^\\p{Cc}]{1,80}") {
            let escaped: String = value.bytes().map(|b| format!("%{b:02x}")).collect();
            let form = format!("device=1&app=a&sender=s&X-subtype={escaped}");
            prop_assert_eq!(Registration::parse(form.as_bytes()).unwrap().subtype, Some(value));
        }

        #[test]
        fn no_form_makes_it_panic_or_hold_more_than_the_bound(
            form in "(device=1|app|sender|X-subtype|=|&|%[0-9a-f]|.){0,40}",
        ) {
            if let Ok(form) = Registration::parse(form.as_bytes()) {
                prop_assert!(form.app.len() <= VALUE_MAX && form.sender.len() <= VALUE_MAX);
            }
        }
    }
}
