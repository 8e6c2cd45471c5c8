//! Opening several cells: each must be the one that it was, in the same place.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "postgres")]
use aws_lc_rs::digest::{SHA256, digest};
use doorbell_private_file as private_file;
use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::time::UnixMs;

use super::plan::{CELLS_MAX, CellPlan};
use super::plan_file::{Member, PlanFile};
use crate::SqliteEngine;
use crate::cluster;
use crate::engine::Engine;
use crate::error::OpenError;
use crate::limits::Limits;
use crate::model::ClockRecord;
#[cfg(feature = "postgres")]
use crate::postgres::{PostgresEngine, PostgresOptions};
use crate::store::Store;

/// The plan, in the state directory.
const PLAN: &str = "cells.plan";

/// The id of a cell, in its directory.
const ID: &str = "cell.id";

/// New agents go to a new cell from so long after its first start: no id that exists may be of a later moment, also one
/// that was minted in a rush and is not stored yet.
const AHEAD: Duration = Duration::from_secs(60);

/// The first cell, open: what every store begins with.
pub struct FirstCell {
    engine: Box<dyn Engine>,
    place: Place,
}

/// Where a cell is.
#[derive(Clone)]
pub enum CellSource {
    /// A directory.
    Sqlite(PathBuf),
    /// A database.
    #[cfg(feature = "postgres")]
    Postgres(PostgresOptions),
}

/// What identifies a cell.
enum Place {
    /// The id is in the directory.
    Dir(PathBuf),
    #[cfg(feature = "postgres")]
    Database { name: String, id: String },
}

impl FirstCell {
    /// Refuses the first of several cells without its plan.
    fn check_alone(&self, plan: &Path) -> Result<(), OpenError> {
        let dir = match &self.place {
            Place::Dir(dir) => dir,
            #[cfg(feature = "postgres")]
            Place::Database { .. } => return Ok(()),
        };
        if self.engine.greatest_id() == 0 || read_id(dir)?.is_none() {
            return Ok(());
        }
        Err(OpenError::Cells(format!(
            "{} is missing, and {} was one of several cells: bring it back from a backup, and name all cells in `cells`; \
             if no cell was ever added, remove {}",
            plan.display(),
            self.place.name(),
            dir.join(ID).display()
        )))
    }

    /// The store in a directory.
    pub fn sqlite(engine: SqliteEngine, dir: &Path) -> Self {
        Self { engine: Box::new(engine), place: Place::Dir(dir.into()) }
    }

    /// The store in a database.
    #[cfg(feature = "postgres")]
    pub fn postgres(engine: PostgresEngine) -> Self {
        let place = Place::Database { name: engine.database().to_owned(), id: engine.cluster().to_owned() };
        Self { engine: Box::new(engine), place }
    }
}

/// Whether there is a plan in the directory `state_dir`.
pub(crate) fn has_plan(state_dir: &Path) -> bool {
    state_dir.join(PLAN).exists()
}

impl Store {
    /// Checks that the state directory of a store with several cells has the messages of the first one: to open it would
    /// create an empty one.
    ///
    /// # Errors
    /// [`OpenError::Cells`].
    pub fn check_first_cell(state_dir: &Path) -> Result<(), OpenError> {
        let Some(known) = PlanFile::load(&state_dir.join(PLAN))? else { return Ok(()) };
        check_store(state_dir, 0, &known.members)
    }

    /// The store in `first` and `others`, in their order, with the plan in the directory `state_dir`, which the caller has
    /// locked. Cells can be added at the end, and move no agent: new ones go there from a minute later on. `now` gets the
    /// clock and the greatest id of the store, and returns the service's time.
    ///
    /// # Errors
    /// [`OpenError`], and [`OpenError::Cells`] if a cell is missing, in another place, or another one than it was.
    pub fn open_cells(
        state_dir: &Path,
        first: FirstCell,
        others: &[CellSource],
        limits: Limits,
        now: impl FnOnce(&ClockRecord, i64) -> UnixMs,
    ) -> Result<Self, OpenError> {
        let path = state_dir.join(PLAN);
        let known = PlanFile::load(&path)?;
        if known.is_none() && others.is_empty() {
            first.check_alone(&path)?;
            return Self::start_cells(vec![first.engine], CellPlan::new(1), limits);
        }
        let known_members = known.as_ref().map_or(&[][..], |known| &known.members);
        let count = 1 + others.len();
        check_count(count, known_members)?;
        let mut members = vec![first.place.member(0, known_members)?];
        let store = members[0].id.clone();
        let mut engines = vec![first.engine];
        for (place, source) in (1..).zip(others) {
            let (engine, member) = source.open(place, &store, known_members, limits)?;
            if let Some(same) = members.iter().find(|other: &&Member| other.id == member.id) {
                return Err(OpenError::Cells(format!(
                    "{} is a copy of {}: name an empty one instead",
                    member.name, same.name
                )));
            }
            engines.push(engine);
            members.push(member);
        }
        let greatest_id = engines.iter().map(|engine| engine.greatest_id()).max().expect("there is a first cell");
        let mut plan = match &known {
            Some(known) => known.plan.clone(),
            None if greatest_id == 0 => CellPlan::new(count),
            None => CellPlan::new(1),
        };
        for (place, engine) in engines.iter().enumerate() {
            check_agents(engine.some_agents()?, place, &plan, &members[place].name)?;
        }
        if plan.cells() < count {
            let minted = MessageId::from_raw(greatest_id).minted_at();
            let now = now(&engines[0].clock(), greatest_id).max(minted).max(plan.newest());
            plan.grow(now.plus(AHEAD), count);
        }
        let file = PlanFile { members, plan: plan.clone() };
        if known.as_ref() != Some(&file) {
            file.save(&path)?;
            tracing::info!(cells = count, "the plan of the cells is saved");
        }
        Self::start_cells(engines, plan, limits)
    }
}

impl CellSource {
    /// Opens the cell at `place`: one of `known`, or a new one of the store that the id `store` of its first cell names.
    #[cfg_attr(not(feature = "postgres"), allow(unused_variables, reason = "a directory gets a random id"))]
    fn open(
        &self,
        place: usize,
        store: &str,
        known: &[Member],
        limits: Limits,
    ) -> Result<(Box<dyn Engine>, Member), OpenError> {
        let (engine, at): (Box<dyn Engine>, _) = match self {
            Self::Sqlite(dir) => {
                // Before it is opened, which would create it.
                if place < known.len() {
                    check_id(read_id(dir)?.as_deref(), place, known, &shown(dir))?;
                    check_store(dir, place, known)?;
                }
                (Box::new(SqliteEngine::open(dir, limits)?), Place::Dir(dir.clone()))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => {
                let expected = if place < known.len() {
                    let found = PostgresEngine::identify(options)?;
                    check_id(found.cluster.as_deref(), place, known, &found.database)?;
                    cluster::Cluster::Bound(known[place].id.clone())
                } else {
                    cluster::Cluster::New(new_database(store, &PostgresEngine::identify(options)?.database))
                };
                let options = PostgresOptions { cluster: Some(expected), ..options.clone() };
                let FirstCell { engine, place } = FirstCell::postgres(PostgresEngine::open(&options, limits)?);
                (engine, place)
            }
        };
        if place >= known.len() && engine.greatest_id() > 0 {
            return Err(OpenError::Cells(format!(
                "{} is to be added and holds agents already, which would not be found there: name an empty one, or, if it \
                 was a cell of this service before, bring {PLAN} back from a backup",
                at.name()
            )));
        }
        Ok((engine, at.member(place, known)?))
    }
}

impl Place {
    /// Checks that this is the cell that was at `place`. A new one gets an id, if it has none.
    fn member(&self, place: usize, known: &[Member]) -> Result<Member, OpenError> {
        let name = self.name();
        let found = match self {
            Self::Dir(dir) if place < known.len() => read_id(dir)?,
            Self::Dir(dir) => Some(make_id(dir)?),
            #[cfg(feature = "postgres")]
            Self::Database { id, .. } => Some(id.clone()),
        };
        if place < known.len() {
            check_id(found.as_deref(), place, known, &name)?;
        }
        Ok(Member { id: found.expect("a known cell has the id that it had"), name })
    }

    /// For the operator: no password.
    fn name(&self) -> String {
        match self {
            Self::Dir(dir) => shown(dir),
            #[cfg(feature = "postgres")]
            Self::Database { name, .. } => on_one_line(name),
        }
    }
}

/// On one line.
fn shown(dir: &Path) -> String {
    on_one_line(&dir.display().to_string())
}

fn on_one_line(name: &str) -> String {
    name.replace(char::is_control, "?")
}

/// Refuses a directory without the messages that it had.
fn check_store(dir: &Path, place: usize, known: &[Member]) -> Result<(), OpenError> {
    let is_dir = place > 0 || read_id(dir)?.is_some();
    if !is_dir || SqliteEngine::exists(dir) {
        return Ok(());
    }
    let (name, number) = (&known[place].name, place + 1);
    Err(OpenError::Cells(format!(
        "cell {number} ({name}) has no doorbell.db any more: bring it back from a backup, or its agents are lost"
    )))
}

/// Refuses a cell with agents of another one: its files were restored to the wrong place.
fn check_agents(some: Vec<AgentId>, place: usize, plan: &CellPlan, name: &str) -> Result<(), OpenError> {
    match some.iter().map(|agent| plan.cell_of(agent.raw())).find(|cell| *cell != place) {
        None => Ok(()),
        Some(other) => Err(OpenError::Cells(format!(
            "{name} is cell {} and has the agents of cell {}: bring each doorbell.db back to the directory that it is from",
            place + 1,
            other + 1
        ))),
    }
}

fn check_count(count: usize, known: &[Member]) -> Result<(), OpenError> {
    if count < known.len() {
        let missing: Vec<_> = known[count..].iter().map(|member| member.name.as_str()).collect();
        return Err(OpenError::Cells(format!(
            "it has {} and {count} of them are named, so the agents in the others would be lost: add to `cells`, at the \
             end: {}",
            known.len(),
            missing.join(", ")
        )));
    }
    if count > CELLS_MAX {
        return Err(OpenError::Cells(format!("{count} are named, and {CELLS_MAX} are the most: leave some out")));
    }
    Ok(())
}

/// Refuses what is not the cell that belongs in this place.
fn check_id(found: Option<&str>, place: usize, known: &[Member], name: &str) -> Result<(), OpenError> {
    if found == Some(known[place].id.as_str()) {
        return Ok(());
    }
    let (number, was) = (place + 1, &known[place].name);
    let order = || known.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    let reason = match (found, known.iter().position(|member| found == Some(member.id.as_str()))) {
        (_, Some(other)) => format!(
            "{name} is cell {} and is named as cell {number}: name them in their order, which is {}",
            other + 1,
            order()
        ),
        (None, _) => {
            format!("{name} holds no cell, and cell {number} was {was}: mount its disk, or bring it back from a backup")
        }
        (Some(_), _) => format!("{name} is another cell than cell {number}, which was {was}: name that one again"),
    };
    Err(OpenError::Cells(reason))
}

fn read_id(dir: &Path) -> Result<Option<String>, OpenError> {
    let path = dir.join(ID);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let id = text.trim();
            let is_id = id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            let damaged = || OpenError::Cells(format!("{} is damaged: bring it back from a backup", path.display()));
            is_id.then(|| Some(id.to_owned())).ok_or_else(damaged)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// The id of a database with this name that becomes a cell of `store`. It is no random one: a start that ended before it
/// had saved the plan is repeated with the same.
#[cfg(feature = "postgres")]
fn new_database(store: &str, database: &str) -> String {
    let hash = digest(&SHA256, format!("{store} {database}").as_bytes());
    cluster::id_of(hash.as_ref().first_chunk().expect("the hash has 32 bytes"))
}

/// The id of a cell, which gets one if it has none. A start that ended before it had saved the plan may have left one.
fn make_id(dir: &Path) -> Result<String, OpenError> {
    if let Some(id) = read_id(dir)?.filter(|id| !id.is_empty()) {
        return Ok(id);
    }
    let id = cluster::random_id();
    let path = dir.join(ID);
    private_file::replace(&path, format!("{id}\n").as_bytes()).map_err(|source| OpenError::Io { path, source })?;
    Ok(id)
}
