//! The notifications of devices: Declarative Web Push (`web_push: 8030`), so that a browser that knows it can show the
//! notification by itself, with everything in `data` that the service worker needs to do better.

use doorbell_protocol::ece::aes128gcm::Padding;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_sender::request::Options;
use serde_json::{Value, json};

use crate::calls::{Call, End, Media};
use crate::limits::NEWS_TTL_SECS;

/// What happened. Names come from the accounts, never from a request: the server vouches for them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News<'a> {
    /// A person calls.
    Ring(&'a Call),
    /// The call that rang is over, and how.
    Over(&'a Call, End),
    /// Another device has answered.
    AnsweredElsewhere(&'a Call),
    /// A person wrote: the message's number and text.
    Message(i64, &'a str),
    /// A person left a voice mail with this number.
    VoiceMail(i64),
    /// A person tries out their own device.
    Trial,
}

/// A message for devices, before it is encrypted for each.
pub(crate) struct Letter {
    pub(crate) payload: Vec<u8>,
    pub(crate) options: Options,
}

impl Letter {
    /// `from` is who it is about; `site` the origin of the demo; `story` what the "what just happened" panel files it
    /// under.
    pub(crate) fn new(news: News<'_>, from: &str, site: &str, story: &str) -> Self {
        let Words { kind, title, body, path, tag, stays, quiet, actions } = words(news, from);
        let navigate = format!("{site}{path}");
        let actions: Vec<Value> = actions
            .iter()
            .map(|(action, title)| json!({ "action": action, "title": title, "navigate": navigate }))
            .collect();
        let mut data = json!({ "kind": kind, "from": from, "story": story, "navigate": navigate });
        if let News::Ring(call) = news {
            data["call"] = call.id.as_str().into();
            data["until"] = call.rings_until.as_millis().into();
            data["media"] = json!(call.media);
        }
        let notification = json!({
            "title": title, "body": body, "navigate": navigate, "tag": tag, "lang": "en", "dir": "ltr",
            "icon": format!("{site}/icon-192.png"), "requireInteraction": stays, "silent": quiet,
            "actions": actions, "data": data,
        });
        // `mutable`: the service worker may change it, for instance when the call is over by the time it arrives.
        let payload = json!({ "web_push": 8030, "notification": notification, "mutable": true });
        Self { payload: payload.to_string().into_bytes(), options: options(news) }
    }
}

/// The text of a notification. One tag per call: a later notification replaces the earlier one.
struct Words {
    kind: &'static str,
    title: String,
    body: String,
    path: String,
    tag: String,
    stays: bool,
    quiet: bool,
    actions: &'static [(&'static str, &'static str)],
}

fn words(news: News<'_>, from: &str) -> Words {
    let plain = |kind, title: String, body: &str, path: String, tag: String| Words {
        kind,
        title,
        body: body.to_owned(),
        path,
        tag,
        stays: false,
        quiet: false,
        actions: &[],
    };
    let with = format!("/?with={}", query(from));
    let about = |call: &Call| format!("call-{}", call.id.as_str());
    match news {
        News::Ring(call) => {
            let how = match call.media {
                Media::Audio => "Answer to talk.",
                Media::Video => "Answer to talk and see each other.",
            };
            let path = format!("/?call={}", call.id.as_str());
            let words = plain("ring", format!("{from} is calling"), how, path, about(call));
            Words { stays: true, actions: &[("answer", "Answer"), ("decline", "Decline")], ..words }
        }
        News::Over(call, End::Declined | End::HungUp) => {
            let words = plain("over", format!("{from} called"), "You declined on another device.", with, about(call));
            Words { quiet: true, ..words }
        }
        News::Over(call, End::Withdrawn | End::Unanswered) => {
            plain("missed", format!("Missed call from {from}"), "Open to call back.", with, about(call))
        }
        News::AnsweredElsewhere(call) => {
            let words = plain("over", format!("{from} called"), "You answered on another device.", with, about(call));
            Words { quiet: true, ..words }
        }
        News::Message(_, text) => plain("message", from.to_owned(), text, with, format!("chat-{from}")),
        News::VoiceMail(id) => {
            let (title, body) = (format!("Voice mail from {from}"), "Open to listen.");
            plain("voice-mail", title, body, format!("/?voice={id}"), format!("voice-{id}"))
        }
        News::Trial => {
            let (title, body) = ("It works".to_owned(), "This device can be reached, also when this page is closed.");
            plain("trial", title, body, "/?trial=1".to_owned(), "trial".to_owned())
        }
    }
}

fn options(news: News<'_>) -> Options {
    let topic = |call: &Call| call.id.as_str().parse::<Topic>().ok();
    // Lengths reveal little: short notices are padded to one length.
    let padding = Padding::To(1024);
    match news {
        // A device that comes back later does not ring: the push service has dropped the message by then.
        News::Ring(call) => {
            let ttl =
                Ttl::from_secs(u32::try_from(call.rings_until.since(call.began_at).as_secs()).unwrap_or(u32::MAX));
            Options { urgency: Some(Urgency::High), topic: topic(call), padding, ..Options::new(ttl) }
        }
        // The same topic: it takes the place of a ring that still waits at the push service.
        News::Over(call, End::Withdrawn | End::Unanswered) => {
            let ttl = Ttl::from_secs(NEWS_TTL_SECS);
            Options { urgency: Some(Urgency::Normal), topic: topic(call), padding, ..Options::new(ttl) }
        }
        News::Over(call, End::Declined | End::HungUp) | News::AnsweredElsewhere(call) => {
            // High, since a device rings until it receives it; short, since one that never rang need not know.
            let ttl = Ttl::from_secs(30);
            Options { urgency: Some(Urgency::High), topic: topic(call), padding, ..Options::new(ttl) }
        }
        News::Message(..) | News::VoiceMail(_) => {
            Options { urgency: Some(Urgency::Normal), padding, ..Options::new(Ttl::from_secs(NEWS_TTL_SECS)) }
        }
        News::Trial => Options { urgency: Some(Urgency::High), padding, ..Options::new(Ttl::from_secs(60)) },
    }
}

fn query(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::time::UnixMs;
    use doorbell_sender::request::PAYLOAD_MAX;

    use super::*;
    use crate::calls::Party;
    use crate::limits::TEXT_BYTES_MAX;
    use crate::store::PersonId;
    use crate::token::Token;

    const SITE: &str = "http://localhost:8000";

    fn call() -> Call {
        let token = || Token::random().unwrap();
        let caller = Party { person: PersonId(1), device: token(), page: token() };
        let (began_at, rings_until) = (UnixMs::from_secs(100), UnixMs::from_secs(130));
        let (callee, media) = (PersonId(2), Media::Video);
        Call { id: token(), caller, callee, media, began_at, rings_until, answered_by: None }
    }

    fn read(letter: &Letter) -> Value {
        serde_json::from_slice(&letter.payload).unwrap()
    }

    #[test]
    fn a_ring_is_declarative_urgent_and_dies_when_the_ringing_ends() {
        let call = call();
        let letter = Letter::new(News::Ring(&call), "Mom", SITE, "s");
        let message = read(&letter);
        assert_eq!((&message["web_push"], &message["mutable"]), (&json!(8030), &json!(true)));
        let notification = &message["notification"];
        assert_eq!(notification["title"], "Mom is calling");
        assert_eq!(notification["navigate"], format!("{SITE}/?call={}", call.id.as_str()));
        // An address does not answer or decline: a browser that was killed opens its pages again.
        assert_eq!(notification["actions"][0]["navigate"], notification["navigate"]);
        assert_eq!(notification["data"]["until"], 130_000);
        assert_eq!(letter.options.urgency, Some(Urgency::High));
        assert_eq!(letter.options.ttl, Ttl::from_secs(30));
    }

    #[test]
    fn what_ends_a_ring_takes_its_place_at_the_push_service_and_on_the_screen() {
        let call = call();
        let ring = Letter::new(News::Ring(&call), "Mom", SITE, "s");
        let ends = [
            News::Over(&call, End::Withdrawn),
            News::Over(&call, End::Unanswered),
            News::Over(&call, End::Declined),
            News::AnsweredElsewhere(&call),
        ];
        for news in ends {
            let over = Letter::new(news, "Mom", SITE, "s");
            assert!(ring.options.topic.is_some());
            assert_eq!(over.options.topic, ring.options.topic);
            assert_eq!(read(&over)["notification"]["tag"], read(&ring)["notification"]["tag"]);
        }
    }

    #[test]
    fn the_longest_message_fits() {
        // Control characters take six bytes each in JSON.
        let text = "\u{1}".repeat(TEXT_BYTES_MAX / 6).replace('\u{1}', "\"\"\"\"\"\"");
        let letter = Letter::new(News::Message(1, &text), &"Ж".repeat(24), SITE, "s");
        assert!(letter.payload.len() <= PAYLOAD_MAX, "{}", letter.payload.len());
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_link() {
        let message = read(&Letter::new(News::VoiceMail(3), "O'Neil & Co", SITE, "s"));
        assert_eq!(message["notification"]["navigate"], format!("{SITE}/?voice=3"));
        let message = read(&Letter::new(News::Message(3, "hi"), "A B&do=answer", SITE, "s"));
        assert_eq!(message["notification"]["navigate"], format!("{SITE}/?with=A+B%26do%3Danswer"));
    }
}
