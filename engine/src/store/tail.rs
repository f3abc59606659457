//! Where the log ends: reading the last segment to its end (and those before it that
//! nothing proves to be durable), telling a torn tail from a durable record that went
//! bad, and writing again what is not proven.

use std::io;
use std::sync::Arc;

use super::open::{Followed, corrupt};
use super::{Active, Options, Report, Shared};
use crate::bytes::first_nonzero;
use crate::error::{Corruption, Error, Op, Result};
use crate::fs::SyncMode;
use crate::host::Host;
use crate::ids::Index;
use crate::log::new_segment::{NewSegment, link_before, publish_segment};
use crate::log::record::{self, HEADER, RecordHeader, Seed};
use crate::log::scan::{Scan, Scanned};
use crate::log::segment::{self, Link, Mark, Segment, SegmentHeader, SharedSegment, start_mark};
use crate::mutant::{Mutant, Mutants};
use crate::sometimes::sometimes;

/// Bytes read at once.
const READ: u64 = 1 << 20;
/// Data in memory while it is copied, in bytes.
const COPIED: usize = 1 << 20;

/// The end of the log, as its segments have it.
#[derive(Default)]
pub(super) struct Tail {
    /// The live segments, up to the one in which the log ends.
    pub live: Vec<SharedSegment>,
    /// Those behind it, which no sync had covered.
    pub torn: Vec<SharedSegment>,
    /// Behind the last record; its default if there is no segment.
    pub end: Mark,
    /// Everything up to here was durable before this open.
    proven: Index,
    /// A planted bug goes on here, in the recovered segment.
    pub resume: Option<Mark>,
}

impl Tail {
    /// The first record that is there, but not proven durable.
    pub fn unproven(&self) -> Option<Index> {
        let first = self.proven.next();
        (first < self.end.index).then_some(first)
    }
}

/// Planted bugs: where appends go on in a segment of `len` bytes.
fn resume_in_place(mutants: Mutants, end: Mark, len: u64) -> Option<Mark> {
    let at = |offset| Some(Mark { offset, ..end });
    if mutants.has(Mutant::AppendAfterCut) {
        at(end.offset)
    } else if mutants.has(Mutant::ResumeAtStart) {
        at(segment::RECORDS)
    } else if mutants.has(Mutant::AppendBehindTear) {
        at(len.next_multiple_of(8).max(end.offset))
    } else {
        None
    }
}

pub(super) async fn read_tail(
    host: &Host,
    chain: Followed,
    options: &Options,
    report: &mut Report,
) -> Result<Tail> {
    let Followed {
        mut live,
        mut torn,
        floor,
        covered,
    } = chain;
    let mutants = options.mutants;
    let Some(mut at) = live.len().checked_sub(1) else {
        return no_tail(host, torn, floor, covered, report).await;
    };
    let durable = floor.max(covered);
    let unproven = (live.windows(2)).position(|pair| pair[1].header.base.prev() > durable);
    if let Some(first) = unproven
        && !mutants.has(Mutant::ChecksLastSegment)
    {
        sometimes!(UnprovenSegments);
        report.decide(
            &*host.env,
            format!(
                "durable up to {durable}; what follows was not synced before its segment ended"
            ),
        );
        at = first;
    }
    // What stands before a segment was durable before it got its name, unless its
    // header says otherwise.
    let mut proven = match mutants.has(Mutant::ChecksLastSegment) {
        true => live[at].header.base.prev(),
        // A snapshot stands in for what came before the first segment.
        false => durable.max(live[0].header.base.prev()),
    };
    let (end, len) = loop {
        let next = live.get(at + 1).map(|next| next.header);
        let (end, len) = read_records(&live[at], next, mutants, &mut proven).await?;
        match next {
            Some(next) if is_link_to(&next.prev, end) && end.index == next.base => at += 1,
            _ => break (end, len),
        }
    };
    torn.splice(..0, live.drain(at + 1..));
    let last = &live[at];
    let name = last.header.file_name();
    let behind = look_behind(last, end, len).await?;
    let known = behind.floor.max(floor).max(floor_in(&torn).await?);
    let is_clean = behind.is_clean && torn.is_empty();
    let refused = mutants.has(Mutant::TornTailRefused) && !is_clean;
    let was_durable = known >= end.index && !mutants.has(Mutant::CutDurableRecord);
    if was_durable || refused {
        // Something written later knew this record to be durable.
        return Err(corrupt(&last.file, end.offset, Corruption::DurableRecord));
    }
    if is_clean {
        report.decide(
            &*host.env,
            format!("{name}: ends cleanly at {}", end.index.prev()),
        );
    } else {
        report.decide(
            &*host.env,
            format!(
                "{name} @{}: bad record where {} would be, nothing newer: torn tail",
                end.offset, end.index
            ),
        );
        sometimes!(TornTailCut);
        report.torn_tail = Some((last.file.path().to_owned(), end.offset));
        report.ambiguous_tail = !mutants.has(Mutant::SilentTornTail);
    }
    tell_torn(host, &torn, report);
    // An earlier recovery cut the tail, and nothing was appended since: nobody
    // may have heard of it.
    let cut = |s: &&SharedSegment| s.header.prev.doubtful && proven < s.header.base;
    if let Some(segment) = live.iter().find(cut) {
        let name = segment.header.file_name();
        sometimes!(CutTailFoundAgain);
        report.decide(
            &*host.env,
            format!("{name}: begun behind a torn tail, and nothing was appended since"),
        );
        report.ambiguous_tail = true;
    }
    report.proven_index = proven;
    Ok(Tail {
        resume: resume_in_place(mutants, end, len),
        live,
        torn,
        end,
        proven,
    })
}

/// No segment is left, but perhaps torn ones whose predecessors are not there.
async fn no_tail(
    host: &Host,
    torn: Vec<SharedSegment>,
    floor: Index,
    covered: Index,
    report: &mut Report,
) -> Result<Tail> {
    if let Some(first) = torn.first() {
        let to = floor_in(&torn).await?.max(floor);
        if to > covered {
            let from = covered.next();
            return Err(corrupt(&first.file, 0, Corruption::Gap { from, to }));
        }
        report.torn_tail = Some((first.file.path().to_owned(), 0));
        report.ambiguous_tail = true;
    }
    tell_torn(host, &torn, report);
    Ok(Tail {
        torn,
        ..Tail::default()
    })
}

fn tell_torn(host: &Host, torn: &[SharedSegment], report: &mut Report) {
    for segment in torn {
        sometimes!(TornSegmentsCut);
        let name = segment.header.file_name();
        report.decide(
            &*host.env,
            format!("{name}: not known to be synced, and what it follows is not there: torn off"),
        );
        report.torn_segments.push(name);
    }
}

/// Whether a segment that says this begins where the records end.
pub(crate) fn is_link_to(link: &Link, end: Mark) -> bool {
    let found = (end.offset, end.prev_crc, end.prev_term);
    (link.end, link.crc, link.term) == found
}

/// Reads a segment up to the first record that is bad, or to where `next` goes on:
/// the place behind the last good one, and the file's length. `proven` rises with what
/// the records know to be durable.
async fn read_records(
    segment: &Segment,
    next: Option<SegmentHeader>,
    mutants: Mutants,
    proven: &mut Index,
) -> Result<(Mark, u64)> {
    let len = segment.file.len().await?;
    // Behind that there may be what a full disk left of a group.
    let read_to = next.map_or(len, |next| next.prev.end.min(len));
    let mut scan = Scan::new(&segment.header);
    scan.trusting = mutants.has(Mutant::AcceptTornRecord);
    loop {
        let at = scan.next;
        match scan.step(read_to) {
            Scanned::Record(header) => {
                segment.learn(&[scan.next]);
                *proven = header.sync_floor.max(*proven);
            }
            Scanned::Need(n) => {
                let want = (read_to - at.offset).min(READ).max(n as u64);
                let (offset, buf) = scan.space(want as usize);
                let asked = buf.len();
                let got = segment.file.read(buf, offset).await?;
                if got < asked && offset + (got as u64) < len {
                    // Shorter than its own length: the disk does not say why.
                    return Err(corrupt(&segment.file, offset, Corruption::DurableRecord));
                }
                scan.filled(got);
            }
            Scanned::End => return Ok((at, len)),
        }
    }
}

/// The highest sync floor of any record in these segments that is right by itself.
async fn floor_in(segments: &[SharedSegment]) -> Result<Index> {
    let mut floor = Index(0);
    for segment in segments {
        let len = segment.file.len().await?;
        let behind = look_behind(segment, start_mark(&segment.header), len).await?;
        floor = floor.max(behind.floor);
    }
    Ok(floor)
}

/// What lies behind the last good record.
struct Behind {
    /// Nothing but zeros.
    is_clean: bool,
    /// The highest sync floor of a record that is right by itself.
    floor: Index,
}

async fn look_behind(last: &Segment, end: Mark, len: u64) -> Result<Behind> {
    let mut behind = Behind {
        is_clean: true,
        floor: Index(0),
    };
    let seed = Seed::new(last.header.nonce);
    let mut at = end.offset;
    let mut buf = Vec::new();
    while at < len {
        let n = (len - at).min(READ) as usize;
        buf.resize(n, 0);
        let got = last.file.read(&mut buf, at).await?;
        let bytes = &buf[..got];
        if got == 0 {
            break;
        }
        if first_nonzero(bytes).is_some() {
            behind.is_clean = false;
            for offset in (0..bytes.len()).step_by(8) {
                let Some(header) = bytes[offset..]
                    .first_chunk::<HEADER>()
                    .and_then(|first| RecordHeader::decode_seeded(first, &seed))
                else {
                    continue;
                };
                let frame_at = at + offset as u64;
                let frame_len = header.frame_len();
                if frame_at + frame_len as u64 > len || header.sync_floor <= behind.floor {
                    continue;
                }
                let verified = match bytes.get(offset..offset + frame_len) {
                    Some(frame) => record::verify(frame, &seed),
                    None => {
                        let mut frame = vec![0; frame_len];
                        let got = last.file.read(&mut frame, frame_at).await?;
                        (got == frame_len)
                            .then(|| record::verify(&frame, &seed))
                            .flatten()
                    }
                };
                if verified.is_some() {
                    behind.floor = header.sync_floor;
                }
            }
        }
        // A header may begin in the last bytes of this piece.
        let step = if (got as u64) < READ {
            got
        } else {
            got - (HEADER - 8)
        };
        at += step as u64;
    }
    Ok(behind)
}

/// Gives back the space of what was removed; `false` if there was none. Not after
/// a failed sync, which is never tried again.
fn makes_room(shared: &Shared) -> bool {
    let (unlinked, poisoned) = {
        let mut state = shared.state();
        (std::mem::take(&mut state.unlinked), state.poisoned)
    };
    !unlinked.is_empty() && !poisoned
}

/// Writes what is not proven durable again, from `first` on, into a new segment; in any
/// case one that hides what was torn off.
pub(super) async fn make_durable(
    shared: &Shared,
    first: Option<Index>,
    tail: &Tail,
    report: &mut Report,
) -> Result<()> {
    let last = shared.state().live.last().cloned();
    if let (Some(end), Some(segment)) = (tail.resume, last.clone()) {
        if !shared.has(Mutant::AppendAfterCut) {
            segment.file.sync(SyncMode::All).await?;
        }
        shared.state().active = Some(Active { segment, end });
        return Ok(());
    }
    let to = shared.state().last_index;
    let first = first.or((!tail.torn.is_empty()).then(|| to.next()));
    let Some(from) = first.filter(|_| !shared.has(Mutant::RecoverWithoutCopy)) else {
        return Ok(());
    };
    sometimes!(TailCopied, from <= to);
    if from <= to {
        report.decide(
            &*shared.host.env,
            match from == to {
                true => format!("{from} is not proven durable: written again"),
                false => format!("{from}..{to} are not proven durable: written again"),
            },
        );
    }
    let link = Link {
        doubtful: report.ambiguous_tail,
        ..link_at(shared, from)?
    };
    let whole = match shared.has(Mutant::CopyInPieces) {
        true => from.min(to),
        false => to,
    };
    let hidden = match copy(shared, tail, from, whole, link).await {
        Err(e) if e.is_no_space() && makes_room(shared) => {
            copy(shared, tail, from, whole, link).await?
        }
        copied => copied?,
    };
    report.garbage.extend(hidden);
    if whole < to {
        let link = link_before(shared, whole.next())?;
        copy(shared, tail, whole.next(), to, link).await?;
    }
    if last.is_some_and(|last| from < last.header.base) {
        // Else each open would write as much again.
        sometimes!(TailCopySealed);
        let link = Link {
            doubtful: report.ambiguous_tail,
            ..link_before(shared, to.next())?
        };
        match copy(shared, tail, to.next(), to, link).await {
            // What was copied is durable; the next open will copy it again.
            Err(e) if e.is_no_space() && !shared.state().poisoned => {}
            sealed => drop(sealed?),
        }
    }
    (report.garbage).extend_from_slice(&report.torn_segments);
    Ok(())
}

/// What a segment that begins at `base` has to name as the record before.
fn link_at(shared: &Shared, base: Index) -> Result<Link> {
    let same = {
        let state = shared.state();
        let mut live = state.live.iter();
        live.find(|s| s.header.base == base).map(|s| s.header.prev)
    };
    match same {
        // The segment before may be gone.
        Some(link) => Ok(link),
        None => link_before(shared, base),
    }
}

/// What could be read a moment ago is bad now: it was in the cache alone, which let go
/// of it. That is no corruption; the next open takes what the disk has for a torn tail.
fn changed(error: Error) -> Error {
    match error {
        Error::Corrupt { path, offset, .. } => {
            let what = format!("what stands at {offset} changed while it was recovered");
            Error::Io {
                op: Op::Read,
                path,
                source: Arc::new(io::Error::other(what)),
            }
        }
        other => other,
    }
}

/// Writes the records `from..=to` into a new segment, which takes over. Whole and
/// durable on return: appends may go on in it. What it hides.
async fn copy(
    shared: &Shared,
    tail: &Tail,
    from: Index,
    to: Index,
    link: Link,
) -> Result<Vec<String>> {
    let mut frames = Vec::new();
    let mut new = NewSegment::begin(shared, from, link, from.prev(), &mut frames).await?;
    let mut next = from;
    while next <= to {
        let after = tail.live.partition_point(|s| s.header.base <= next);
        let (segment, behind) = (&tail.live[after - 1], tail.live.get(after));
        let end = behind.map_or(to, |s| s.header.base.prev().min(to));
        let entries = segment.read(next, end, COPIED).map_err(changed)?;
        next = next + entries.len() as u64;
        new.write(&entries).await?;
    }
    let (segment, end) = new.finish(true).await?;
    Ok(publish_segment(shared, segment, end))
}
