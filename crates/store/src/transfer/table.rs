//! The tables that are moved: a further table or column of the product is one more entry here.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// 0 or 1 in SQLite.
    Flag,
    Text,
    /// A text of any characters: in PostgreSQL its UTF-8, because a text of PostgreSQL holds no NUL.
    Name,
    Bytes,
}

pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// How SQLite counts it, which has no such column.
    pub(super) counted: Option<&'static str>,
}

pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    /// How many of the columns, from the first on, are the key. They are numbers.
    pub(super) key: usize,
    /// The column that holds the bytes of a row, if rows may be large.
    pub(super) weight: Option<&'static str>,
    /// Which rows of SQLite count.
    pub(super) counts: &'static str,
}

impl Table {
    pub(super) fn key_columns(&self) -> String {
        names(self.columns[..self.key].iter())
    }

    /// The columns that PostgreSQL has.
    pub(super) fn postgres_columns(&self) -> String {
        names(self.columns.iter())
    }

    /// The columns that SQLite has.
    pub(super) fn sqlite_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.counted.is_none())
    }
}

fn names<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.map(|column| column.name).collect::<Vec<_>>().join(", ")
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Number, counted: None }
}

const fn flag(name: &'static str) -> Column {
    Column { name, kind: Kind::Flag, counted: None }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, counted: None }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes, counted: None }
}

const ALL: &str = "true";

/// A receipt that was taken may still have its row in SQLite.
const UNTAKEN: &str = "seq > coalesce((SELECT up_to FROM taken WHERE taken.receipt_subscription = \
    receipt.receipt_subscription), 0)";

const COUNT_UNTAKEN: &str = "(SELECT count(*) FROM receipt WHERE receipt.receipt_subscription = \
    receipt_subscription.id AND seq > coalesce((SELECT up_to FROM taken WHERE taken.receipt_subscription = \
    receipt_subscription.id), 0))";

/// In the order in which they are moved.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "agent",
        columns: &[number("id"), number("created"), number("last_seen"), flag("used"), flag("empty")],
        key: 1,
        weight: None,
        counts: ALL,
    },
    Table {
        name: "subscription",
        columns: &[
            number("id"),
            number("agent"),
            bytes("vapid_key"),
            Column { name: "channel", kind: Kind::Name, counted: None },
            number("created"),
        ],
        key: 1,
        weight: None,
        counts: ALL,
    },
    Table {
        name: "receipt_subscription",
        columns: &[
            number("id"),
            number("last_used"),
            flag("used"),
            Column { name: "untaken", kind: Kind::Number, counted: Some(COUNT_UNTAKEN) },
        ],
        key: 1,
        weight: None,
        counts: ALL,
    },
    Table {
        name: "receipt",
        columns: &[
            number("receipt_subscription"),
            number("seq"),
            number("message"),
            number("agent"),
            number("outcome"),
            number("at"),
        ],
        key: 2,
        weight: None,
        counts: UNTAKEN,
    },
    Table {
        name: "message",
        columns: &[
            number("id"),
            number("agent"),
            number("subscription"),
            number("expires_at"),
            number("urgency"),
            number("size"),
            text("topic"),
            number("receipt"),
            bytes("headers"),
            bytes("body"),
        ],
        key: 1,
        weight: Some("size"),
        counts: ALL,
    },
];

/// The service's own record: the greatest id and the greatest receipt number ever used, and its clock. Each engine keeps
/// it in a place of its own.
pub(super) const SERVICE: &[Column] = &[
    number("greatest_id"),
    number("greatest_seq"),
    number("served"),
    number("time"),
    number("wall"),
    number("newest_wall"),
    number("boot"),
    text("boot_id"),
];

/// What the engines have besides, and why it is not moved.
const OF_SQLITE: &[(&str, &str)] = &[
    // The service's record.
    ("mark", "*"),
    // Applied: what it names is not moved.
    ("taken", "*"),
];
const OF_POSTGRES: &[(&str, &str)] = &[
    // The service's record.
    ("clock", "*"),
    // Who writes; ids_until and seq are of the service's record.
    ("node", "*"),
    // Which database this is.
    ("cluster", "*"),
    // There while an import is unfinished.
    ("transfer", "*"),
];

/// The tables and columns of SQLite and of PostgreSQL that the moves know; `*` is every column.
#[doc(hidden)]
pub fn known_columns() -> [Vec<(&'static str, &'static str)>; 2] {
    let sqlite = TABLES.iter().flat_map(|table| table.sqlite_columns().map(|(_, column)| (table.name, column.name)));
    let postgres = TABLES.iter().flat_map(|table| table.columns.iter().map(|column| (table.name, column.name)));
    [sqlite.chain(OF_SQLITE.iter().copied()).collect(), postgres.chain(OF_POSTGRES.iter().copied()).collect()]
}
