//! Who is there, and who can be reached: by subscriptions and receipts, not by open pages.

use doorbell_protocol::time::UnixMs;
use doorbell_sender::subscription::Subscription;
use serde_json::{Value, json};

use super::House;
use crate::clock::Moment;
use crate::error::DemoError;
use crate::events::Event;
use crate::limits::VOICE_MAILS_MAX;
use crate::session::Session;
use crate::store::{Device, Person};

impl House {
    /// Everything that a page shows of others, and of its own person.
    pub(crate) fn overview(&self, session: &Session, at: Moment) -> Result<Value, DemoError> {
        let me = self.person(session.person)?;
        let unseen = self.store.unseen(me.id)?;
        let mut people = Vec::new();
        for person in self.store.people()?.into_iter().filter(|person| person.id != me.id) {
            let devices = self.store.devices_of(person.id)?;
            if devices.is_empty() {
                continue;
            }
            let unseen = unseen.iter().find(|(sender, _)| *sender == person.id).map_or(0, |(_, count)| *count);
            people.push(json!({
                "name": person.name,
                "available": person.available,
                "reach": self.reach(&person, &devices),
                "deliveredAt": delivered_at(&devices),
                "devices": devices.len(),
                "unseen": unseen,
            }));
        }
        let devices = self.store.devices_of(me.id)?;
        let devices: Vec<_> = devices.iter().map(|device| own_device(device, session)).collect();
        let mails = self.store.voice_mails(me.id, self.store.service_time(at.instant)?)?;
        let is_full = mails.len() >= VOICE_MAILS_MAX as usize;
        let mails = mails.iter().map(|mail| self.voice_mail_for_page(mail)).collect::<Result<Vec<_>, _>>()?;
        let me_now = json!({ "name": me.name, "available": me.available, "devices": devices });
        let call = self.calls().of(me.id).cloned();
        let call = call.map(|call| self.call_for_page(&call)).transpose()?;
        Ok(json!({
            "me": me_now,
            "people": people,
            "voiceMails": mails,
            "voiceMailsFull": is_full,
            "call": call,
            "now": at.wall.as_millis(),
        }))
    }

    /// Whether the person takes calls from now on.
    pub(crate) fn set_available(&self, session: &Session, available: bool) -> Result<(), DemoError> {
        self.store.set_available(session.person, available)?;
        self.pages.broadcast(&Event::People);
        Ok(())
    }

    /// Pushes reach the session's device there from now on, or not at all.
    pub(crate) fn set_subscription(&self, session: &Session, json: Option<&str>) -> Result<(), DemoError> {
        let wrong = |error: &dyn std::fmt::Display| DemoError::Subscription(error.to_string());
        let read = |json| Subscription::from_json_mapped(json, &self.origins).map(|(subscription, _)| subscription);
        let subscription = json.map(read).transpose().map_err(|error| wrong(&error))?;
        if let Some(subscription) = &subscription {
            // The sender's policy lets loopback through for our own push service. A page could name any other server
            // on this machine, and we would send to it (RFC 8030 s8.4).
            let origin = subscription.endpoint.origin();
            let is_ours = self.push_origin.as_deref() == Some(origin.as_str());
            if subscription.endpoint.is_loopback() && !is_ours {
                return Err(wrong(&format!("{origin} is not the push service of this demo")));
            }
        }
        self.store.set_subscription(&session.device, subscription.as_ref())?;
        self.pages.broadcast(&Event::People);
        Ok(())
    }

    fn reach(&self, person: &Person, devices: &[Device]) -> &'static str {
        if devices.iter().any(|device| device.subscription.is_some()) {
            "push"
        } else if self.pages.has(person.id) {
            "page"
        } else {
            "none"
        }
    }
}

/// When a push last arrived at one of the devices for certain.
fn delivered_at(devices: &[Device]) -> Option<i64> {
    devices.iter().filter_map(|device| device.delivered_at).max().map(UnixMs::as_millis)
}

fn own_device(device: &Device, session: &Session) -> Value {
    json!({
        "label": device.label,
        "this": device.id == session.device,
        "push": device.subscription.is_some(),
        "deliveredAt": device.delivered_at.map(UnixMs::as_millis),
    })
}
