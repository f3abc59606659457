//! What a store does on a disk that a crash left: it opens, is read back and
//! judged, takes one more entry, and is read back again.

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::Fs;
use afterimage_engine::store::{Batch, Options, Store, Ticket};
use afterimage_engine::{Error, Event, Host, Index, Job, Step, Term};

use super::Engine;
use crate::check::Judges;
use crate::disk::{CrashReport, SimFs, is_corruption, is_excused};
use crate::env::SimEnv;
use crate::explore::point::{End, Life, Place, Point};
use crate::mutants::wrap;
use crate::panics;
use crate::plan::StoreEntry;
use crate::rng::hash;
use crate::single::{DIR, NODE, entry};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant, Violation};

/// A task that still has work after this many steps goes in circles.
const STEPS_MAX: u32 = 100_000;
/// Of the entry that is appended after a recovery: shorter than most that a
/// workload has, so that it ends in the middle of what stood there before.
const ENTRY_BYTES: u64 = 8;

/// The parts of a life, as its places count them.
pub(super) const OPEN: usize = 0;
pub(super) const APPEND: usize = 1;

/// What was promised by a moment of a life.
#[derive(Clone)]
pub(super) struct Promised {
    pub judges: Arc<Judges>,
    pub fingerprint: u64,
    /// What each life so far appended, or was about to; the workload's not.
    pub entries: Entries,
}

/// One for each life; `None`: it did not come so far.
pub(super) type Entries = Arc<Vec<Option<StoreEntry>>>;

impl Promised {
    pub fn new(judges: Judges, entries: Entries) -> Self {
        Promised {
            fingerprint: judges.fingerprint(),
            judges: Arc::new(judges),
            entries,
        }
    }
}

/// A broken rule, and what was appended before it broke.
pub(super) struct Broken {
    pub violation: Violation,
    pub entries: Vec<Option<StoreEntry>>,
}

/// Lives it.
pub(super) fn live(
    engine: &Engine,
    disk: &SimFs,
    promised: &Promised,
    end: &End,
    wanted: bool,
) -> Life<Promised, Broken> {
    // No two lives in a row draw the same names.
    let draw = hash(&[promised.fingerprint, promised.entries.len() as u64]);
    let mut living = Living {
        disk,
        env: Arc::new(SimEnv::new(draw, "life")),
        judges: (*promised.judges).clone(),
        points: Vec::new(),
        part: OPEN,
        nth: 0,
        entries: with(&promised.entries, None),
        wanted,
    };
    let lived = panics::caught(|| living.all(engine, end));
    let panicked = |detail| {
        Err(Violation {
            invariant: Invariant::NoPanic,
            detail,
        })
    };
    let violation = lived.unwrap_or_else(panicked).err();
    let entries = living.entries.to_vec();
    Life {
        points: living.points,
        fault: violation.map(|violation| Broken { violation, entries }),
    }
}

fn with(entries: &Entries, entry: Option<StoreEntry>) -> Entries {
    let entries = entries.iter().copied();
    Arc::new(entries.chain([entry]).collect())
}

struct Living<'a> {
    disk: &'a SimFs,
    env: Arc<SimEnv>,
    judges: Judges,
    points: Vec<Point<Promised>>,
    part: usize,
    /// Mutating operations of this part so far.
    nth: u64,
    entries: Entries,
    /// Whether to keep the crash points.
    wanted: bool,
}

type Lived<T = ()> = Result<T, Violation>;

impl Living<'_> {
    fn all(&mut self, engine: &Engine, end: &End) -> Lived {
        self.record(match end {
            End::Cut(_) => What::PowerCut(CrashReport::default()),
            End::Kill => What::Killed,
        })?;
        self.record(What::Boot { incarnation: 1 })?;
        self.disk.capture(self.wanted);
        let fs = wrap(self.disk.boot(), engine.mutant.and_then(|m| m.fs_bug()));
        let (store, contents) = self.open(fs, engine.options.clone(), end)?;
        self.append(&store, &contents)?;
        let contents = Contents::read(&store).map_err(|e| failed("reading back", &e))?;
        self.record(What::Read(contents))?;
        self.end();
        Ok(())
    }

    fn record(&mut self, what: What) -> Lived {
        let record = Record {
            time_us: 0,
            node: Some(NODE),
            what,
        };
        match self.judges.record(&record) {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn open(&mut self, fs: Arc<dyn Fs>, options: Options, end: &End) -> Lived<(Store, Contents)> {
        let env = self.env.clone();
        let mut job = Store::open(Host { fs, env }, Path::new(DIR), options);
        let opened = run(&mut job)?;
        let store = match opened {
            Ok((store, _)) => store,
            Err(e) => {
                self.record(What::OpenFailed {
                    error: e.to_string(),
                    excused: is_excused(&e),
                    corrupt: is_corruption(&e),
                })?;
                return Err(failed("the open", &e));
            }
        };
        let contents = Contents::read(&store).map_err(|e| failed("reading back", &e))?;
        self.env.take_events();
        let before = self.wanted.then(|| self.judges.clone());
        self.record(What::Up(contents.clone()))?;
        if let Some(mut judges) = before {
            // What an open that is cut off says must not differ from this one.
            if matches!(end, End::Cut(_)) {
                let contents = Ok(contents.clone());
                judges.record(&Record {
                    time_us: 0,
                    node: Some(NODE),
                    what: What::Reopened { contents },
                });
            }
            self.take_points(&Promised::new(judges, self.entries.clone()));
        }
        Ok((store, contents))
    }

    /// One more entry, of the term that a new leader would have.
    fn append(&mut self, store: &Store, contents: &Contents) -> Lived {
        self.part = APPEND;
        self.nth = 0;
        let last = contents.entries.last().map(|e| e.term);
        let covered = contents.snapshot.map(|(_, term, _)| term);
        let term = [last, covered, Some(contents.hard_state.term), Some(Term(1))];
        let next = StoreEntry {
            term: term.into_iter().flatten().max().unwrap_or(Term(1)),
            index: Index(contents.last_index.0 + 1),
            bytes: ENTRY_BYTES,
        };
        let mut entries = self.entries.to_vec();
        entries.pop();
        self.entries = with(&Arc::new(entries), Some(next));
        let mut before = self.promised();
        let batch = Batch {
            hard_state: None,
            entries: vec![entry(&next)],
        };
        let ticket = store
            .submit(batch)
            .map_err(|e| failed("appending to it", &e))?;
        let mut writer = store.writer();
        for _ in 0..STEPS_MAX {
            let step = writer.step().map_err(|e| failed("appending to it", &e))?;
            let events = self.env.take_events();
            let news = !events.is_empty();
            events
                .into_iter()
                .try_for_each(|event| self.engine_says(event))?;
            if news && self.wanted {
                before = self.promised();
            }
            if let Some(promised) = &before {
                self.take_points(promised);
            }
            match step {
                Step::Ran => {}
                Step::Idle => return acknowledged(store, ticket, next.index),
                Step::Stalled => {
                    return Err(endless("the writer waits for space on an empty disk"));
                }
            }
        }
        Err(endless("the append never ends"))
    }

    fn engine_says(&mut self, event: Event) -> Lived {
        self.record(What::Engine(event))
    }

    fn promised(&self) -> Option<Promised> {
        self.wanted
            .then(|| Promised::new(self.judges.clone(), self.entries.clone()))
    }

    fn take_points(&mut self, promised: &Promised) {
        for capture in self.disk.take_captures() {
            self.nth += 1;
            self.points.push(Point {
                place: Place::of(self.part, self.nth, &capture),
                disk: capture.disk,
                key: promised.fingerprint,
                must: promised.clone(),
            });
        }
    }

    fn end(&mut self) {
        let Some(promised) = self.promised() else {
            return;
        };
        self.points.push(Point {
            place: Place::end(APPEND + 1),
            disk: self.disk.fork(),
            key: promised.fingerprint,
            must: promised,
        });
    }
}

fn run<T>(job: &mut Job<T>) -> Lived<T> {
    for _ in 0..STEPS_MAX {
        if let Some(result) = job.step() {
            return Ok(result);
        }
    }
    Err(endless("the open never ends"))
}

/// The judges hold a store to what it acknowledges: one that keeps silent would
/// break no rule of theirs.
fn acknowledged(store: &Store, ticket: Ticket, index: Index) -> Lived {
    let (persisted, durable) = (store.persisted(), store.durable_index());
    if persisted == ticket && durable == index {
        return Ok(());
    }
    Err(Violation {
        invariant: Invariant::RecoveryAvailable,
        detail: format!(
            "the append of {index} came to its end, but batch {persisted} of {ticket} is \
             persisted and {durable} durable"
        ),
    })
}

/// On a disk without faults a store has no reason to fail.
fn failed(what: &str, error: &Error) -> Violation {
    Violation {
        invariant: Invariant::RecoveryAvailable,
        detail: format!("{what} failed: {error}"),
    }
}

fn endless(what: &str) -> Violation {
    Violation {
        invariant: Invariant::NoPanic,
        detail: what.to_owned(),
    }
}
