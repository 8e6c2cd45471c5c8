//! The bounds of everything. Strangers on the same network can reach the demo, and it must survive them.

use std::time::Duration;

use crate::allowance::Allowance;

/// People who have signed in. The list is sent to every page as a whole.
pub(crate) const PEOPLE_MAX: u32 = 200;
/// Those whose names one source took: a class in a room and more, and it takes four sources to fill the house.
pub(crate) const PEOPLE_OF_SOURCE_MAX: u32 = PEOPLE_MAX / 4;
/// How long a name stays for certain that was taken and not used: it has no passphrase, pushes do not reach it, and it has
/// neither sent nor received anything. The person is away for so long, too: with an open page it stays.
pub(crate) const UNUSED_NAME_KEPT: Duration = Duration::from_secs(3600);
/// Devices of one person: each of them is rung.
pub(crate) const DEVICES_MAX: u32 = 8;
/// Open pages of all people: each is a connection.
pub(crate) const PAGES_MAX: usize = 1000;
/// Open pages of one person: a few on each device.
pub(crate) const PAGES_OF_PERSON_MAX: usize = 32;
/// Open pages of one source, with as many names as it has: four for each in a class, and seven others still get as many.
pub(crate) const PAGES_OF_SOURCE_MAX: usize = PAGES_MAX / 8;
/// Connections: a page has its socket, which counts as long as it is open, and a few requests at a time.
pub(crate) const CONNECTIONS_MAX: usize = 4 * PAGES_MAX;
/// Connections of one source: more than a class in a room has, and seven others still get as many.
pub(crate) const CONNECTIONS_OF_SOURCE_MAX: usize = CONNECTIONS_MAX / 8;
/// Events that a page may leave unread before it is cut off; it asks for everything anew when it comes back.
pub(crate) const EVENTS_WAITING_MAX: usize = 256;
/// Calls at a time.
pub(crate) const CALLS_MAX: usize = 1000;
/// How long a page may be away, reloading for instance, before its call ends.
pub(crate) const PAGE_AWAY_MAX: Duration = Duration::from_secs(10);
/// The longest chat message, in bytes: with everything around it, it fits into a push message of 3993.
pub(crate) const TEXT_BYTES_MAX: usize = 1500;
/// Messages of each of the two in a conversation that are kept and shown.
pub(crate) const MESSAGES_OF_SENDER_KEPT: u32 = 100;
/// A voice mail, in bytes: two minutes of Opus at 64 kbit/s.
pub(crate) const VOICE_BYTES_MAX: usize = 1 << 20;
/// Voice mails that wait for one person. With the size: 32 MiB.
pub(crate) const VOICE_MAILS_MAX: u32 = 32;
/// Those of one sender: it takes four people to fill a box.
pub(crate) const VOICE_MAILS_OF_SENDER_MAX: u32 = 8;
/// Those from one source, with as many names as it has: half a box, since a household has one source.
pub(crate) const VOICE_MAILS_FROM_SOURCE_MAX: u32 = 16;
/// How long a voice mail is kept.
pub(crate) const VOICE_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// The longest JSON body of a request: a subscription has at most 16 KiB.
pub(crate) const JSON_BYTES_MAX: usize = 16 << 10;
/// The longest message of a page on its socket: an SDP offer for audio, video and data has about 8 KiB.
pub(crate) const SIGNAL_BYTES_MAX: usize = 64 << 10;
/// How long a session lasts.
pub(crate) const SESSION_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an invitation for another device is good.
pub(crate) const INVITATION_KEPT: Duration = Duration::from_secs(15 * 60);
/// How long an invitation for another person is good: it may travel by mail.
pub(crate) const GUEST_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a used invitation is remembered after it is void: a clock that is set back by less does not make it good.
pub(crate) const USED_INVITATIONS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Wrong passphrases from one address: more than a person needs who mistypes, and then one a minute.
pub(crate) const GUESSES_OF_ADDRESS: Allowance = Allowance { at_once: 10, one_more_after: Duration::from_secs(60) };
/// Wrong passphrases for one name, from all addresses together: 2880 a day, of which no passphrase worth the word is found.
pub(crate) const GUESSES_OF_NAME: Allowance = Allowance { at_once: 30, one_more_after: Duration::from_secs(30) };
/// Sign-ins from one source, also with the right passphrase: a class in a room, and no client that keeps a core busy.
pub(crate) const SIGN_INS_OF_SOURCE: Allowance = Allowance { at_once: 60, one_more_after: Duration::from_secs(3) };
/// Names that one source takes: a class in a room at once, then one a minute.
pub(crate) const NAMES_OF_SOURCE: Allowance = Allowance { at_once: 30, one_more_after: Duration::from_secs(60) };
/// Names that all sources take together: a flood from many networks takes an hour to fill the house, and by then the first
/// names that are not used make room.
pub(crate) const NAMES_OF_ALL: Allowance = Allowance { at_once: 60, one_more_after: Duration::from_secs(20) };
/// Requests of a person that change something or notify others: faster than anybody types. Reports and marks that what
/// others send causes have as many of their own; what ends a call or a session is never refused.
pub(crate) const CHANGES_OF_PERSON: Allowance = Allowance { at_once: 120, one_more_after: Duration::from_millis(500) };
/// The same from one source, with as many names as it has: a busy class in a room.
pub(crate) const CHANGES_OF_SOURCE: Allowance = Allowance { at_once: 1000, one_more_after: Duration::from_millis(50) };
/// Voice mails from one source, with as many names as it has: each is up to one MiB of the disk for two weeks.
pub(crate) const VOICE_MAILS_OF_SOURCE: Allowance = Allowance { at_once: 60, one_more_after: Duration::from_secs(60) };
/// Passphrases that are hashed at a time: one core of a small machine serves everything else meanwhile.
pub(crate) const HASHES_AT_ONCE: usize = 1;
/// Sign-ins that wait for it: the last one waits for about a second.
pub(crate) const HASHES_WAITING_MAX: usize = 16;
/// Sign-ins of one source that hash or wait: a few of a class at once, and it takes more than two sources to fill the
/// queue. The others of the class come back after a second, when these are done.
pub(crate) const HASHES_OF_SOURCE_MAX: usize = 8;
/// Names, people and sources whose debts are remembered, of each kind: less than one MiB.
pub(crate) const DEBTORS_MAX: usize = 10_000;
/// How long a request may take to arrive.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a device that is away may still learn of a missed call, a voice mail or a message.
pub(crate) const NEWS_TTL_SECS: u32 = 3 * 24 * 3600;
/// Pushes whose receipts are awaited; the oldest are forgotten first.
pub(crate) const PUSHES_AWAITED_MAX: u32 = 5000;
