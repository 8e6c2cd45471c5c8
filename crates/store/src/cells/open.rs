//! Opening several cells: each must be the one that it was, in the same place.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand;
use doorbell_private_file as private_file;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use super::plan::{CELLS_MAX, CellPlan};
use super::plan_file::{Member, PlanFile};
use crate::SqliteEngine;
use crate::engine::Engine;
use crate::error::OpenError;
use crate::limits::Limits;
use crate::model::ClockRecord;
use crate::store::Store;

/// The plan, in the state directory.
const PLAN: &str = "cells.plan";

/// The id of a cell, in its directory.
const ID: &str = "cell.id";

/// New agents go to a new cell from so long after its first start: no id that exists may be of a later moment, also one
/// that was minted in a rush and is not stored yet.
const AHEAD: Duration = Duration::from_secs(60);

/// Where a cell is.
#[derive(Clone)]
pub enum CellSource {
    /// A directory.
    Sqlite(PathBuf),
    /// A database.
    #[cfg(feature = "postgres")]
    Postgres(crate::PostgresOptions),
}

impl Store {
    /// The store in `cells`, in their order, with the plan in the directory `state_dir`. With one cell it is the same as
    /// [`Store::open_sqlite`] or [`Store::open_postgres`]. Cells can be added at the end, and move no agent: new ones go
    /// there from a minute later on. `now` gets the clock and the greatest id of the store, and returns the service's time.
    ///
    /// # Errors
    /// [`OpenError`], and [`OpenError::Cells`] if a cell is missing, in another place, or another one than it was.
    ///
    /// # Panics
    /// Without a cell.
    pub fn open_cells(
        state_dir: &Path,
        cells: &[CellSource],
        limits: Limits,
        now: impl FnOnce(&ClockRecord, i64) -> UnixMs,
    ) -> Result<Self, OpenError> {
        assert!(!cells.is_empty(), "a store has a cell");
        let path = state_dir.join(PLAN);
        let known = PlanFile::load(&path)?;
        if known.is_none() && cells.len() == 1 {
            return Self::start_cells(vec![cells[0].open(limits)?.engine], CellPlan::new(1), limits);
        }
        let members = known.as_ref().map_or(&[][..], |known| &known.members);
        check_count(cells, members)?;
        let mut opened = Vec::with_capacity(cells.len());
        for (place, source) in cells.iter().enumerate() {
            opened.push(match members.get(place) {
                Some(_) => source.open_known(place, members, limits)?,
                None => source.open_new(place, limits)?,
            });
        }
        let engines = || opened.iter().map(|cell| &cell.engine);
        let greatest_id = engines().map(|engine| engine.greatest_id()).max().expect("there is a cell");
        let mut plan = match &known {
            Some(known) => known.plan.clone(),
            None if greatest_id == 0 => CellPlan::new(cells.len()),
            None => CellPlan::new(1),
        };
        if plan.cells() < cells.len() {
            let minted = MessageId::from_raw(greatest_id).minted_at();
            let now = now(&opened[0].engine.clock(), greatest_id).max(minted).max(plan.newest());
            plan.grow(now.plus(AHEAD), cells.len());
        }
        let members =
            opened.iter().zip(cells).map(|(cell, source)| Member { id: cell.id.clone(), name: source.name() });
        let file = PlanFile { members: members.collect(), plan: plan.clone() };
        if known.as_ref() != Some(&file) {
            file.save(&path)?;
        }
        Self::start_cells(opened.into_iter().map(|cell| cell.engine).collect(), plan, limits)
    }
}

struct Opened {
    engine: Box<dyn Engine>,
    /// Empty for the only cell of a store in a directory.
    id: String,
}

impl CellSource {
    fn open(&self, limits: Limits) -> Result<Opened, OpenError> {
        Ok(match self {
            Self::Sqlite(dir) => Opened { engine: Box::new(SqliteEngine::open(dir, limits)?), id: String::new() },
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => {
                let engine = crate::PostgresEngine::open(options, limits)?;
                let id = engine.cluster().to_owned();
                Opened { engine: Box::new(engine), id }
            }
        })
    }

    /// A cell that the store has had.
    fn open_known(&self, place: usize, members: &[Member], limits: Limits) -> Result<Opened, OpenError> {
        let check = |found: Option<&str>| check_id(found, place, members, &self.name());
        match self {
            // Before it is opened, which would create it.
            Self::Sqlite(dir) => {
                let id = read_id(dir)?;
                check(id.as_deref())?;
                Ok(Opened { id: members[place].id.clone(), ..self.open(limits)? })
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                let opened = self.open(limits)?;
                check(Some(&opened.id))?;
                Ok(opened)
            }
        }
    }

    /// A cell that is added, or the first one.
    fn open_new(&self, place: usize, limits: Limits) -> Result<Opened, OpenError> {
        let mut opened = self.open(limits)?;
        if place > 0 && opened.engine.greatest_id() > 0 {
            return Err(OpenError::Cells(format!(
                "{} is to be added and holds agents already, whose cell it would not be: name an empty one",
                self.name()
            )));
        }
        // The engine has locked the directory.
        match self {
            Self::Sqlite(dir) => opened.id = make_id(dir)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {}
        }
        Ok(opened)
    }

    /// For the operator: no password.
    fn name(&self) -> String {
        match self {
            Self::Sqlite(dir) => dir.display().to_string().replace('\n', "?"),
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => options.shown(),
        }
    }
}

fn check_count(cells: &[CellSource], members: &[Member]) -> Result<(), OpenError> {
    let names = |from: usize| members[from..].iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    if cells.len() < members.len() {
        return Err(OpenError::Cells(format!(
            "it has {} and only {} named; agents live in the others, so name them again, at the end: {}",
            members.len(),
            cells.len(),
            names(cells.len())
        )));
    }
    if cells.len() > CELLS_MAX {
        return Err(OpenError::Cells(format!("{} are named: name {CELLS_MAX} at most", cells.len())));
    }
    Ok(())
}

/// Refuses what is not the cell that belongs in this place.
fn check_id(found: Option<&str>, place: usize, members: &[Member], name: &str) -> Result<(), OpenError> {
    if found == Some(members[place].id.as_str()) {
        return Ok(());
    }
    let was = &members[place].name;
    let reason = match members.iter().position(|member| found == Some(member.id.as_str())) {
        Some(other) => format!(
            "{name} is number {} of them and is named as number {}: put them back in their order: {}",
            other + 1,
            place + 1,
            members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        None if found.is_none() => {
            format!(
                "{name} holds no cell, and number {} was {was}: mount its disk, or bring it back from a backup",
                place + 1
            )
        }
        None => format!("{name} is another cell than number {}, which was {was}: name that one again", place + 1),
    };
    Err(OpenError::Cells(reason))
}

fn read_id(dir: &Path) -> Result<Option<String>, OpenError> {
    let path = dir.join(ID);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// The id of a cell, which gets one if it has none. A start that ended before it had saved the plan may have left one.
fn make_id(dir: &Path) -> Result<String, OpenError> {
    if let Some(id) = read_id(dir)?.filter(|id| !id.is_empty()) {
        return Ok(id);
    }
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has random numbers");
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(ID);
    private_file::replace(&path, format!("{id}\n").as_bytes()).map_err(|source| OpenError::Io { path, source })?;
    Ok(id)
}
