//! The reports' fields, a contract like those of the other commands. Numbers
//! above 2^53 are strings: many readers of JSON would round them.

use afterimage_engine::format::{RecordHeader, SegmentHeader, Slot, SnapshotHeader};
use afterimage_engine::inspect::{
    Action, Found, Loss, Piece, Problem, SegmentFile, SegmentState, Verified,
};
use afterimage_engine::{Membership, NodeId};
use serde::{Serialize, Serializer};

use crate::seed;

/// A number that is written in full.
pub struct Number(pub u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        seed::number(&self.0, serializer)
    }
}

/// An identifier: nobody calculates with it.
fn hex(id: u64) -> String {
    format!("{id:016x}")
}

fn ids(ids: &[NodeId]) -> Vec<Number> {
    ids.iter().map(|id| Number(id.0)).collect()
}

/// In a word: `ok` if it is there, else why it is not.
pub fn state<T>(found: &Found<T>) -> String {
    match found {
        Found::Good(_) => "ok".to_owned(),
        Found::Bad => "bad".to_owned(),
        Found::Newer(version) => format!("format version {version}"),
        Found::Failed(error) => error.to_string(),
    }
}

#[derive(Serialize)]
pub struct SlotItem {
    slot: usize,
    offset: u64,
    state: String,
    counts: bool,
    sequence: Option<Number>,
    term: Option<Number>,
    vote: Option<Number>,
    log_id: Option<String>,
}

impl SlotItem {
    pub fn new(number: usize, slot: &Found<Slot>, counts: bool) -> Self {
        let good = slot.good();
        SlotItem {
            slot: number,
            offset: number as u64 * 512,
            state: state(slot),
            counts,
            sequence: good.map(|slot| Number(slot.sequence)),
            term: good.map(|slot| Number(slot.hard_state.term.0)),
            vote: good
                .and_then(|slot| slot.hard_state.vote)
                .map(|id| Number(id.0)),
            log_id: good.map(|slot| hex(slot.log_id)),
        }
    }
}

#[derive(Serialize)]
pub struct SnapshotItem {
    state: String,
    file_bytes: u64,
    #[serde(flatten)]
    header: Option<SnapshotFields>,
}

#[derive(Serialize)]
struct SnapshotFields {
    last_index: Number,
    last_term: Number,
    min_generation: Number,
    data_bytes: Number,
    chunk_bytes: u32,
    voters: Option<Vec<Number>>,
    learners: Option<Vec<Number>>,
    log_id: String,
}

impl SnapshotItem {
    pub fn new(len: u64, header: &SnapshotHeader, membership: Option<&Membership>) -> Self {
        let state = match membership {
            Some(_) => "ok",
            None => "bad membership",
        };
        SnapshotItem {
            state: state.to_owned(),
            file_bytes: len,
            header: Some(SnapshotFields {
                last_index: Number(header.last_index.0),
                last_term: Number(header.last_term.0),
                min_generation: Number(header.min_generation),
                data_bytes: Number(header.data_len),
                chunk_bytes: header.chunk_bytes,
                voters: membership.map(|m| ids(&m.voters)),
                learners: membership.map(|m| ids(&m.learners)),
                log_id: hex(header.log_id),
            }),
        }
    }

    pub fn bad(state: String) -> Self {
        SnapshotItem {
            state,
            file_bytes: 0,
            header: None,
        }
    }
}

#[derive(Serialize)]
pub struct ChunkItem {
    pub number: u64,
    pub offset: u64,
    pub bytes: usize,
    pub crc_ok: bool,
}

#[derive(Serialize)]
pub struct SegmentItem<'a> {
    file: &'a str,
    file_bytes: u64,
    state: &'static str,
    /// The first index that counts no more.
    until: Option<Number>,
    header: String,
    #[serde(flatten)]
    fields: Option<SegmentFields>,
}

#[derive(Serialize)]
struct SegmentFields {
    base: Number,
    generation: Number,
    prev_term: Number,
    prev_generation: Number,
    prev_end: Number,
    /// The highest index known to be durable when this was written.
    floor: Number,
    created_at_ms: i64,
    log_id: String,
}

impl<'a> SegmentItem<'a> {
    pub fn new(len: u64, segment: &'a SegmentFile) -> Self {
        let fields = |header: &SegmentHeader| SegmentFields {
            base: Number(header.base.0),
            generation: Number(header.generation),
            prev_term: Number(header.prev.term.0),
            prev_generation: Number(header.prev.generation),
            prev_end: Number(header.prev.end),
            floor: Number(header.floor.0),
            created_at_ms: header.created_at_ms,
            log_id: hex(header.log_id),
        };
        SegmentItem {
            file: &segment.name,
            file_bytes: len,
            state: segment_state(segment.state),
            until: match segment.state {
                SegmentState::Live { until } => until.map(|index| Number(index.0)),
                _ => None,
            },
            header: state(&segment.header),
            fields: segment.header.good().map(fields),
        }
    }
}

pub fn segment_state(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Live { .. } => "live",
        SegmentState::Hidden => "hidden",
        SegmentState::Dead => "dead",
    }
}

/// A record, or what stands where one should be.
#[derive(Serialize)]
pub struct PieceItem {
    offset: u64,
    /// record, noise, zeros.
    what: &'static str,
    bytes: u64,
    #[serde(flatten)]
    record: Option<RecordFields>,
}

#[derive(Serialize)]
struct RecordFields {
    index: Number,
    term: Number,
    kind: &'static str,
    data_bytes: usize,
    timestamp_ms: i64,
    sync_floor: Number,
    crc_ok: bool,
    /// It continues the record before it.
    follows: bool,
}

impl PieceItem {
    pub fn new(piece: &Piece) -> Self {
        let record = |header: &RecordHeader, crc_ok, follows| RecordFields {
            index: Number(header.index.0),
            term: Number(header.term.0),
            kind: kind(header),
            data_bytes: header.data_len,
            timestamp_ms: header.timestamp_ms,
            sync_floor: Number(header.sync_floor.0),
            crc_ok,
            follows,
        };
        let (offset, what, bytes, record) = match piece {
            Piece::Record {
                offset,
                header,
                follows,
                ..
            } => {
                let bytes = header.frame_len() as u64;
                (
                    *offset,
                    "record",
                    bytes,
                    Some(record(header, true, *follows)),
                )
            }
            Piece::Noise {
                offset,
                len,
                header,
            } => {
                let header = header.as_ref().map(|header| record(header, false, false));
                (*offset, "noise", *len, header)
            }
            Piece::Zeros { offset, len } => (*offset, "zeros", *len, None),
        };
        PieceItem {
            offset,
            what,
            bytes,
            record,
        }
    }
}

pub fn kind(header: &RecordHeader) -> &'static str {
    use afterimage_engine::EntryKind;
    match header.kind {
        EntryKind::Blank => "blank",
        EntryKind::Command => "command",
        EntryKind::Membership => "membership",
    }
}

#[derive(Serialize)]
pub struct VerifyReport {
    dir: String,
    clean: bool,
    opens: bool,
    /// Why not.
    refusal: Option<String>,
    first_index: Option<Number>,
    last_index: Option<Number>,
    /// Proven to have been durable, from the files alone.
    proven_index: Option<Number>,
    term: Option<Number>,
    vote: Option<Number>,
    snapshot_index: Option<Number>,
    segments: usize,
    records: u64,
    bytes: u64,
    problems: Vec<ProblemItem>,
    garbage: Vec<GarbageItem>,
}

#[derive(Serialize)]
pub struct ProblemItem {
    file: String,
    offset: u64,
    what: String,
    /// refuses, lurks, heals.
    effect: &'static str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct GarbageItem {
    file: String,
    why: &'static str,
}

impl ProblemItem {
    pub fn new(problem: &Problem) -> Self {
        use afterimage_engine::inspect::Effect;
        ProblemItem {
            file: problem.path.to_string_lossy().into_owned(),
            offset: problem.offset,
            what: problem.what.to_string(),
            effect: match problem.effect {
                Effect::Refuses => "refuses",
                Effect::Lurks => "lurks",
                Effect::Heals => "heals",
            },
            remedy: problem.what.remedy(),
        }
    }
}

impl VerifyReport {
    pub fn new(dir: &std::path::Path, verified: &Verified) -> Self {
        let report = verified.opens.as_ref().ok();
        VerifyReport {
            dir: dir.to_string_lossy().into_owned(),
            clean: verified.is_clean(),
            opens: report.is_some(),
            refusal: verified.opens.as_ref().err().map(ToString::to_string),
            first_index: report.map(|report| Number(report.first_index.0)),
            last_index: report.map(|report| Number(report.last_index.0)),
            proven_index: report.map(|report| Number(report.proven_index.0)),
            term: report.map(|report| Number(report.hard_state.term.0)),
            vote: report
                .and_then(|r| r.hard_state.vote)
                .map(|id| Number(id.0)),
            snapshot_index: report
                .and_then(|r| r.snapshot.as_ref())
                .map(|meta| Number(meta.last_index.0)),
            segments: verified.segments,
            records: verified.records,
            bytes: verified.bytes,
            problems: verified.problems.iter().map(ProblemItem::new).collect(),
            garbage: verified
                .garbage
                .iter()
                .map(|(file, why)| GarbageItem {
                    file: file.clone(),
                    why,
                })
                .collect(),
        }
    }
}

#[derive(Serialize)]
pub struct RepairReport {
    pub dir: String,
    /// Whether it was carried out.
    pub done: bool,
    /// Whether the store opens once it is.
    pub possible: bool,
    pub actions: Vec<ActionItem>,
    pub loss: Option<LossItem>,
    pub unmended: Vec<ProblemItem>,
    pub backup: Option<String>,
    /// What a verify said afterwards.
    pub after: Option<VerifyReport>,
}

#[derive(Serialize)]
pub struct ActionItem {
    /// rewrite-slot, end-log, remove.
    action: &'static str,
    file: Option<String>,
    /// The first index that is not in the log any more.
    before: Option<Number>,
    text: String,
}

impl ActionItem {
    pub fn new(action: &Action, text: String) -> Self {
        let (name, file, before) = match action {
            Action::RewriteSlot { .. } => ("rewrite-slot", Some("hardstate".to_owned()), None),
            Action::EndLog { before, last, .. } => {
                let file = last.as_ref().map(|(name, _)| name.clone());
                ("end-log", file, Some(Number(before.0)))
            }
            Action::Remove { name, .. } => ("remove", Some(name.clone()), None),
        };
        ActionItem {
            action: name,
            file,
            before,
            text,
        }
    }
}

#[derive(Serialize)]
pub struct LossItem {
    from: Number,
    /// Below `from`: no record behind it can be read.
    to: Number,
    records: u64,
    bytes: u64,
    term_min: Option<Number>,
    term_max: Option<Number>,
    /// Known to have been durable: most likely acknowledged.
    durable_index: Number,
}

impl From<Loss> for LossItem {
    fn from(loss: Loss) -> Self {
        LossItem {
            from: Number(loss.from.0),
            to: Number(loss.to.0),
            records: loss.records,
            bytes: loss.bytes,
            term_min: loss.terms.map(|(low, _)| Number(low.0)),
            term_max: loss.terms.map(|(_, high)| Number(high.0)),
            durable_index: Number(loss.durable_index.0),
        }
    }
}
