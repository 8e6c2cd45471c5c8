//! Rows as values, and their checksum, which is the same for both engines.

use aws_lc_rs::digest::{Context, SHA256};

use super::table::Table;

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Flag(bool),
    /// Also of [`Kind::Name`](super::table::Kind::Name).
    Text(String),
    Bytes(Vec<u8>),
}

/// A row: the values of the table's columns.
pub(super) type Record = Vec<Value>;

/// The place of a row in its table.
pub(super) type Key = Vec<i64>;

impl Value {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let more = match self {
            Self::Null | Self::Number(_) | Self::Flag(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        size_of::<Self>() + more
    }
}

/// The key of a record of `table`.
pub(super) fn key(table: &Table, record: &Record) -> Key {
    let number = |value: &Value| match value {
        Value::Number(number) => *number,
        other => unreachable!("a key column holds numbers, and this is {other:?}"),
    };
    record[..table.key].iter().map(number).collect()
}

/// The SHA-256 of records, in the order in which they are added.
pub(super) struct Checksum(Context);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn add(&mut self, record: &Record) {
        for value in record {
            match value {
                Value::Null => self.0.update(&[0]),
                Value::Number(number) => {
                    self.0.update(&[1]);
                    self.0.update(&number.to_be_bytes());
                }
                Value::Flag(flag) => self.0.update(&[2, u8::from(*flag)]),
                Value::Text(text) => self.sized(3, text.as_bytes()),
                Value::Bytes(bytes) => self.sized(4, bytes),
            }
        }
    }

    /// With the length before it, so that no two records have the same bytes.
    fn sized(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update(&[kind]);
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// In hexadecimal.
    pub(super) fn text(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_differ_have_different_checksums() {
        let of = |records: &[Record]| {
            let mut checksum = Checksum::new();
            records.iter().for_each(|record| checksum.add(record));
            checksum.text()
        };
        let text = |text: &str| Value::Text(text.into());
        let records: Vec<Vec<Record>> = vec![
            vec![],
            vec![vec![Value::Null]],
            vec![vec![Value::Number(0)]],
            vec![vec![Value::Flag(false)]],
            vec![vec![Value::Flag(true)]],
            vec![vec![text("ab"), text("")]],
            vec![vec![text("a"), text("b")]],
            vec![vec![Value::Bytes(b"ab".to_vec()), text("")]],
            vec![vec![Value::Number(1)], vec![Value::Number(2)]],
            vec![vec![Value::Number(2)], vec![Value::Number(1)]],
        ];
        let mut sums: Vec<_> = records.iter().map(|records| of(records)).collect();
        assert!(sums.iter().all(|sum| sum.len() == 64));
        sums.sort();
        sums.dedup();
        assert_eq!(sums.len(), records.len());
    }
}
