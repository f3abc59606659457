//! The search: from every crash point through every state that a crash may
//! leave, into the life that begins on it, and from its crash points on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::point::{End, Life, Point, Trail};
use super::subset::{Level, choices};
use crate::disk::{Fates, SimFs};
use crate::rng::hash;

/// Lives between two looks at what they found. The same for any number of
/// jobs, so that the search is, too.
const BATCH: usize = 128;

/// What is explored: something that lives on a disk, and says what its disk
/// must show after a crash.
pub(super) trait Subject: Sync {
    /// What was promised by some moment.
    type Must: Send + Sync;
    /// What is wrong, when something is.
    type Fault: Send + Sync;

    /// Starts on a disk that a crash left, judges what it finds there, and goes
    /// on to use it. Returns its crash points only if they are `wanted`.
    fn live(
        &self,
        disk: &SimFs,
        must: &Self::Must,
        end: &End,
        wanted: bool,
    ) -> Life<Self::Must, Self::Fault>;
}

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub level: Level,
    /// Crashes in a row: 1 is the workload's alone, 2 also those in the
    /// recovery from it, and so on.
    pub depth: u32,
    /// Threads. The outcome does not depend on it.
    pub jobs: usize,
    /// So many violations are enough.
    pub violations: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            level: Level::Torn,
            depth: 2,
            jobs: 1,
            violations: 10,
        }
    }
}

/// How much was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Where a crash was tried, nested ones included.
    pub crash_points: u64,
    /// Choices of what persists, before any are found to be alike.
    pub states: u64,
    /// What they left, without what they left twice.
    pub distinct_images: u64,
    /// Images that were opened and judged: an image as often as it must hold
    /// something else.
    pub recoveries: u64,
}

/// A crash, or a row of them, after which a rule is broken.
#[derive(Debug)]
pub(super) struct Found<F> {
    pub trail: Arc<Trail>,
    pub fault: F,
}

pub(super) struct Searched<F> {
    pub counts: Counts,
    pub found: Vec<Found<F>>,
    /// Nothing was left out: it was neither stopped nor had it found enough.
    pub complete: bool,
}

/// One life to be lived.
struct Task<M> {
    point: Arc<Point<M>>,
    end: End,
    trail: Option<Arc<Trail>>,
    /// Crashes that may follow it.
    depth: u32,
}

/// A task, and what it is known by.
struct Child<M> {
    key: u64,
    /// Of a power cut: what it leaves.
    image: Option<u64>,
    task: Task<M>,
}

/// What came of a task.
struct Outcome<M, F> {
    counts: Counts,
    children: Vec<Child<M>>,
    found: Option<Found<F>>,
}

impl<M, F> Default for Outcome<M, F> {
    fn default() -> Self {
        Outcome {
            counts: Counts::default(),
            children: Vec::new(),
            found: None,
        }
    }
}

/// Searches from the crash points of a workload. `watch` is told of the
/// progress, and says whether to go on.
pub(super) fn search<S: Subject>(
    subject: &S,
    points: Vec<Point<S::Must>>,
    bounds: Bounds,
    watch: &mut dyn FnMut(&Counts) -> bool,
) -> Searched<S::Fault> {
    let mut search = Search {
        subject,
        bounds,
        known: BTreeMap::new(),
        images: BTreeSet::new(),
        counts: Counts::default(),
        found: Vec::new(),
        stack: Vec::new(),
    };
    let complete = search.run(points, watch);
    Searched {
        counts: search.counts,
        found: search.found,
        complete,
    }
}

struct Search<'a, S: Subject> {
    subject: &'a S,
    bounds: Bounds,
    /// How deep what follows from a state was searched. A state is an image
    /// and what it must hold.
    known: BTreeMap<u64, u32>,
    images: BTreeSet<u64>,
    counts: Counts,
    found: Vec<Found<S::Fault>>,
    stack: Vec<Task<S::Must>>,
}

impl<S: Subject> Search<'_, S> {
    /// Whether it came to an end by itself.
    fn run(&mut self, points: Vec<Point<S::Must>>, watch: &mut dyn FnMut(&Counts) -> bool) -> bool {
        let depth = self.bounds.depth.saturating_sub(1);
        for of_batch in in_batches(points) {
            let outcomes = self.parallel(of_batch, |search, point| {
                let mut outcome = Outcome::default();
                search.expand(&Arc::new(point), None, depth, &mut outcome);
                outcome
            });
            self.merge(outcomes);
            if !self.go_on(watch) {
                return false;
            }
            while !self.stack.is_empty() {
                let at = self.stack.len().saturating_sub(BATCH);
                let mut batch = self.stack.split_off(at);
                batch.reverse();
                let outcomes = self.parallel(batch, |search, task| search.live(task));
                self.merge(outcomes);
                if !self.go_on(watch) {
                    return false;
                }
            }
        }
        true
    }

    fn go_on(&self, watch: &mut dyn FnMut(&Counts) -> bool) -> bool {
        watch(&self.counts) && self.found.len() < self.bounds.violations
    }

    /// Does `work` on each item, and returns what comes of them in their order.
    fn parallel<T: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(&Self, T) -> Outcome<S::Must, S::Fault> + Sync,
    ) -> Vec<Outcome<S::Must, S::Fault>> {
        if self.bounds.jobs <= 1 {
            return items.into_iter().map(|item| work(self, item)).collect();
        }
        let next = AtomicUsize::new(0);
        let items: Vec<_> = items
            .into_iter()
            .map(|item| Mutex::new(Some(item)))
            .collect();
        let mut done: Vec<(usize, _)> = thread::scope(|scope| {
            let worker = || {
                let mut done = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else {
                        return done;
                    };
                    let item = item.lock().unwrap_or_else(PoisonError::into_inner).take();
                    done.extend(item.map(|item| (at, work(self, item))));
                }
            };
            let workers: Vec<_> = (0..self.bounds.jobs).map(|_| scope.spawn(worker)).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn merge(&mut self, outcomes: Vec<Outcome<S::Must, S::Fault>>) {
        let first = self.stack.len();
        for outcome in outcomes {
            self.counts.crash_points += outcome.counts.crash_points;
            self.counts.states += outcome.counts.states;
            self.counts.recoveries += outcome.counts.recoveries;
            if self.found.len() < self.bounds.violations {
                self.found.extend(outcome.found);
            }
            for child in outcome.children {
                if self.is_known(child.key, child.task.depth) {
                    continue;
                }
                self.known.insert(child.key, child.task.depth);
                self.images.extend(child.image);
                self.stack.push(child.task);
            }
        }
        // What was found first is to be done first.
        self.stack[first..].reverse();
        self.counts.distinct_images = self.images.len() as u64;
    }

    fn is_known(&self, key: u64, depth: u32) -> bool {
        self.known.get(&key).is_some_and(|known| *known >= depth)
    }

    fn live(&self, task: Task<S::Must>) -> Outcome<S::Must, S::Fault> {
        let mut outcome = Outcome::default();
        outcome.counts.recoveries = 1;
        let disk = task.point.disk.fork();
        match &task.end {
            End::Cut(keep) => disk.power_cut_unreported(&Fates::Explicit(keep.clone())),
            End::Kill => disk.kill(),
        }
        let life = self
            .subject
            .live(&disk, &task.point.must, &task.end, task.depth > 0);
        let trail = || {
            Arc::new(Trail {
                place: task.point.place.clone(),
                end: task.end.clone(),
                before: task.trail.clone(),
            })
        };
        match life.fault {
            Some(fault) => {
                let trail = trail();
                outcome.found = Some(Found { trail, fault });
            }
            None if task.depth > 0 => {
                let trail = trail();
                for point in life.points {
                    let trail = Some(trail.clone());
                    self.expand(&Arc::new(point), trail, task.depth - 1, &mut outcome);
                }
            }
            None => {}
        }
        outcome
    }

    /// Adds what a crash at this point may leave, as far as it is new.
    fn expand(
        &self,
        point: &Arc<Point<S::Must>>,
        trail: Option<Arc<Trail>>,
        depth: u32,
        outcome: &mut Outcome<S::Must, S::Fault>,
    ) {
        let mut cutter = point.disk.cutter();
        outcome.counts.crash_points += 1;
        let mut new = BTreeSet::new();
        let mut add = |key: u64, image: Option<u64>, end: &dyn Fn() -> End| {
            if self.is_known(key, depth) || !new.insert(key) {
                return;
            }
            let task = Task {
                point: point.clone(),
                end: end(),
                trail: trail.clone(),
                depth,
            };
            outcome.children.push(Child { key, image, task });
        };
        let choices = choices(cutter.units(), self.bounds.level);
        outcome.counts.states += choices.len() as u64;
        let mut kept = vec![false; cutter.units().len()];
        for choice in choices {
            choice.write(&mut kept);
            let image = cutter.hash(&kept);
            let end = || End::Cut(cutter.keep(&kept));
            add(hash(&[image, point.key]), Some(image), &end);
        }
        let units = cutter.units();
        // Where nothing is pending a killed process is as good as a power cut.
        if !units.is_empty() {
            outcome.counts.states += 1;
            let image = point.disk.image_hash();
            let pending = units
                .iter()
                .map(|unit| hash(&[unit.op.boot.into(), unit.op.n.into()]));
            let mut parts = vec![image, point.key];
            parts.extend(pending);
            add(hash(&parts), None, &|| End::Kill);
        }
    }
}

fn in_batches<T>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<T> = items.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}
