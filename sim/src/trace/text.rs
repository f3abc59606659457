//! A record as a line of text: one effect a line, fixed columns.
//!
//! ```text
//!   1204.250 n1  .12  write      log-1.2 @624+744
//!   1204.250 n1       durable    2/17
//! ```
//! Time in simulated milliseconds, the node, the number of the file operation
//! within its incarnation, what happened, and to what. Entries are named
//! `term/index`. There are no checksums, random numbers or addresses in it, so
//! that it can be kept as a snapshot and compared.
//!
//! On a single node the name goes without saying, and what is no file operation
//! stands out to the left:
//!
//! ```text
//!   append          2/17
//!   .12  write      log-1.2 @624+744
//!   .13  sync       log-1.2
//!   durable         17
//! ```

use std::fmt::{self, Display, Write};
use std::io::ErrorKind;

use afterimage_engine::node::Reply;
use afterimage_engine::raft::{Body, Message};
use afterimage_engine::store::Report;
use afterimage_engine::{
    EntryId, Event, HardState, Index, Membership, NodeId, Role, SnapshotMeta, Term,
};

use super::names::{short, short_all};
use super::{Contents, Operation, Record, What};
use crate::disk::{CrashPoint, CrashReport, FaultKind, OpKind, OpOutcome, OpRecord};

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Simulated time: of use in a cluster, noise on a single node.
    pub time: bool,
    /// The node's name, likewise.
    pub node: bool,
    /// File operations that change nothing and did not fail.
    pub reads: bool,
    /// Where protocols begin and end.
    pub phases: bool,
}

impl Style {
    /// For a cluster.
    pub const CLUSTER: Style = Style {
        time: true,
        node: true,
        reads: false,
        phases: false,
    };
    /// For one node alone.
    pub const SINGLE: Style = Style {
        time: false,
        node: false,
        reads: false,
        phases: false,
    };
    /// For finding out where two runs part.
    pub const FULL: Style = Style {
        time: true,
        node: true,
        reads: true,
        phases: true,
    };
}

/// Width of the column of an operation's number, and of the verb's.
const NUMBER: usize = 5;
const VERB: usize = 11;

/// The record as text without a line end, or `None` if the style leaves it out.
/// A power cut takes several lines, one more for the fate of each effect.
pub fn line(record: &Record, style: &Style) -> Option<String> {
    if hidden(&record.what, style) {
        return None;
    }
    let mut out = String::with_capacity(80);
    let done = start(&mut out, record, style).and_then(|margin| {
        let number = match &record.what {
            What::Disk(op) if op.kind.mutates() => format!(".{}", op.n),
            _ => String::new(),
        };
        write!(out, "{number:<NUMBER$}")?;
        what(&mut out, &record.what, margin)?;
        if !style.node && !matches!(record.what, What::Disk(_)) {
            // No number: the verb takes its place, what follows stays in line.
            out.replace_range(margin..margin + NUMBER, "");
            let verb_ends = margin + VERB;
            if out.len() > verb_ends && !out[margin..verb_ends].contains('\n') {
                out.insert_str(verb_ends, &" ".repeat(NUMBER));
            }
        }
        Ok(())
    });
    done.expect("a string takes everything");
    out.truncate(out.trim_end().len());
    Some(out)
}

fn hidden(what: &What, style: &Style) -> bool {
    match what {
        What::Disk(op) => !style.reads && !changes(op) && harmless(op.outcome),
        // On a node alone it says again what `up` said, or is a failure.
        What::Reopened { contents } => !style.node && contents.is_ok(),
        What::SnapshotGiven { .. }
        // The plan says it.
        | What::Members(_)
        | What::Engine(Event::Begin(_) | Event::End(_) | Event::HardStateSubmitted { .. }) => {
            !style.phases
        }
        _ => false,
    }
}

/// Whether it did something: to create a directory that exists is to look.
fn changes(op: &OpRecord) -> bool {
    let exists = OpOutcome::Refused(ErrorKind::AlreadyExists);
    op.kind.mutates() && !(op.kind == OpKind::CreateDir && op.outcome == exists)
}

fn harmless(outcome: OpOutcome) -> bool {
    matches!(
        outcome,
        OpOutcome::Ok | OpOutcome::Refused(_) | OpOutcome::Injected(FaultKind::Short)
    )
}

/// Time and node; the width of both.
fn start(out: &mut String, record: &Record, style: &Style) -> Result<usize, fmt::Error> {
    if style.time {
        let (ms, us) = (record.time_us / 1000, record.time_us % 1000);
        write!(out, "{ms:>7}.{us:03} ")?;
    }
    if style.node {
        let node = record.node.map_or_else(String::new, |id| format!("n{id}"));
        write!(out, "{node:<4}")?;
    } else {
        out.push_str("  ");
    }
    Ok(out.len())
}

/// The verb in its column, then what follows it.
macro_rules! say {
    ($out:expr, $verb:expr) => {
        $out.write_str($verb)
    };
    ($out:expr, $verb:expr, $($rest:tt)+) => {{
        write!($out, "{:<VERB$}", $verb)?;
        write!($out, $($rest)+)
    }};
}

fn what(out: &mut String, what: &What, margin: usize) -> fmt::Result {
    match what {
        What::Members(membership) => say!(out, "members", "{}", Shown(membership)),
        What::Engine(event) => self::event(out, event),
        What::Disk(op) => self::op(out, op),
        What::PowerCut(report) => power_cut(out, report, margin),
        What::Killed => say!(out, "killed"),
        What::Died { error, .. } => say!(out, "died", "{}", short_all(error)),
        What::Boot { incarnation } => say!(out, "boot", "incarnation={incarnation}"),
        What::OpenFailed { error, excused, .. } => {
            let why = if *excused {
                " (a fault reached it)"
            } else {
                ""
            };
            say!(out, "refused", "{}{why}", short_all(error))
        }
        What::Up(contents) => say!(out, "up", "{}", Shown(contents)),
        What::Read(contents) => say!(out, "read back", "{}", Shown(contents)),
        What::Reopened { contents } => match contents {
            Ok(contents) => say!(out, "reopened", "{}", Shown(contents)),
            Err(error) => say!(out, "reopened", "refused: {}", short_all(error)),
        },
        What::Sent(message) => say!(out, "send", "{}", Shown(message)),
        What::Delivered { from, kind, .. } => say!(out, "receive", "n{from} {kind}"),
        What::Dropped {
            from,
            to,
            kind,
            why,
        } => say!(out, "drop", "n{from}>n{to} {kind} ({why})"),
        What::Invoke {
            client,
            sequence,
            operation,
            ..
        } => match operation {
            Operation::Put { key, value } => {
                say!(out, "invoke", "c{client}#{sequence} put k{key}={value}")
            }
            Operation::Get { key } => say!(out, "invoke", "c{client}#{sequence} get k{key}"),
        },
        What::Reply {
            client,
            sequence,
            reply,
        } => say!(out, "reply", "c{client}#{sequence} {}", Shown(reply)),
        What::Step { id, note } => say!(out, "step", "s{id} {}", short_all(note)),
        What::Fault { kind } => say!(out, "fault", "{kind}"),
        What::SnapshotGiven {
            last_index,
            last_term,
            crc: _,
        } => say!(out, "given", "snapshot {last_term}/{last_index}"),
        What::Healed { core: None } => say!(out, "healed"),
        What::Healed { core: Some(core) } => say!(out, "healed", "{}", names(core)),
        What::Final {
            leader,
            term,
            commit,
            applied,
            // A digest: compared, never shown.
            state: _,
        } => {
            let role = if *leader { " leader" } else { "" };
            say!(
                out,
                "final",
                "term={term} commit={commit} applied={applied}{role}"
            )
        }
        What::Converged { within_us } => match within_us {
            Some(us) => say!(out, "converged", "after {}.{:03} ms", us / 1000, us % 1000),
            None => say!(out, "converged", "never"),
        },
    }
}

fn event(out: &mut String, event: &Event) -> fmt::Result {
    match event {
        Event::Begin(phase) => say!(out, "begin", "{}", phase.name()),
        Event::End(phase) => say!(out, "end", "{}", phase.name()),
        Event::Appended { entries } => say!(out, "append", "{}", Shown(entries.as_slice())),
        Event::TruncateRequested { from } => say!(out, "truncate", "from={from}"),
        Event::Durable { index } => say!(out, "durable", "{index}"),
        Event::Truncated { from } => say!(out, "truncated", "from={from}"),
        Event::HardStateSubmitted { hard_state } => {
            say!(out, "submitted", "{}", Shown(hard_state))
        }
        Event::HardStateDurable { hard_state } => {
            say!(out, "hard_state", "{}", Shown(hard_state))
        }
        Event::SegmentCreated { base, generation } => {
            say!(out, "segment", "log-{base}.{generation}")
        }
        Event::SnapshotSaved { meta } => say!(out, "saved", "{}", Shown(meta)),
        Event::SnapshotInstalled { meta, kept_suffix } => {
            let log = if *kept_suffix { "kept" } else { "discarded" };
            say!(out, "installed", "{} log={log}", Shown(meta))
        }
        Event::Purged { first, segments } => {
            say!(out, "purged", "first={first} segments={segments}")
        }
        Event::Decided { what } => say!(out, "decide", "{}", short_all(what)),
        Event::Recovered(report) => say!(out, "recovered", "{}", Shown(&**report)),
        Event::Stalled => say!(out, "stalled", "no space"),
        Event::Poisoned => say!(out, "poisoned"),
        Event::RoleChanged { term, role, leader } => {
            let role = match role {
                Role::Follower => "follower",
                Role::PreCandidate => "pre-candidate",
                Role::Candidate => "candidate",
                Role::Leader => "leader",
            };
            say!(out, "role", "{role} term={term}")?;
            leader.map_or(Ok(()), |id| write!(out, " leader=n{id}"))
        }
        Event::Voted { term, candidate } => say!(out, "vote", "n{candidate} term={term}"),
        Event::MembershipChanged { index, membership } => {
            say!(out, "members", "{} from={index}", Shown(membership))
        }
        Event::Committed { index, term } => say!(out, "commit", "{index} term={term}"),
        Event::Applied { entry } => say!(out, "apply", "{}", Shown(entry)),
        Event::Restored {
            last_index,
            last_term,
        } => say!(out, "restored", "{last_term}/{last_index}"),
    }
}

fn op(out: &mut String, op: &OpRecord) -> fmt::Result {
    let name = short(&op.path);
    let (at, len) = (op.offset, op.len);
    match op.kind {
        OpKind::Open => say!(out, "open", "{name}"),
        OpKind::Create => say!(out, "create", "{name}"),
        OpKind::Read => say!(out, "read", "{name} @{at}+{len}"),
        OpKind::Write => say!(out, "write", "{name} @{at}+{len}"),
        OpKind::Len => say!(out, "len", "{name}"),
        OpKind::SetLen => say!(out, "set_len", "{name} {len}"),
        OpKind::Allocate => say!(out, "allocate", "{name} @{at}+{len}"),
        OpKind::Sync => say!(out, "sync", "{name}"),
        OpKind::Rename => {
            let to = op.to.as_deref().map_or("?".into(), short);
            say!(out, "rename", "{name} -> {to}")
        }
        OpKind::Unlink => say!(out, "unlink", "{name}"),
        // Of directories the place is all there is to say.
        OpKind::List => say!(out, "list", "{}", directory(&op.path)),
        OpKind::CreateDir => say!(out, "create_dir", "{}", directory(&op.path)),
        OpKind::SyncDir => say!(out, "sync_dir", "{}", directory(&op.path)),
        OpKind::Lock => say!(out, "lock", "{name}"),
    }?;
    match op.outcome {
        OpOutcome::Ok => Ok(()),
        OpOutcome::Refused(kind) => write!(out, "  refused: {kind}"),
        OpOutcome::Injected(FaultKind::Short) => out.write_str("  short"),
        OpOutcome::Injected(fault) => write!(out, "  FAULT {fault}"),
        OpOutcome::Crash(CrashPoint::Before) => out.write_str("  CRASH before"),
        OpOutcome::Crash(CrashPoint::Mid) => out.write_str("  CRASH mid"),
        OpOutcome::Crash(CrashPoint::After) => out.write_str("  CRASH after"),
        OpOutcome::Fenced => out.write_str("  fenced"),
    }
}

fn directory(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

fn power_cut(out: &mut String, report: &CrashReport, margin: usize) -> fmt::Result {
    say!(out, "CRASH", "lost={} kept={}", report.lost, report.kept)?;
    for fate in &report.fates {
        write!(out, "\n{:margin$}     {}", "", short_all(fate))?;
    }
    Ok(())
}

/// How a value of the engine looks in a trace.
struct Shown<T>(T);

impl Display for Shown<&EntryId> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.term, self.0.index)
    }
}

impl Display for Shown<&[EntryId]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        entries(f, self.0.iter().map(|e| (e.term, e.index)))
    }
}

/// Runs of one term as `2/5..9`.
fn entries(
    f: &mut fmt::Formatter<'_>,
    entries: impl Iterator<Item = (Term, Index)>,
) -> fmt::Result {
    let mut run: Option<(Term, Index, Index)> = None;
    let mut gap = "";
    let mut show = |f: &mut fmt::Formatter<'_>, run: Option<(Term, Index, Index)>| {
        let Some((term, first, last)) = run else {
            return Ok(());
        };
        write!(f, "{gap}{term}/{first}")?;
        gap = " ";
        if last > first {
            write!(f, "..{last}")?;
        }
        Ok(())
    };
    for (term, index) in entries {
        match &mut run {
            Some((t, _, last)) if *t == term && last.next() == index => *last = index,
            _ => show(f, run.replace((term, index, index)))?,
        }
    }
    show(f, run)
}

impl Display for Shown<&HardState> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term={}", self.0.term)?;
        self.0.vote.map_or(Ok(()), |id| write!(f, " vote=n{id}"))
    }
}

impl Display for Shown<&Membership> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters={}", names(&self.0.voters))?;
        if !self.0.learners.is_empty() {
            write!(f, " learners={}", names(&self.0.learners))?;
        }
        Ok(())
    }
}

fn names(ids: &[NodeId]) -> String {
    let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
    names.join(",")
}

impl Display for Shown<&SnapshotMeta> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot={}/{}", self.0.last_term, self.0.last_index)
    }
}

impl Display for Shown<&Contents> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.0;
        write!(f, "first={} last={}", c.first_index, c.last_index)?;
        match c.snapshot {
            Some((index, term, _)) => write!(f, " snapshot={term}/{index}")?,
            None => f.write_str(" snapshot=none")?,
        }
        write!(f, " {}", Shown(&c.hard_state))?;
        if !c.entries.is_empty() {
            f.write_str(" log=")?;
            entries(f, c.entries.iter().map(|e| (e.term, e.index)))?;
        }
        match &c.unreadable {
            Some(why) => write!(f, " UNREADABLE {}", short_all(why)),
            None => Ok(()),
        }
    }
}

impl Display for Shown<&Report> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        write!(f, "first={} last={}", r.first_index, r.last_index)?;
        match &r.snapshot {
            Some(meta) => write!(f, " {}", Shown(meta))?,
            None => f.write_str(" snapshot=none")?,
        }
        write!(f, " {} proven={}", Shown(&r.hard_state), r.proven_index)?;
        if let Some((path, offset)) = &r.torn_tail {
            write!(f, " torn={}@{offset}", short(&path.to_string_lossy()))?;
        }
        if r.ambiguous_tail {
            f.write_str(" ambiguous")?;
        }
        if r.bad_hard_state_slot {
            f.write_str(" bad-hard-state-slot")?;
        }
        if !r.garbage.is_empty() {
            write!(f, " garbage={}", r.garbage.len())?;
        }
        // The decisions were said as they were taken.
        Ok(())
    }
}

impl Display for Shown<&Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reply::Done(body) => match body.as_chunks::<8>() {
                ([version], []) => write!(f, "done version={}", u64::from_le_bytes(*version)),
                ([version, value], []) => write!(
                    f,
                    "done version={} value={}",
                    u64::from_le_bytes(*version),
                    u64::from_le_bytes(*value)
                ),
                _ => write!(f, "done bytes={}", body.len()),
            },
            Reply::NotLeader { leader: Some(id) } => write!(f, "not the leader, try n{id}"),
            Reply::NotLeader { leader: None } => f.write_str("not the leader"),
            Reply::Unknown => f.write_str("unknown"),
        }
    }
}

impl Display for Shown<&Message> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(f, "n{} {} term={}", m.to, m.body.name(), m.term)?;
        match &m.body {
            Body::PreVote {
                last_index,
                last_term,
            }
            | Body::Vote {
                last_index,
                last_term,
                ..
            } => write!(f, " last={last_term}/{last_index}"),
            Body::PreVoteReply { granted } | Body::VoteReply { granted } => {
                f.write_str(if *granted { " granted" } else { " refused" })
            }
            Body::Append {
                prev_index,
                prev_term,
                commit,
                entries,
            } => {
                write!(f, " prev={prev_term}/{prev_index} commit={commit} ")?;
                self::entries(f, entries.iter().map(|e| (e.term, e.index)))
            }
            Body::AppendAccepted { match_index } => write!(f, " match={match_index}"),
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            } => write!(f, " prev={prev_index} hint={hint_term}/{hint_index}"),
            Body::Heartbeat { commit, round } => write!(f, " commit={commit} round={round}"),
            Body::HeartbeatReply { round } => write!(f, " round={round}"),
            Body::Snapshot {
                meta,
                offset,
                data,
                done,
            } => {
                let done = if *done { " done" } else { "" };
                write!(f, " {} @{offset}+{}{done}", Shown(meta), data.len())
            }
            Body::SnapshotWanted { last_index, offset } => {
                write!(f, " last={last_index} @{offset}")
            }
            Body::TimeoutNow => Ok(()),
        }
    }
}
