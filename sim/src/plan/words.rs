//! The text form of single values. None contains a space.

use afterimage_engine::{Index, NodeId, Phase, Term};

use super::{Heal, Side, StoreEntry, Target};
use crate::disk::{CrashPoint, FaultKind, Keep, Pattern, Profile};
use crate::rng::Ratio;

/// A cluster's members at the beginning, at the most, and its spares.
pub(super) const NODES_MAX: u64 = 7;
pub(super) const SPARES_MAX: u64 = 7;
const NAMES_MAX: u64 = NODES_MAX + SPARES_MAX;
/// Indexes and terms stay far from where adding to them could overflow.
pub(super) const POSITION_MAX: u64 = 1 << 40;
/// One value, entry or snapshot, and one batch of entries: as much as a run can
/// hold in memory many times over.
pub(super) const DATA_BYTES_MAX: u64 = 1 << 20;

/// A value that is one word of text.
pub(super) trait Word: Sized {
    fn print(&self) -> String;
    /// The error says what is allowed.
    fn read(text: &str) -> Result<Self, String>;
}

/// `text` as an error quotes it: one line, and not longer than one.
pub(super) fn quote(text: &str) -> String {
    const CHARS: usize = 40;
    let mut quoted: String = text.chars().take(CHARS).collect();
    if quoted.len() < text.len() {
        quoted.push_str("...");
    }
    format!("`{}`", quoted.escape_debug())
}

impl Word for Pattern {
    fn print(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "an operation such as write, sync:log-*, rename:snapshot or *".to_string())
    }
}

/// The name of a file, or a pattern of names.
impl Word for String {
    fn print(&self) -> String {
        self.clone()
    }
    fn read(text: &str) -> Result<Self, String> {
        match text.is_empty() {
            false => Ok(text.to_owned()),
            true => Err("a name such as hardstate or log-*".to_string()),
        }
    }
}

/// A place.
impl Word for u32 {
    fn print(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("a number from 0 to {}", u32::MAX))
    }
}

impl Word for Keep {
    fn print(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "none, or fates as a power cut reports them".to_string())
    }
}

impl Word for Profile {
    fn print(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Result<Self, String> {
        Profile::by_name(text).ok_or_else(|| format!("one of {}", Profile::names()))
    }
}

impl Word for Ratio {
    fn print(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "a ratio from 0/1 to 1/1, such as 1/100".to_string())
    }
}

impl Word for NodeId {
    fn print(&self) -> String {
        format!("n{}", self.0)
    }
    fn read(text: &str) -> Result<Self, String> {
        text.strip_prefix('n')
            .and_then(|number| number.parse().ok())
            .filter(|n| (1..=NAMES_MAX).contains(n))
            .map(NodeId)
            .ok_or_else(|| format!("a member, n1 to n{NAMES_MAX}"))
    }
}

impl Word for Target {
    fn print(&self) -> String {
        match self {
            Target::Node(id) => id.print(),
            Target::Leader => "leader".to_string(),
            Target::Follower(n) => format!("follower.{n}"),
        }
    }
    fn read(text: &str) -> Result<Self, String> {
        if text == "leader" {
            return Ok(Target::Leader);
        }
        if let Ok(id) = NodeId::read(text) {
            return Ok(Target::Node(id));
        }
        text.strip_prefix("follower.")
            .and_then(|number| number.parse().ok())
            .filter(|n| u64::from(*n) < NAMES_MAX)
            .map(Target::Follower)
            .ok_or_else(|| "a member such as n1, leader, or follower.0".to_string())
    }
}

impl Word for Side {
    fn print(&self) -> String {
        match self {
            Side::Leader => "leader".to_string(),
            Side::LeaderMinority => "leader-minority".to_string(),
            Side::Ring => "ring".to_string(),
            Side::Bridge(id) => format!("bridge.{}", id.print()),
            Side::Nodes(nodes) => {
                let names: Vec<String> = nodes.iter().map(Word::print).collect();
                names.join(",")
            }
        }
    }
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "leader" => return Ok(Side::Leader),
            "leader-minority" => return Ok(Side::LeaderMinority),
            "ring" => return Ok(Side::Ring),
            _ => {}
        }
        if let Some(Ok(id)) = text.strip_prefix("bridge.").map(NodeId::read) {
            return Ok(Side::Bridge(id));
        }
        let nodes: Result<Vec<NodeId>, String> = text.split(',').map(NodeId::read).collect();
        nodes
            .ok()
            .filter(|nodes| nodes.is_sorted_by(|a, b| a < b))
            .map(Side::Nodes)
            .ok_or_else(|| {
                "leader, leader-minority, ring, bridge.n2, \
                 or members in ascending order such as n1,n3"
                    .to_string()
            })
    }
}

/// A word of a fixed list.
macro_rules! choice {
    ($type:ident: $($variant:ident = $name:literal),*) => {
        impl Word for $type {
            fn print(&self) -> String {
                match self { $($type::$variant => $name),* }.to_string()
            }
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok($type::$variant),)*
                    _ => Err(["one of", $($name),*].join(" ")),
                }
            }
        }
    };
}
choice!(Heal: All = "all", Core = "core", Nobody = "nobody");
choice!(CrashPoint: Before = "before", Mid = "mid", After = "after");
choice!(Phase: Recovery = "recovery", Append = "append", Roll = "roll", Truncate = "truncate",
    HardState = "hard-state", Prepare = "prepare", SnapshotSave = "snapshot-save",
    SnapshotInstall = "snapshot-install", Clean = "clean");
choice!(FaultKind: Eio = "eio", Enospc = "enospc", Short = "short", Erofs = "erofs",
    EioDone = "eio-done", Lost = "lost", Misdirected = "misdirected");

impl Word for StoreEntry {
    fn print(&self) -> String {
        format!("{}/{}:{}", self.term, self.index, self.bytes)
    }
    fn read(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(term, rest)| {
            let (index, bytes) = rest.split_once(':')?;
            Some((term.parse().ok()?, index.parse().ok()?, bytes.parse().ok()?))
        });
        parts
            .filter(|(term, index, bytes)| {
                (1..=POSITION_MAX).contains(term)
                    && (1..=POSITION_MAX).contains(index)
                    && *bytes <= DATA_BYTES_MAX
            })
            .map(|(term, index, bytes)| StoreEntry {
                term: Term(term),
                index: Index(index),
                bytes,
            })
            .ok_or_else(|| {
                format!(
                    "TERM/INDEX:BYTES such as 1/7:100, \
                     positions from 1 to {POSITION_MAX}, bytes up to {DATA_BYTES_MAX}"
                )
            })
    }
}
