//! Somebody else's store, explored.
//!
//! A *workload* uses the store and acknowledges what the store has promised. A
//! *check* opens the store on what a crash left of the disk, and says what is
//! missing of what was acknowledged by then. Both get an [`Fs`]; nothing else is
//! asked of the store, and nothing of its runtime.
//!
//! ```
//! use afterimage_sim::explore::Explore;
//! use afterimage_sim::fs::{FileExt, FsExt, SyncMode};
//! use std::path::Path;
//!
//! let explored = Explore::new().run(
//!     |fs, acks| {
//!         let file = fs.create_new(Path::new("counter"))?;
//!         fs.sync_dir(Path::new("."))?;
//!         for n in 1..=3u64 {
//!             file.write_all_at(&n.to_le_bytes(), 0)?;
//!             file.sync(SyncMode::Data)?;
//!             acks.ack(n);
//!         }
//!         Ok(())
//!     },
//!     |fs, acked| {
//!         let Some(last) = acked.last() else { return Ok(()) };
//!         let found = fs.read(Path::new("counter"))?;
//!         match found >= last.to_le_bytes().to_vec() {
//!             true => Ok(()),
//!             false => Err(format!("acknowledged {last}, found {found:?}").into()),
//!         }
//!     },
//! );
//! explored.assert();
//! ```
//!
//! The check runs on every disk that a crash may leave; and as it may write to
//! that disk (it recovers), the power is cut in the middle of it, too, and it
//! runs again. It may go on to use the store: what it appends is crashed in as
//! well, but nothing more is acknowledged.
//!
//! Both must do the same each time: no clock, no randomness, no threads that
//! race. An acknowledgement that is only attempted can be one, too: an enum of
//! `Begun(x)` and `Done(x)` tells the check what *may* be there.

mod story;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use afterimage_engine::fs::Fs;

use super::point::{End, Life, Place, Point};
use super::search::{Bounds, Counts, Subject, search};
use super::subset::Level;
use crate::disk::{Fates, Profile, SimFs};
use crate::panics;
use crate::rng::SimRng;
use story::Story;

/// What a workload or a check comes to.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Carries out the crashes written in it, and nothing else: what the message of
/// a failure says.
const REPLAY: &str = "AFTERIMAGE_REPLAY";

/// How far to explore.
#[derive(Debug, Clone, Copy)]
pub struct Explore {
    bounds: Bounds,
    profile: Profile,
    seed: u64,
}

/// What was acknowledged, in order.
#[derive(Debug)]
pub struct Acks<A> {
    list: Mutex<Vec<A>>,
    disk: SimFs,
    story: Option<Mutex<Story>>,
}

impl<A: fmt::Debug> Acks<A> {
    fn new(disk: &SimFs, story: Option<Story>) -> Self {
        Acks {
            list: Mutex::new(Vec::new()),
            disk: disk.clone(),
            story: story.map(Mutex::new),
        }
    }

    /// The store has promised this: no crash from here on may lose it.
    pub fn ack(&self, what: A) {
        if let Some(story) = &self.story {
            let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
            story.operations(&self.disk);
            story.say("ack", &format!("{what:?}"));
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(what);
        self.disk.mark(list.len() as u64);
    }
}

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored {
    pub counts: Counts,
    /// The simplest that was found.
    pub failure: Option<Failure>,
}

impl Explored {
    /// # Panics
    /// When something was lost; the message has the trace, and how to see it again.
    #[track_caller]
    pub fn assert(&self) {
        if let Some(failure) = &self.failure {
            panic!("{failure}");
        }
    }
}

/// A row of crashes after which the check failed.
#[derive(Debug)]
pub struct Failure {
    /// What the check said.
    pub what: String,
    /// The crashes, in the form that `AFTERIMAGE_REPLAY` takes.
    pub crashes: String,
    /// What happened, file operation by file operation.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = std::thread::current();
        let test = test.name().filter(|name| *name != "main").unwrap_or("");
        writeln!(f, "{}", self.what)?;
        write!(f, "{}", self.trace)?;
        let command = format!("{REPLAY}='{}' cargo test {test}", self.crashes);
        write!(f, "see it again: {}", command.trim_end())
    }
}

impl Default for Explore {
    fn default() -> Self {
        Explore::new()
    }
}

impl Explore {
    /// Level 3, two crashes in a row, on a disk that does the worst.
    pub fn new() -> Self {
        Explore {
            bounds: Bounds::default(),
            profile: Profile::default(),
            seed: 1,
        }
    }

    /// Which choices of what persists are tried.
    pub fn level(mut self, level: Level) -> Self {
        self.bounds.level = level;
        self
    }

    /// Crashes in a row: with 2, also in the recovery from the first.
    pub fn depth(mut self, depth: u32) -> Self {
        self.bounds.depth = depth.max(1);
        self
    }

    /// Threads. What is found does not depend on it.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.bounds.jobs = jobs.max(1);
        self
    }

    /// What kind of filesystem.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Runs `workload` once, and `check` on everything that a crash of it may
    /// leave.
    pub fn run<A, W, C>(&self, workload: W, check: C) -> Explored
    where
        A: Clone + fmt::Debug + Send + Sync,
        W: Fn(Arc<dyn Fs>, &Acks<A>) -> Outcome + Sync,
        C: Fn(Arc<dyn Fs>, &[A]) -> Outcome + Sync,
    {
        let own = self.own(workload, check);
        if let Some(explored) = own.replayed() {
            return explored;
        }
        let points = match own.points() {
            Ok(points) => points,
            Err(failure) => return failed(Counts::default(), failure),
        };
        let searched = search(&own, points, self.bounds, &mut |_| true);
        let found = searched
            .found
            .into_iter()
            .map(|found| found.trail.crashes());
        let simplest = found.min_by_key(|crashes| weight(crashes));
        Explored {
            counts: searched.counts,
            failure: simplest.map(|crashes| own.failure(crashes)),
        }
    }

    /// Runs `workload` once, and `check` on what chance makes of it, for so
    /// many seeds: for workloads that are too long to be explored.
    pub fn run_seeds<A, W, C>(&self, seeds: u64, workload: W, check: C) -> Explored
    where
        A: Clone + fmt::Debug + Send + Sync,
        W: Fn(Arc<dyn Fs>, &Acks<A>) -> Outcome + Sync,
        C: Fn(Arc<dyn Fs>, &[A]) -> Outcome + Sync,
    {
        let own = self.own(workload, check);
        if let Some(explored) = own.replayed() {
            return explored;
        }
        let points = match own.points() {
            Ok(points) => points,
            Err(failure) => return failed(Counts::default(), failure),
        };
        let mut counts = Counts::default();
        for seed in 0..seeds {
            if let Some(crashes) = own.by_chance(&points, seed, &mut counts) {
                return failed(counts, own.failure(crashes));
            }
        }
        Explored {
            counts,
            failure: None,
        }
    }

    fn own<A, W, C>(&self, workload: W, check: C) -> Own<A, W, C> {
        Own {
            explore: *self,
            workload,
            check,
            acked: Mutex::new(Arc::default()),
        }
    }
}

fn failed(counts: Counts, failure: Failure) -> Explored {
    Explored {
        counts,
        failure: Some(failure),
    }
}

/// How much there is to a row of crashes.
fn weight(crashes: &[(Place, End)]) -> (usize, usize) {
    let kept = crashes.iter().map(|(_, end)| match end {
        End::Cut(keep) => keep.units().count(),
        End::Kill => 0,
    });
    (crashes.len(), kept.sum())
}

/// A store, and how to use it and to check it.
struct Own<A, W, C> {
    explore: Explore,
    workload: W,
    check: C,
    /// All that the workload acknowledged.
    acked: Mutex<Arc<Vec<A>>>,
}

impl<A, W, C> Own<A, W, C>
where
    A: Clone + fmt::Debug + Send + Sync,
    W: Fn(Arc<dyn Fs>, &Acks<A>) -> Outcome + Sync,
    C: Fn(Arc<dyn Fs>, &[A]) -> Outcome + Sync,
{
    fn disk(&self) -> SimFs {
        SimFs::with_profile(self.explore.seed, self.explore.profile)
    }

    /// Runs the workload; its crash points. A point's promise is the number of
    /// acknowledgements that were given by then.
    fn points(&self) -> Result<Vec<Point<usize>>, Failure> {
        let disk = self.disk();
        disk.capture(true);
        let acks = Acks::new(&disk, None);
        let done = outcome(|| (self.workload)(disk.boot(), &acks));
        let acked = acks
            .list
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let count = acked.len();
        *self.acked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(acked);
        if let Err(what) = done {
            let mut failure = self.failure(Vec::new());
            failure.what = format!("the workload failed before any crash: {what}");
            return Err(failure);
        }
        let mut points = captured(&disk, |mark| mark as usize);
        points.push(Point {
            place: Place::end(0),
            disk: disk.fork(),
            must: count,
            key: count as u64,
        });
        Ok(points)
    }

    fn acked(&self) -> Arc<Vec<A>> {
        let acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        acked.clone()
    }

    /// A random crash, and perhaps another one in the check; those after which
    /// it failed.
    fn by_chance(
        &self,
        points: &[Point<usize>],
        seed: u64,
        counts: &mut Counts,
    ) -> Option<Vec<(Place, End)>> {
        let mut rng = SimRng::new(seed, "explore");
        let mut crashes = Vec::new();
        let mut next = Vec::new();
        for _ in 0..self.explore.bounds.depth {
            let from = if crashes.is_empty() { points } else { &next };
            if from.is_empty() {
                break;
            }
            let point = rng.pick(from);
            let disk = point.disk.fork();
            let end = match rng.below(8) {
                0 => {
                    disk.kill();
                    End::Kill
                }
                _ => End::Cut(disk.power_cut(&Fates::Random(rng.next_u64())).keep),
            };
            counts.crash_points += 1;
            counts.states += 1;
            counts.recoveries += 1;
            crashes.push((point.place.clone(), end));
            let life = self.live(&disk, &point.must, &End::Kill, true);
            if life.fault.is_some() {
                return Some(crashes);
            }
            next = life.points;
        }
        None
    }

    /// The failure after these crashes, with as little of it as still fails.
    fn failure(&self, mut crashes: Vec<(Place, End)>) -> Failure {
        for n in 0..crashes.len() {
            let End::Cut(keep) = crashes[n].1.clone() else {
                continue;
            };
            for unit in keep.units() {
                let before = crashes[n].1.clone();
                if let End::Cut(keep) = &mut crashes[n].1 {
                    keep.remove(unit);
                }
                if self.tell(&crashes).what.is_none() {
                    crashes[n].1 = before;
                }
            }
        }
        let told = self.tell(&crashes);
        Failure {
            what: told.what.unwrap_or_else(|| {
                "the workload does not do the same each time: this passes when it is told again"
                    .to_owned()
            }),
            crashes: story::write(&crashes),
            trace: told.trace,
        }
    }

    /// The crashes that the environment asks for.
    fn replayed(&self) -> Option<Explored> {
        let text = std::env::var(REPLAY).ok()?;
        let crashes = match story::read(&text) {
            Ok(crashes) => crashes,
            Err(what) => panic!("{REPLAY}={text}: {what}"),
        };
        let told = self.tell(&crashes);
        // Whoever asks for a replay wants to read it, however it ends.
        print!("{}", told.trace);
        let failure = told.what.map(|what| Failure {
            what,
            crashes: text,
            trace: told.trace,
        });
        Some(Explored {
            counts: Counts::default(),
            failure,
        })
    }

    /// Carries out these crashes, and says how it went.
    fn tell(&self, crashes: &[(Place, End)]) -> Told {
        let disk = self.disk();
        disk.record_ops(true);
        let acks = Acks::new(&disk, Some(Story::default()));
        let mut crashes = crashes.iter();
        let mut crash = crashes.next();
        let fs = story::boot(&disk, crash);
        let mut done = outcome(|| (self.workload)(fs, &acks));
        let Acks { list, story, .. } = acks;
        let acked = list.into_inner().unwrap_or_else(PoisonError::into_inner);
        let story = story.map(|story| story.into_inner().unwrap_or_else(PoisonError::into_inner));
        let mut story = story.unwrap_or_default();
        while let Some((_, end)) = crash {
            story.end(&disk, end);
            crash = crashes.next();
            story.say("check", "");
            let fs = story::boot(&disk, crash);
            done = outcome(|| (self.check)(fs, &acked));
        }
        story.operations(&disk);
        if let Err(what) = &done {
            story.say("FAIL", what);
        }
        Told {
            what: done.err(),
            trace: story.text(),
        }
    }
}

struct Told {
    what: Option<String>,
    trace: String,
}

impl<A, W, C> Subject for Own<A, W, C>
where
    A: Clone + fmt::Debug + Send + Sync,
    W: Fn(Arc<dyn Fs>, &Acks<A>) -> Outcome + Sync,
    C: Fn(Arc<dyn Fs>, &[A]) -> Outcome + Sync,
{
    /// How many acknowledgements.
    type Must = usize;
    type Fault = String;

    fn live(&self, disk: &SimFs, must: &usize, _: &End, wanted: bool) -> Life<usize, String> {
        disk.capture(wanted);
        let acked = self.acked();
        let done = outcome(|| (self.check)(disk.boot(), &acked[..*must]));
        Life {
            points: captured(disk, |_| *must),
            fault: done.err(),
        }
    }
}

fn captured(disk: &SimFs, must: impl Fn(u64) -> usize) -> Vec<Point<usize>> {
    let captures = disk.take_captures();
    let points = (1..).zip(captures).map(|(nth, capture)| {
        let must = must(capture.mark);
        Point {
            place: Place::of(0, nth, &capture),
            disk: capture.disk,
            must,
            key: must as u64,
        }
    });
    points.collect()
}

/// What the code of somebody else comes to: it may panic.
fn outcome(run: impl FnOnce() -> Outcome) -> Result<(), String> {
    match panics::caught(run) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => Err(panic),
    }
}
