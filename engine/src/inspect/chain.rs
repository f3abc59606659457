//! The segments that count, one continuing the other, and their records: what an open
//! would follow, refuse or tear off, and what it would not even look at.

use super::Inspector;
use super::is_read_error;
use super::look::Found;
use super::look::SegmentFile;
use super::problem::{Effect, Problem, What};
use super::runs::Part;
use super::verify::Examined;
use super::walk::Extent;
use crate::error::{Corruption, Result};
use crate::ids::Index;
use crate::job::now;
use crate::log::segment::{Segment, SegmentHeader};
use crate::mutant::Mutants;
use crate::store::{continues, is_link_to};

impl Inspector {
    /// Which segments count, and whether each continues the one before.
    pub(super) fn check_chain(&self, examined: &mut Examined) -> Result<()> {
        let Examined {
            segments,
            problems,
            snapshot_end: (snapshot_end, _),
            log_id,
            torn,
            floor,
            ..
        } = examined;
        let mut live: Vec<usize> = (0..segments.len())
            .filter(|&i| segments[i].is_live())
            .collect();
        let headers = live.iter().filter_map(|&i| segments[i].sound(*log_id));
        *floor = headers.map(|header| header.floor).max().unwrap_or_default();
        // From the newest back, as an open goes.
        let mut first = live.len();
        let mut linked = Vec::new();
        while let Some(at) = first.checked_sub(1) {
            first = at;
            let next = &segments[live[at]];
            let Some(before) = at.checked_sub(1).map(|i| &segments[live[i]]) else {
                linked.push(false);
                break;
            };
            let (sound, before_sound) = (next.sound(*log_id), before.sound(*log_id));
            let is_linked = match (before_sound, sound) {
                (Some(a), Some(b)) => match self.is_linked(&before.name, a, b) {
                    Ok(is_linked) => Some(is_linked),
                    Err(e) if is_read_error(&e) => {
                        problems.push(self.refuses(&before.name, b.prev.end, What::Unreadable(e)));
                        None
                    }
                    Err(e) => return Err(e),
                },
                _ => None,
            };
            if is_linked == Some(false) && base_of(next).prev() > (*snapshot_end).max(*floor) {
                // Nobody was told that what is missing was there.
                torn.splice(..0, live.drain(at..));
                linked.clear();
                continue;
            }
            let is_linked = is_linked == Some(true);
            linked.push(is_linked);
            if is_linked {
                continue;
            }
            if base_of(next).prev() <= *snapshot_end {
                break; // what lies below is garbage
            }
            if let (Some(_), Some(header)) = (before_sound, sound) {
                let what = match header.prev.generation {
                    0 => What::NoSnapshot {
                        last: header.base.prev(),
                    },
                    _ => What::Corrupt(Corruption::BrokenChain),
                };
                problems.push(self.refuses(&before.name, header.prev.end, what));
            }
        }
        linked.reverse();
        for &covered in &live[..first] {
            let name = segments[covered].name.clone();
            examined
                .garbage
                .push((name, "below a gap that the snapshot covers"));
        }
        live.drain(..first);
        let oldest = live.first().map(|&i| &segments[i]);
        if let Some(header) = oldest.and_then(|oldest| oldest.sound(*log_id))
            && header.base.prev() > (*snapshot_end).max(*floor)
        {
            torn.splice(..0, live.drain(..));
            linked.clear();
        }
        if let Some(oldest) = live.first().map(|&i| &segments[i])
            && base_of(oldest).prev() > *snapshot_end
        {
            let (from, to) = (snapshot_end.next(), base_of(oldest).prev());
            let header = oldest.sound(*log_id);
            let what = match header.is_some_and(|header| header.prev.generation == 0) {
                true => What::NoSnapshot { last: to },
                false => What::Corrupt(Corruption::Gap { from, to }),
            };
            problems.push(Problem {
                path: self.dir.path().to_owned(),
                offset: 0,
                what,
                effect: Effect::Refuses,
            });
        }
        examined.parts = live
            .iter()
            .zip(linked)
            .map(|(&i, is_linked)| Part {
                base: base_of(&segments[i]),
                end: base_of(&segments[i]),
                is_linked,
            })
            .collect();
        examined.live = live;
        Ok(())
    }

    fn is_linked(&self, name: &str, header: &SegmentHeader, next: &SegmentHeader) -> Result<bool> {
        let file = now(self.dir.open(name))?;
        let segment = Segment::new(*header, file.clone(), Mutants::NONE);
        now(continues(
            &segment,
            &Segment::new(*next, file, Mutants::NONE),
        ))
    }

    pub(super) fn check_records(&self, examined: &mut Examined) -> Result<()> {
        let snapshot_end = examined.snapshot_end.0;
        let mut at = 0;
        while let Some(&position) = examined.live.get(at) {
            let segment = &examined.segments[position];
            let next = (examined.live.get(at + 1))
                .and_then(|&i| examined.segments[i].sound(examined.log_id));
            // What is torn off ends nothing.
            let is_last = at + 1 == examined.live.len();
            let until = segment.until().filter(|_| !is_last);
            // Others an open does not read.
            let durable = examined.floor.max(snapshot_end);
            let is_proven = until.is_some_and(|until| until.prev() <= durable);
            let extent = match segment.sound(examined.log_id) {
                None => None,
                Some(header) => {
                    let file = now(self.dir.open(&segment.name))?;
                    match Extent::read(&file, header, until) {
                        Ok(extent) => Some(extent),
                        Err(e) if is_read_error(&e) => {
                            let effect = match is_proven {
                                true => Effect::Lurks,
                                false => Effect::Refuses,
                            };
                            let what = What::Unreadable(e);
                            let problem = self.problem(&segment.name, 0, what, effect);
                            examined.problems.push(problem);
                            None
                        }
                        Err(e) => return Err(e),
                    }
                }
            };
            examined.extents.push(extent);
            let Some(extent) = extent else {
                at += 1;
                continue;
            };
            examined.parts[at].end = extent.end.index;
            let is_whole = match (until, next) {
                (Some(until), Some(next)) if !is_proven => {
                    extent.end.index == until && is_link_to(&next.prev, extent.end)
                }
                (Some(until), _) => extent.end.index >= until,
                (None, _) => !extent.is_dirty && examined.torn.is_empty(),
            };
            if is_whole {
                at += 1;
                continue;
            }
            let index = extent.end.index;
            let (what, effect) = match until {
                Some(until) if is_proven => {
                    let covered = until <= snapshot_end.next();
                    (What::Record { index, covered }, Effect::Lurks)
                }
                _ => {
                    examined.torn.splice(..0, examined.live.drain(at + 1..));
                    examined.parts.truncate(at + 1);
                    let known = extent.floor_behind.max(examined.floor);
                    match known.max(self.floor_of_torn(examined)?) >= index {
                        true => {
                            let what = What::Corrupt(Corruption::DurableRecord);
                            (what, Effect::Refuses)
                        }
                        false => (What::TornTail { index }, Effect::Heals),
                    }
                }
            };
            let name = &examined.segments[position].name;
            let problem = self.problem(name, extent.end.offset, what, effect);
            examined.problems.push(problem);
            at += 1;
        }
        let last = examined.extents.last().copied().flatten();
        if last.is_some_and(|last| last.end.index <= snapshot_end) {
            // The log begins anew behind the snapshot: nobody will read what is left.
            let live = examined.live.iter().map(|&i| &examined.segments[i].name);
            let paths: Vec<_> = live.map(|name| self.dir.join(name)).collect();
            let is_moot = |p: &Problem| p.effect == Effect::Lurks && paths.contains(&p.path);
            examined.problems.retain(|problem| !is_moot(problem));
        }
        self.check_torn(examined)
    }

    /// The highest sync floor of any record in the segments that are torn off.
    fn floor_of_torn(&self, examined: &mut Examined) -> Result<Index> {
        let mut floor = Index(0);
        for &i in &examined.torn {
            let segment = &examined.segments[i];
            let Some(header) = segment.sound(examined.log_id) else {
                continue;
            };
            let file = now(self.dir.open(&segment.name))?;
            match Extent::read(&file, header, None) {
                Ok(extent) => floor = floor.max(extent.floor),
                Err(e) if is_read_error(&e) => {
                    let problem = self.refuses(&segment.name, 0, What::Unreadable(e));
                    examined.problems.push(problem);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(floor)
    }

    fn check_torn(&self, examined: &mut Examined) -> Result<()> {
        if let (None, Some(&first)) = (examined.live.last(), examined.torn.first()) {
            // Nothing is left of the log.
            let (snapshot_end, _) = examined.snapshot_end;
            let from = snapshot_end.next();
            let to = self.floor_of_torn(examined)?.max(examined.floor);
            let (what, effect) = match to >= from {
                true => {
                    let what = What::Corrupt(Corruption::Gap { from, to });
                    (what, Effect::Refuses)
                }
                false => (What::TornTail { index: from }, Effect::Heals),
            };
            let problem = self.problem(&examined.segments[first].name, 0, what, effect);
            examined.problems.push(problem);
        }
        for &i in &examined.torn {
            let name = examined.segments[i].name.clone();
            examined.garbage.push((name, "torn off with the tail"));
        }
        Ok(())
    }
}

/// Where a segment begins to count.
pub(super) fn base_of(segment: &SegmentFile) -> Index {
    match &segment.header {
        Found::Good(header) => header.base,
        _ => segment.base,
    }
}
