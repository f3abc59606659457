//! `afterimage log dump`: everything that is in a directory, as it is read. The
//! JSON is one document, written as it comes, with one record a line.

use std::io::Write;

use afterimage_engine::inspect::{Item, Piece, SegmentFile, SegmentState};
use afterimage_engine::{Membership, NodeId};
use serde::Serialize;

use super::json::{
    ChunkItem, PieceItem, SegmentItem, SlotItem, SnapshotItem, kind, segment_state, state,
};
use crate::cli::LogArgs;
use crate::error::Error;
use crate::out::{Out, Outputs, Stream};
use crate::status::Status;

pub fn dump(args: &LogArgs) -> Result<Status, Error> {
    let inspector = super::look(&args.dir)?;
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let mut out = outputs.out;
    match outputs.json {
        // All of it once is enough.
        Some(sink) => {
            let dir = inspector.dir().to_string_lossy().into_owned();
            let mut document = Document::begin(sink.into_stream()?, &dir)?;
            let mut items = 0;
            inspector.dump(|item| {
                items += 1;
                document.item(&item)
            })?;
            document.end()?;
            writeln!(out, "{dir}: {items} items")?;
        }
        None => {
            let mut text = Text {
                out: &mut out,
                until: None,
                counts: true,
            };
            inspector.dump(|item| text.item(&item))?;
        }
    }
    out.flush()?;
    Ok(Status::Ok)
}

/// For people: a block for each file, a line for each record.
struct Text<'a> {
    out: &'a mut Out,
    /// Of the segment at hand: the first index that counts no more.
    until: Option<u64>,
    /// Whether any of it counts.
    counts: bool,
}

impl Text<'_> {
    fn item(&mut self, item: &Item<'_>) -> Result<(), Error> {
        match item {
            Item::Slot {
                number,
                slot,
                counts,
            } => {
                if *number == 0 {
                    writeln!(self.out, "hardstate")?;
                }
                let says = match slot.good() {
                    Some(slot) => {
                        let vote = slot.hard_state.vote;
                        format!(
                            "sequence {}  term {}  vote {}",
                            slot.sequence,
                            slot.hard_state.term,
                            vote.map_or("-".to_owned(), |id| id.to_string()),
                        )
                    }
                    None => state(slot),
                };
                let mark = if *counts { "  counts" } else { "" };
                writeln!(self.out, "  {:>10}  {says}{mark}", number * 512)?;
            }
            Item::Snapshot {
                len,
                header,
                membership,
            } => writeln!(
                self.out,
                "snapshot  {len} B, up to {} of term {}, {} B of data, min generation {}, {}",
                header.last_index,
                header.last_term,
                header.data_len,
                header.min_generation,
                members(*membership),
            )?,
            Item::BadSnapshot(found) => writeln!(self.out, "snapshot  {}", state(found))?,
            Item::Chunk {
                number,
                offset,
                len,
                is_good,
            } => {
                let crc = if *is_good { "ok" } else { "BAD" };
                writeln!(
                    self.out,
                    "  {offset:>10}  chunk {number}  {len} B  crc {crc}"
                )?;
            }
            Item::Segment { len, segment } => self.segment(*len, segment)?,
            Item::Piece(piece) => self.piece(piece)?,
            Item::Unreadable(error) => writeln!(self.out, "              {error}")?,
            Item::Other { name } => writeln!(self.out, "{name}  no part of the log")?,
        }
        Ok(())
    }

    fn segment(&mut self, len: u64, segment: &SegmentFile) -> Result<(), Error> {
        let says = match segment.header.good() {
            Some(header) => {
                let floor = match header.floor < header.base.prev() {
                    true => format!(", durable up to {}", header.floor),
                    false => String::new(),
                };
                format!(
                    "base {}, generation {}, after a record of term {} at {} of generation {}{floor}",
                    header.base,
                    header.generation,
                    header.prev.term,
                    header.prev.end,
                    header.prev.generation,
                )
            }
            None => format!("header: {}", state(&segment.header)),
        };
        let word = segment_state(segment.state);
        (self.until, self.counts) = match segment.state {
            SegmentState::Live { until } => (until.map(|index| index.0), true),
            SegmentState::Hidden | SegmentState::Dead => (None, false),
        };
        let until = self.until.map(|index| format!(" below {index}"));
        let until = until.unwrap_or_default();
        writeln!(self.out, "{}  {len} B, {word}{until}, {says}", segment.name)?;
        if segment.header.good().is_some() {
            writeln!(
                self.out,
                "  {:>10}  {:>12} {:>8} {:<10} {:>9} {:>12}  crc",
                "offset", "index", "term", "kind", "bytes", "durable"
            )?;
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), Error> {
        match piece {
            Piece::Record {
                offset,
                header,
                follows,
                ..
            } => {
                let is_hidden = self.until.is_some_and(|until| header.index.0 >= until);
                let note = match (follows, self.counts && !is_hidden) {
                    (false, _) => "  out of place",
                    (true, false) => "  hidden",
                    (true, true) => "",
                };
                writeln!(
                    self.out,
                    "  {offset:>10}  {:>12} {:>8} {:<10} {:>9} {:>12}  ok{note}",
                    header.index.0,
                    header.term.0,
                    kind(header),
                    header.data_len,
                    header.sync_floor.0,
                )?;
            }
            Piece::Noise {
                offset,
                len,
                header,
            } => {
                let like = header.map_or(String::new(), |header| {
                    format!(
                        ", begins like record {} of term {}",
                        header.index, header.term
                    )
                });
                writeln!(self.out, "  {offset:>10}  {len} B that are no record{like}")?;
            }
            Piece::Zeros { offset, len } => {
                writeln!(self.out, "  {offset:>10}  {len} B of zeros up to the end")?;
            }
        }
        Ok(())
    }
}

fn members(membership: Option<&Membership>) -> String {
    let Some(membership) = membership else {
        return "bad membership".to_owned();
    };
    let list = |ids: &[NodeId]| match ids {
        [] => "-".to_owned(),
        ids => ids
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    };
    format!(
        "voters {}, learners {}",
        list(&membership.voters),
        list(&membership.learners)
    )
}

/// One JSON document, of which no more than one item is in memory.
struct Document {
    stream: Stream,
    section: Section,
    /// Nothing is in the innermost list yet.
    is_empty: bool,
}

/// The list that is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Slots,
    Chunks,
    Segments,
    Records,
    Others,
}

impl Document {
    fn begin(mut stream: Stream, dir: &str) -> Result<Self, Error> {
        stream.put(&format!("{{\"dir\":{},\n\"hard_state\":[", text(&dir)))?;
        Ok(Document {
            stream,
            section: Section::Slots,
            is_empty: true,
        })
    }

    fn item(&mut self, item: &Item<'_>) -> Result<(), Error> {
        match item {
            Item::Slot {
                number,
                slot,
                counts,
            } => self.element(&SlotItem::new(*number, slot, *counts)),
            Item::Snapshot {
                len,
                header,
                membership,
            } => self.snapshot(&SnapshotItem::new(*len, header, *membership)),
            Item::BadSnapshot(found) => self.snapshot(&SnapshotItem::bad(state(found))),
            Item::Chunk {
                number,
                offset,
                len,
                is_good,
            } => self.element(&ChunkItem {
                number: *number,
                offset: *offset,
                bytes: *len,
                crc_ok: *is_good,
            }),
            Item::Segment { len, segment } => {
                self.advance(Section::Segments)?;
                self.open(&SegmentItem::new(*len, segment), "records")?;
                self.section = Section::Records;
                Ok(())
            }
            Item::Piece(piece) => self.element(&PieceItem::new(piece)),
            Item::Unreadable(error) => self.element(&Unreadable {
                unreadable: error.to_string(),
            }),
            Item::Other { name } => {
                self.advance(Section::Others)?;
                self.element(name)
            }
        }
    }

    fn snapshot(&mut self, snapshot: &SnapshotItem) -> Result<(), Error> {
        self.stream.put("],\n\"snapshot\":")?;
        self.is_empty = true;
        self.open(snapshot, "chunks")?;
        self.section = Section::Chunks;
        Ok(())
    }

    /// An object whose last field is a list that stays open.
    fn open(&mut self, object: &impl Serialize, list: &str) -> Result<(), Error> {
        let object = text(object);
        let fields = object.strip_suffix('}').expect("an object");
        let comma = if self.is_empty { "" } else { "," };
        let line = if self.section >= Section::Segments {
            "\n"
        } else {
            ""
        };
        self.stream
            .put(&format!("{comma}{line}{fields},\"{list}\":["))?;
        self.is_empty = true;
        Ok(())
    }

    fn element(&mut self, element: &impl Serialize) -> Result<(), Error> {
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        self.stream.put(&format!("{comma}\n{}", text(element)))
    }

    /// Closes what is open, up to the list of this section.
    fn advance(&mut self, to: Section) -> Result<(), Error> {
        while self.section < to || (self.section, to) == (Section::Records, Section::Segments) {
            let (punctuation, next, is_empty) = match self.section {
                Section::Slots => (
                    "],\n\"snapshot\":null,\n\"segments\":[",
                    Section::Segments,
                    true,
                ),
                Section::Chunks => ("]},\n\"segments\":[", Section::Segments, true),
                Section::Records => ("]}", Section::Segments, false),
                Section::Segments => ("],\n\"others\":[", Section::Others, true),
                Section::Others => unreachable!("the last one"),
            };
            self.stream.put(punctuation)?;
            self.section = next;
            self.is_empty = is_empty;
            if self.section == to {
                break;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Error> {
        self.advance(Section::Others)?;
        self.stream.put("]}\n")?;
        self.stream.finish()
    }
}

#[derive(Serialize)]
struct Unreadable {
    unreadable: String,
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names are strings")
}
