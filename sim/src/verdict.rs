//! How a run ends.

use std::fmt;
use std::str::FromStr;

macro_rules! invariants {
    ($(#[doc = $about:literal] $variant:ident = $name:literal),* $(,)?) => {
        /// A rule that must hold in every run. A failure is identified by the
        /// rule's name, never by the text of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant { $(#[doc = $about] $variant),* }

        impl Invariant {
            pub const ALL: &[Invariant] = &[$(Invariant::$variant),*];
            pub fn name(self) -> &'static str {
                match self { $(Invariant::$variant => $name),* }
            }
            /// What it says, in one sentence: its documentation.
            pub fn about(self) -> &'static str {
                match self { $(Invariant::$variant => $about.trim_ascii()),* }
            }
        }
    };
}

invariants! {
    /// What was acknowledged as durable is there after any crash, byte for byte.
    AckedDurable = "acked-durable",
    /// Nothing comes back that was never appended, or whose truncation was acknowledged.
    NoResurrection = "no-resurrection",
    /// Indexes have no gap, terms never decrease.
    LogContiguous = "log-contiguous",
    /// The log starts at or below the snapshot's end + 1, and the snapshot is whole.
    SnapshotCoversLog = "snapshot-covers-log",
    /// Opening again, or crashing in the open and opening again, gives the same answer.
    RecoveryIdempotent = "recovery-idempotent",
    /// Without latent corruption a node always comes up again.
    RecoveryAvailable = "recovery-available",
    /// With latent corruption: a named error or a repaired copy, never silent loss, never a wrong byte.
    CorruptionReported = "corruption-reported",
    /// The term never decreases, the vote never changes within a term.
    HardStateMonotonic = "hard-state-monotonic",
    /// No message promises what is not durable.
    PersistBeforeSend = "persist-before-send",
    /// At most one leader a term.
    ElectionSafety = "election-safety",
    /// Two logs that agree on an entry's index and term agree on all before it.
    LogMatching = "log-matching",
    /// A leader has every entry committed in earlier terms.
    LeaderCompleteness = "leader-completeness",
    /// Who leads has a quorum, who commits too; the membership changes by one at a time.
    MembershipSafety = "membership-safety",
    /// No two nodes apply different entries at one index.
    StateMachineSafety = "state-machine-safety",
    /// A read is at least as new as the latest write completed before it began.
    FreshReads = "fresh-reads",
    /// The clients' history has a linearization.
    Linearizable = "linearizable",
    /// Once the faults end, one leader serves and all members agree, in time.
    Converges = "converges",
    /// The run ends: no panic, no endless loop.
    NoPanic = "no-panic",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl FromStr for Invariant {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Invariant::ALL
            .iter()
            .copied()
            .find(|i| i.name() == s)
            .ok_or_else(|| format!("unknown invariant `{s}`"))
    }
}

/// What a run came to. Its text form is that of seed files and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail(Invariant),
    /// No planned fault had an effect: the run proved nothing.
    Vacuous,
    /// The same run gave other bytes the second time.
    Nondeterministic,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pass => f.write_str("pass"),
            Verdict::Fail(invariant) => write!(f, "fail({invariant})"),
            Verdict::Vacuous => f.write_str("vacuous"),
            Verdict::Nondeterministic => f.write_str("nondeterministic"),
        }
    }
}
impl FromStr for Verdict {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "pass" => Ok(Verdict::Pass),
            "vacuous" => Ok(Verdict::Vacuous),
            "nondeterministic" => Ok(Verdict::Nondeterministic),
            _ => s
                .strip_prefix("fail(")
                .and_then(|s| s.strip_suffix(')'))
                .ok_or_else(|| format!("unknown verdict `{s}`"))?
                .parse()
                .map(Verdict::Fail),
        }
    }
}

/// A broken rule, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub detail: String,
}
