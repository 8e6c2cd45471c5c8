//! The windows on a screen, by the X11 protocol itself: no tool and no window manager is needed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Numbers of requests.
const GET_WINDOW_ATTRIBUTES: u8 = 3;
const QUERY_TREE: u8 = 15;
const INTERN_ATOM: u8 = 16;
const GET_PROPERTY: u8 = 20;
const SEND_EVENT: u8 = 25;
/// An event that one client sends to another.
const CLIENT_MESSAGE: u8 = 33;
/// The predefined atom WM_CLASS.
const WM_CLASS: u32 = 67;
/// A window that is on the screen.
const VIEWABLE: u8 = 2;

/// A connection to a display without access control.
pub struct X11 {
    stream: UnixStream,
    root: u32,
}

impl X11 {
    /// Connects to a display such as `:7`.
    pub fn connect(display: &str) -> Self {
        let number = display.trim_start_matches(':');
        let mut stream = UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).expect("a display");
        // Little-endian, version 11.0, no authorization.
        stream.write_all(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]).expect("a display that takes clients");
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("an answer");
        assert_eq!(head[0], 1, "the display takes this client");
        let mut setup = vec![0; 4 * usize::from(u16::from_le_bytes([head[6], head[7]]))];
        stream.read_exact(&mut setup).expect("an answer");
        let vendor = usize::from(u16::from_le_bytes([setup[16], setup[17]])).next_multiple_of(4);
        let formats = 8 * usize::from(setup[21]);
        let root = number_at(&setup, 32 + vendor + formats);
        Self { stream, root }
    }

    /// The windows on the screen whose class names this word.
    pub fn windows(&mut self, word: &str) -> Vec<u32> {
        let root = self.root;
        let tree = self.asks(QUERY_TREE, 0, &root.to_le_bytes()).expect("there is a root");
        let children = tree[32..].chunks_exact(4).map(|child| number_at(child, 0));
        children.collect::<Vec<_>>().into_iter().filter(|&window| self.is_shown(window, word)).collect()
    }

    /// Asks a program to close its window, as the cross in its corner does.
    pub fn closes(&mut self, window: u32) {
        let (protocols, delete) = (self.atom("WM_PROTOCOLS"), self.atom("WM_DELETE_WINDOW"));
        let mut body = [window.to_le_bytes(), [0; 4]].concat();
        body.extend([CLIENT_MESSAGE, 32, 0, 0]);
        for number in [window, protocols, delete, 0, 0, 0, 0] {
            body.extend(number.to_le_bytes());
        }
        self.sends(SEND_EVENT, 0, &body);
    }

    /// A window may go at any time.
    fn is_shown(&mut self, window: u32, word: &str) -> bool {
        let mut property = window.to_le_bytes().to_vec();
        for number in [WM_CLASS, 0, 0, 1024] {
            property.extend(number.to_le_bytes());
        }
        let class = self.asks(GET_PROPERTY, 0, &property);
        let is_its = class.is_some_and(|class| String::from_utf8_lossy(&class[32..]).contains(word));
        let attributes = self.asks(GET_WINDOW_ATTRIBUTES, 0, &window.to_le_bytes());
        is_its && attributes.is_some_and(|attributes| attributes[26] == VIEWABLE)
    }

    fn atom(&mut self, name: &str) -> u32 {
        let length = u16::try_from(name.len()).expect("a short name").to_le_bytes();
        let mut body = vec![length[0], length[1], 0, 0];
        body.extend(name.as_bytes());
        body.resize(body.len().next_multiple_of(4), 0);
        number_at(&self.asks(INTERN_ATOM, 0, &body).expect("an atom"), 8)
    }

    /// The reply to a request; `None` if it is an error.
    fn asks(&mut self, request: u8, detail: u8, body: &[u8]) -> Option<Vec<u8>> {
        self.sends(request, detail, body);
        loop {
            let mut reply = vec![0; 32];
            self.stream.read_exact(&mut reply).expect("a reply");
            match reply[0] {
                0 => return None,
                1 => {
                    let rest = 4 * usize::try_from(number_at(&reply, 4)).expect("a length");
                    reply.resize(32 + rest, 0);
                    self.stream.read_exact(&mut reply[32..]).expect("the rest of a reply");
                    return Some(reply);
                }
                // An event for all clients.
                _ => {}
            }
        }
    }

    fn sends(&mut self, request: u8, detail: u8, body: &[u8]) {
        let length = u16::try_from(1 + body.len() / 4).expect("a short request").to_le_bytes();
        let head = [request, detail, length[0], length[1]];
        self.stream.write_all(&[&head, body].concat()).expect("a display that runs");
    }
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
