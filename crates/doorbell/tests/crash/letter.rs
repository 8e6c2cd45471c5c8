//! The messages. A message's name is in its body, and determines whether the message has a topic, whether its sender
//! requests a receipt, and what its user agent reports when it deletes it.

use doorbell_protocol::receipt::Outcome;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Letter {
    round: u32,
    sender: usize,
    n: usize,
    twin: Option<char>,
}

impl Letter {
    /// What a sender sends in its n-th step: one message, or two of the same topic at the same time.
    pub(crate) fn nth(round: u32, sender: usize, n: usize) -> Vec<Self> {
        let letter = |twin| Self { round, sender, n, twin };
        match (n + sender) % 8 {
            2 | 5 => vec![letter(Some('a')), letter(Some('b'))],
            _ => vec![letter(None)],
        }
    }

    /// The one whose body this is.
    pub(crate) fn of(body: &[u8]) -> Self {
        let name = body.split(|byte| *byte == b' ').next().and_then(|name| std::str::from_utf8(name).ok());
        let name = name.expect("a body begins with a name");
        let mut parts =
            name.trim_end_matches(['a', 'b']).split('/').map(|part| part.parse::<usize>().expect("a number"));
        let mut part = || parts.next().expect("a name has three parts");
        let (round, sender, n) = (part(), part(), part());
        Self { round: round as u32, sender, n, twin: name.chars().last().filter(|last| last.is_alphabetic()) }
    }

    /// A body that no other message has, of any length up to the maximum.
    pub(crate) fn body(&self) -> Vec<u8> {
        let Self { round, sender, n, .. } = self;
        let name = format!("{round}/{sender}/{n}{} ", self.twin.map(String::from).unwrap_or_default());
        let length = name.len() + (n * 613) % (4096 - name.len());
        name.bytes().cycle().take(length).collect()
    }

    /// The topic, which this message has in common with its twin and no other.
    pub(crate) fn topic(&self) -> Option<String> {
        self.twin.map(|_| format!("{}-{}-{}", self.round, self.sender, self.n))
    }

    /// Half of all want a receipt, with and without topic.
    pub(crate) fn wants_receipt(&self) -> bool {
        matches!((self.n + self.sender) % 8, 1 | 4 | 5 | 7)
    }

    /// How it ends once it has arrived.
    pub(crate) fn outcome(&self) -> Outcome {
        if (self.n + self.sender) % 16 < 8 { Outcome::Delivered } else { Outcome::Undecryptable }
    }
}
