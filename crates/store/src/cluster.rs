//! Ids of stores: which service a database belongs to, and which cell a directory is.

use std::fmt::Write;

use aws_lc_rs::rand;

/// The bytes of an id.
pub(crate) const ID_BYTES: usize = 16;

/// The cluster that a database must be.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// A database that no service uses yet: it becomes this cluster. Also this cluster, which an interrupted start made.
    New(String),
    /// This cluster.
    Bound(String),
}

#[cfg(feature = "postgres")]
impl Cluster {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Bound(id) => id,
        }
    }
}

/// A new id: 32 hexadecimal digits.
pub fn random_id() -> String {
    let mut bytes = [0; ID_BYTES];
    rand::fill(&mut bytes).expect("the system has random numbers");
    id_of(&bytes)
}

pub(crate) fn id_of(bytes: &[u8; ID_BYTES]) -> String {
    bytes.iter().fold(String::new(), |mut id, byte| {
        write!(id, "{byte:02x}").expect("a string takes all text");
        id
    })
}
