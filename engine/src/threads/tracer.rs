//! The engine's decisions as `tracing` spans and events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{Span, debug, debug_span, error, info, info_span, trace, trace_span, warn};

use crate::event::{Event, Phase};
use crate::host::{Env, Host};

/// Turns the events of a host into spans and events of the target `afterimage`.
///
/// A span is open from the first file operation of a protocol to its last:
/// `recovery` (info); `roll`, `truncate`, `snapshot_save`, `snapshot_install`,
/// `clean`, `prepare` (debug); `append`, `hard_state` (trace). The operations of
/// one protocol may come from several threads, so spans are not entered. One that
/// an error cut off closes with the next of its kind, or when the store is
/// poisoned.
///
/// While no subscriber is interested, an event costs a load or two of an atomic.
pub struct Tracer {
    inner: Arc<dyn Env>,
    spans: Mutex<BTreeMap<Phase, Span>>,
    /// So that nobody takes the lock for nothing.
    open: AtomicUsize,
}

impl Tracer {
    /// The host, with its events traced.
    pub fn host(host: Host) -> Host {
        Host {
            fs: host.fs,
            env: Arc::new(Tracer {
                inner: host.env,
                spans: Mutex::default(),
                open: AtomicUsize::new(0),
            }),
        }
    }

    fn spans(&self) -> MutexGuard<'_, BTreeMap<Phase, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, phase: Phase) {
        let span = span(phase);
        if !span.is_disabled() {
            let mut spans = self.spans();
            spans.insert(phase, span);
            self.open.store(spans.len(), Ordering::Relaxed);
        }
    }

    fn end(&self, phase: Option<Phase>) {
        if self.open.load(Ordering::Relaxed) > 0 {
            let mut spans = self.spans();
            match phase {
                Some(phase) => drop(spans.remove(&phase)),
                None => spans.clear(),
            }
            self.open.store(spans.len(), Ordering::Relaxed);
        }
    }
}

fn span(phase: Phase) -> Span {
    match phase {
        Phase::Recovery => info_span!(target: "afterimage", "recovery"),
        Phase::Append => trace_span!(target: "afterimage", "append"),
        Phase::HardState => trace_span!(target: "afterimage", "hard_state"),
        Phase::Roll => debug_span!(target: "afterimage", "roll"),
        Phase::Truncate => debug_span!(target: "afterimage", "truncate"),
        Phase::Prepare => debug_span!(target: "afterimage", "prepare"),
        Phase::SnapshotSave => debug_span!(target: "afterimage", "snapshot_save"),
        Phase::SnapshotInstall => debug_span!(target: "afterimage", "snapshot_install"),
        Phase::Clean => debug_span!(target: "afterimage", "clean"),
    }
}

impl Env for Tracer {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }

    fn wants_entries(&self) -> bool {
        self.inner.wants_entries()
    }

    fn observe(&self, event: Event) {
        match &event {
            Event::Begin(phase) => self.begin(*phase),
            Event::End(phase) => self.end(Some(*phase)),
            event => tell(event),
        }
        if let Event::Poisoned = event {
            self.end(None);
        }
        self.inner.observe(event);
    }
}

fn tell(event: &Event) {
    match event {
        Event::Decided { what } => debug!(target: "afterimage", "{what}"),
        Event::Recovered(report) => {
            info!(
                target: "afterimage",
                first_index = report.first_index.0,
                last_index = report.last_index.0,
                proven_index = report.proven_index.0,
                commit_hint = report.commit_hint.0,
                term = report.hard_state.term.0,
                "recovered"
            );
            if let Some((path, offset)) = &report.torn_tail {
                let path = path.display();
                let ambiguous = report.ambiguous_tail;
                warn!(target: "afterimage", %path, offset, ambiguous, "torn tail");
            }
            if report.bad_hard_state_slot {
                warn!(target: "afterimage", "a slot of the hard state was bad");
            }
        }
        Event::Durable { index } => trace!(target: "afterimage", index = index.0, "durable"),
        Event::Truncated { from } => info!(target: "afterimage", from = from.0, "truncated"),
        Event::HardStateDurable { hard_state } => debug!(
            target: "afterimage",
            term = hard_state.term.0,
            vote = hard_state.vote.map(|id| id.0),
            "hard state"
        ),
        Event::SegmentCreated { base, generation } => {
            debug!(target: "afterimage", base = base.0, generation, "segment begun");
        }
        Event::SnapshotSaved { meta } => info!(
            target: "afterimage",
            last_index = meta.last_index.0,
            last_term = meta.last_term.0,
            "snapshot saved"
        ),
        Event::SnapshotInstalled { meta, kept_suffix } => info!(
            target: "afterimage",
            last_index = meta.last_index.0,
            last_term = meta.last_term.0,
            kept_suffix,
            "snapshot installed"
        ),
        Event::Purged { first, segments } => {
            info!(target: "afterimage", first_index = first.0, segments, "purged");
        }
        Event::Stalled => warn!(target: "afterimage", "no space: the log waits for it"),
        Event::Poisoned => error!(
            target: "afterimage",
            "a write or a sync failed: nothing is acknowledged until the store is opened again"
        ),
        Event::RoleChanged { term, role, leader } => info!(
            target: "afterimage",
            term = term.0,
            ?role,
            leader = leader.map(|id| id.0),
            "role"
        ),
        Event::Voted { term, candidate } => {
            info!(target: "afterimage", term = term.0, candidate = candidate.0, "vote");
        }
        Event::MembershipChanged { index, membership } => info!(
            target: "afterimage",
            index = index.0,
            voters = ?membership.voters,
            learners = ?membership.learners,
            "membership"
        ),
        Event::Restored { last_index, .. } => {
            info!(target: "afterimage", last_index = last_index.0, "state restored");
        }
        Event::Committed { index, term } => {
            trace!(target: "afterimage", index = index.0, term = term.0, "committed");
        }
        Event::Begin(_)
        | Event::End(_)
        | Event::Appended { .. }
        | Event::TruncateRequested { .. }
        | Event::HardStateSubmitted { .. }
        | Event::Applied { .. } => {}
    }
}
