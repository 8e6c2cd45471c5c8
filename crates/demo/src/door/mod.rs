//! Every request that there is, and who may ask it. The rules are the house's; this reads requests and writes answers.

mod answer;
mod body;
mod files;
mod live;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::clock::{self, Moment};
use crate::error::DemoError;
use crate::house::{Claim, Entrance, House, SignIn};
use crate::limits::VOICE_BYTES_MAX;
use crate::listen::Peer;
use crate::name::Name;
use crate::rates::Action;
use crate::session::Session;
use crate::store::PersonId;
use crate::token::Token;

use answer::Response;
use body::{CallBody, DeviceBody, InvitationBody, PageBody, ReportBody, SignInBody, TextBody};

/// The session's cookie.
const COOKIE: &str = "doorbell_demo";

/// Answers one request that comes from a peer.
pub(crate) async fn answer(house: &Arc<House>, request: Request<Incoming>, peer: &Peer) -> Response {
    let head = request.method() == Method::HEAD;
    let response = match respond(house, request, peer).await {
        Ok(response) => response,
        Err(error) => answer::error(&error),
    };
    answer::finish(response, head)
}

/// The index.
async fn respond(house: &Arc<House>, request: Request<Incoming>, peer: &Peer) -> Result<Response, DemoError> {
    let from = peer.address;
    house.sites.check_host(&request)?;
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if path.first() != Some(&"api") {
        return files::file(&method, request.uri().path());
    }
    house.sites.check_page(&request)?;
    let at = clock::moment();
    let now = at.wall;
    match (method.as_str(), &path[1..]) {
        ("GET", ["settings"]) => return Ok(answer::json(&house.settings())),
        ("POST", ["sign-in"]) => {
            let request: SignInBody = body::json(request).await?;
            let (person, cookie) = house.sign_in(entrance(request, from)?, at).await?;
            return Ok(answer::with_cookie(answer::json(&json!({ "name": person.name })), COOKIE, &cookie, house));
        }
        _ => {}
    }

    let session = session(house, request.headers(), at)?;
    if let Some(action) = action(&method, &path[1..], session.person) {
        house.rates().charge(action, from, at.instant)?;
    }
    match (method.as_str(), &path[1..]) {
        ("GET", ["overview"]) => Ok(answer::json(&house.overview(&session, at)?)),
        ("GET", ["live"]) => live::upgrade(house.clone(), session, peer.clone(), request),
        ("POST", ["sign-out"]) => {
            house.sign_out(&session)?;
            Ok(answer::with_cookie(answer::done(), COOKIE, "", house))
        }
        ("POST", ["invitation"]) => {
            let InvitationBody { guest } = body::json(request).await?;
            Ok(answer::json(&house.invite(&session, guest, now)?))
        }

        ("PUT", ["device"]) => {
            let DeviceBody { subscription, available } = body::json(request).await?;
            if let Some(subscription) = subscription {
                let json = Some(subscription).filter(|value| !value.is_null()).map(|value| value.to_string());
                house.set_subscription(&session, json.as_deref())?;
            }
            available.map_or(Ok(()), |available| house.set_available(&session, available))?;
            Ok(answer::done())
        }
        ("POST", ["trial"]) => Ok(answer::json(&house.try_out(&session)?)),
        ("POST", ["reports"]) => {
            let ReportBody { from, story, what, after_ms } = body::json(request).await?;
            house.report(&session, &from, &story, what, after_ms)?;
            Ok(answer::done())
        }

        ("POST", ["calls"]) => {
            let CallBody { to, from, media, page } = body::json(request).await?;
            is_the_sender(house, &session, from.as_deref())?;
            Ok(answer::json(&house.call(&session, Token::parse(&page)?, &to, media, now)?))
        }
        ("POST", ["calls", id, "answer"]) => {
            let id = Token::parse(id)?;
            let PageBody { page } = body::json(request).await?;
            Ok(answer::json(&house.answer(&session, Token::parse(&page)?, &id, now)?))
        }
        ("POST", ["calls", id, "end"]) => house.end(&session, &Token::parse(id)?).map(|()| answer::done()),

        ("GET", ["chat", with]) => Ok(answer::json(&house.conversation(&session, &decoded(with))?)),
        ("POST", ["chat", with]) => {
            let TextBody { text, from } = body::json(request).await?;
            is_the_sender(house, &session, from.as_deref())?;
            Ok(answer::json(&house.write(&session, &decoded(with), &text, now)?))
        }
        ("POST", ["chat", with, "seen"]) => {
            house.see(&session, &decoded(with), now)?;
            Ok(answer::done())
        }

        ("POST", ["voice", "to", with]) => {
            // Without a readable media type it is none of those that are taken.
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let too_large = "a voice mail has at most one MiB, which is two minutes";
            house.rates().charge(Action::VoiceMail, from, at.instant)?;
            let sound = body::bytes(request, VOICE_BYTES_MAX, too_large).await?;
            Ok(answer::json(&house.leave_voice_mail(&session, &decoded(with), &kind, &sound, (from, at))?))
        }
        ("GET", ["voice", id]) => {
            let (media_type, sound) = house.voice(&session, number(id)?, at)?;
            Ok(answer::sound(media_type, sound))
        }
        ("POST", ["voice", id, "played"]) => house.play_voice_mail(&session, number(id)?, now).map(|()| answer::done()),
        ("DELETE", ["voice", id]) => house.remove_voice_mail(&session, number(id)?).map(|()| answer::done()),
        _ => Err(DemoError::NotFound("request")),
    }
}

/// What a request of a person is charged as.
fn action(method: &Method, path: &[&str], person: PersonId) -> Option<Action> {
    match (method.as_str(), path) {
        // A person can always hang up and sign out. Both are cheap.
        ("GET" | "HEAD", _) | ("POST", ["sign-out"] | ["calls", _, "end"]) => None,
        ("POST", ["reports"] | ["chat", _, "seen"]) => Some(Action::Echo(person)),
        _ => Some(Action::Change(person)),
    }
}

fn entrance(request: SignInBody, address: IpAddr) -> Result<SignIn, DemoError> {
    let SignInBody { name, passphrase, invitation, guest, label } = request;
    let entrance = match (name, invitation) {
        (_, Some(invitation)) => Entrance::Invitation(invitation),
        (Some(name), None) => Entrance::Name(Claim { name: Name::parse(&name)?, passphrase, guest }),
        (None, None) => return Err(DemoError::Malformed("a name or an invitation is needed")),
    };
    Ok(SignIn { entrance, label: label.unwrap_or_default(), address })
}

fn session(house: &House, headers: &HeaderMap, at: Moment) -> Result<Session, DemoError> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = values.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let (_, cookie) = cookies.find(|(name, _)| *name == COOKIE).ok_or(DemoError::NotSignedIn)?;
    house.recognise(cookie, at)
}

/// The session names the sender. A request may name one as well, and then it must be the same.
fn is_the_sender(house: &House, session: &Session, from: Option<&str>) -> Result<(), DemoError> {
    let Some(from) = from else { return Ok(()) };
    let named = house.store.person_named(&Name::parse(from)?)?;
    if named.is_some_and(|person| person.id == session.person) { Ok(()) } else { Err(DemoError::NotYou) }
}

/// A name out of a path.
fn decoded(segment: &str) -> String {
    // The form's rules read `%20` as a path's do, and our pages write no plus sign.
    let pair = url::form_urlencoded::parse(segment.as_bytes()).next();
    pair.map_or_else(String::new, |(text, _)| text.into_owned())
}

fn number(text: &str) -> Result<i64, DemoError> {
    text.parse().map_err(|_| DemoError::Malformed("this is not a number of this server"))
}

/// For [`Value`]s that a body may leave out, set to null, or give.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}
