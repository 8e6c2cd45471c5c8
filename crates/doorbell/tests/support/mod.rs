//! The grammar of the tests of all three roles together: real processes, real TLS, own state directories.
//!
//! ```text
//! let service = Service::start();
//! let listener = Listener::of(&service);
//! Sender::WEB_PUSH.send("hello", &listener.subscription(), &service.ca());
//! listener.prints("hello");
//! ```
//! Waits are for conditions, with a deadline. Every process ends with the value that owns it.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its part of the grammar")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

pub mod app_server;
pub mod authority;
pub mod browser;
pub mod chromium;
pub mod clock;
pub mod desktop;
pub mod desktop_part;
pub mod events;
pub mod eyes;
pub mod false_clock;
pub mod figures;
pub mod firefox;
pub mod foreign;
pub mod front;
pub mod home;
pub mod listener;
pub mod page;
pub mod pebble;
pub mod peer;
pub mod person;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod refusing;
pub mod rust_senders;
pub mod senders;
pub mod series;
pub mod service;
pub mod star;
pub mod wake_door;
pub mod weston;
pub mod x11;

pub use app_server::AppServer;
pub use browser::{Browser, Woken};
pub use chromium::Chromium;
pub use desktop::Desktop;
pub use desktop_part::DesktopPart;
pub use events::{Event, Events};
pub use false_clock::FalseClock;
pub use figures::{Figures, runs};
pub use firefox::{Firefox, Installed};
pub use foreign::{NodeAgent, nghttp};
pub use front::{Faults, Front};
pub use home::Home;
pub use listener::Listener;
pub use page::Site;
pub use pebble::Pebble;
pub use peer::{Peer, Pushed, Reply};
pub use person::Person;
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use refusing::Refusing;
pub use rust_senders::RustSender;
pub use senders::{Runtime, Sender};
pub use series::Series;
pub use service::Service;
pub use star::Star;
pub use wake_door::{WakeDoor, WakeStream};
pub use weston::Weston;
