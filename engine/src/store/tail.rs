//! Where the log ends: reading the last segment to its end, telling a torn tail
//! from a durable record that went bad, and writing again what nothing proves to be
//! durable.

use std::collections::VecDeque;

use super::open::corrupt;
use super::{Active, Options, Report, Shared};
use crate::bytes::first_nonzero;
use crate::entry::Entry;
use crate::error::{Corruption, Result};
use crate::fs::SyncMode;
use crate::host::Host;
use crate::ids::Index;
use crate::log::record::{self, HEADER, RecordHeader, Seed};
use crate::log::scan::{Scan, Scanned};
use crate::log::segment::{self, Link, Mark, Segment};
use crate::log::writer::{create_segment, link_before, publish_segment};
use crate::mutant::{Mutant, Mutants};
use crate::sometimes::sometimes;

/// Bytes read at once.
const READ: u64 = 1 << 20;

/// The end of the log, as the last live segment has it.
#[derive(Default)]
pub(super) struct Tail {
    /// Records that are there but not proven durable, each with its place.
    pub unproven: VecDeque<(Mark, Entry)>,
    /// Behind the last record.
    pub end: Mark,
    /// A planted bug goes on here, in the recovered segment.
    pub resume: Option<Mark>,
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
    last: &Segment,
    options: &Options,
    report: &mut Report,
) -> Result<Tail> {
    let len = last.file.len().await?;
    let mut scan = Scan::new(&last.header);
    scan.trusting = options.mutants.has(Mutant::AcceptTornRecord);
    // What stands before a segment was durable before it got its name.
    let mut proven = last.header.base.prev();
    let mut unproven: VecDeque<(Mark, Entry)> = VecDeque::new();
    loop {
        let at = scan.next;
        match scan.step(len) {
            Scanned::Record(header) => {
                last.learn(&[scan.next]);
                proven = proven.max(header.sync_floor);
                unproven.push_back((at, scan.entry(&header)));
                while unproven.front().is_some_and(|(_, e)| e.index <= proven) {
                    unproven.pop_front();
                }
            }
            Scanned::Need(n) => {
                let want = (len - at.offset).min(READ).max(n as u64);
                let (offset, buf) = scan.space(want as usize);
                let asked = buf.len();
                let got = last.file.read(buf, offset).await?;
                if got < asked && offset + (got as u64) < len {
                    // Shorter than its own length: the disk does not say why.
                    return Err(corrupt(&last.file, offset, Corruption::DurableRecord));
                }
                scan.filled(got);
            }
            Scanned::End => break,
        }
    }
    let end = scan.next;
    let behind = look_behind(last, end, len).await?;
    let name = last.header.file_name();
    let refused = options.mutants.has(Mutant::TornTailRefused) && !behind.is_clean;
    let was_durable = behind.floor >= end.index && !options.mutants.has(Mutant::CutDurableRecord);
    if was_durable || refused {
        // Something written later knew this record to be durable.
        return Err(corrupt(&last.file, end.offset, Corruption::DurableRecord));
    }
    if behind.is_clean {
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
        report.ambiguous_tail = !options.mutants.has(Mutant::SilentTornTail);
    }
    // An earlier recovery cut the tail, and nothing was appended since: nobody
    // may have heard of it.
    if last.header.prev.doubtful && proven < last.header.base {
        sometimes!(CutTailFoundAgain);
        report.decide(
            &*host.env,
            format!("{name}: begun behind a torn tail, and nothing was appended since"),
        );
        report.ambiguous_tail = true;
    }
    report.proven_index = proven;
    let resume = resume_in_place(options.mutants, end, len);
    Ok(Tail {
        unproven,
        end,
        resume,
    })
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

/// Writes the records that are not proven durable again, into a new segment.
pub(super) async fn make_durable(
    shared: &Shared,
    unproven: VecDeque<(Mark, Entry)>,
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
    let Some(&(first, _)) = unproven.front() else {
        return Ok(());
    };
    if shared.has(Mutant::RecoverWithoutCopy) {
        return Ok(());
    }
    let Some(last) = last else {
        unreachable!("the records were read from the last segment");
    };
    let before = if first.index == last.header.base {
        last.header.prev
    } else {
        Link {
            term: first.prev_term,
            generation: last.header.generation,
            end: first.offset,
            crc: first.prev_crc,
            doubtful: false,
        }
    };
    let link = Link {
        doubtful: report.ambiguous_tail,
        ..before
    };
    sometimes!(TailCopied);
    let entries: Vec<Entry> = unproven.into_iter().map(|(_, entry)| entry).collect();
    let (from, to) = (first.index, tail.end.index.prev());
    report.decide(
        &*shared.host.env,
        match from == to {
            true => format!("{from} is not proven durable: written again"),
            false => format!("{from}..{to} are not proven durable: written again"),
        },
    );
    let whole = match shared.has(Mutant::CopyInPieces) {
        true => 1,
        false => entries.len(),
    };
    let (copied, rest) = entries.split_at(whole);
    let mut frames = Vec::new();
    let created = create_segment(shared, first.index, link, copied, &mut frames).await;
    let (segment, end) = match created {
        Err(e) if e.is_no_space() && makes_room(shared) => {
            frames.clear();
            create_segment(shared, first.index, link, copied, &mut frames).await?
        }
        created => created?,
    };
    // Whole and durable: appends may go on in it.
    report.garbage.extend(publish_segment(shared, segment, end));
    if let Some(next) = rest.first() {
        let link = link_before(shared, next.index)?;
        let (segment, end) = create_segment(shared, next.index, link, rest, &mut frames).await?;
        report.garbage.extend(publish_segment(shared, segment, end));
    }
    Ok(())
}
