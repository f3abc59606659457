//! The disk behind its mutex: the operations, and the faults they meet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, LazyLock};

use super::error::DiskError;
use super::freed::Freed;
use super::inode::Inode;
use super::keep::OpId;
use super::names::{Namespace, Node};
use super::profile::{Log, Profile};
use super::trigger::{Armed, can_be_short};
use super::{CrashPoint, FaultKind, OpKind, OpOutcome, OpRecord};
use crate::rng::{Ratio, hash};

/// The root's name in records and patterns.
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| ".".into());

/// What a number drawn by hash is for, so that no two are the same number.
#[derive(Clone, Copy)]
pub(super) enum Draw {
    List,
    Short,
    ShortLen,
    FailedWrite,
    Torn,
    Atomic,
    Garbage,
    LostSector,
    WrongPlace,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub seed: u64,
    pub profile: Profile,
    pub names: Namespace,
    pub inodes: BTreeMap<u64, Arc<Inode>>,
    pub next_inode: u64,
    pub freed: Freed,
    /// Of the handles that work; `None` between incarnations.
    live: Option<u64>,
    epochs: u64,
    /// Incarnations since the last power cut.
    pub boot: u32,
    /// Mutating operations of this incarnation.
    n: u32,
    /// All operations ever.
    pub calls: u64,
    pub power_lost: bool,
    /// An error made the filesystem read-only, until the power is off.
    pub read_only: bool,
    pub armed: Armed,
    /// Sectors that may be allocated in all.
    pub limit: Option<u64>,
    pub short: Ratio,
    /// Files can be written through.
    pub direct: bool,
    /// Inodes locked by the running incarnation.
    pub locks: BTreeSet<u64>,
    pub recording: bool,
    pub records: Vec<OpRecord>,
    pub capturing: bool,
    pub captures: Vec<Capture>,
    /// See [`super::SimFs::mark`].
    pub mark: u64,
}

/// The disk right before a mutating operation: a power cut here is a cut
/// before the operation, and in the middle of the one before it.
#[derive(Debug, Clone)]
pub(super) struct Capture {
    pub state: State,
    pub n: u32,
    pub kind: OpKind,
    pub path: Arc<str>,
    pub to: Option<Arc<str>>,
    pub mark: u64,
}

/// What an operation is on.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    /// Relative to the root, which is empty.
    Path(&'a str),
    File {
        inode: u64,
        opened_as: &'a str,
    },
}

#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub kind: OpKind,
    pub on: On<'a>,
    /// The new name of a rename.
    pub to: Option<&'a str>,
    pub offset: u64,
    pub len: u64,
}

/// An operation under way.
pub(super) struct Attempt {
    pub op: OpId,
    /// Its number among all operations: what is drawn for it follows from that.
    call: u64,
    /// To be acted out by the operation itself.
    pub fault: Option<FaultKind>,
    /// The power goes in the middle.
    pub torn: bool,
    /// As it will be recorded.
    pub len: u64,
    pub injected: Option<FaultKind>,
}

impl Attempt {
    pub fn inject(&mut self, fault: FaultKind) -> io::Error {
        self.injected = Some(fault);
        DiskError::Injected(fault).into()
    }
}

impl State {
    pub fn new(seed: u64, profile: Profile) -> Self {
        State {
            seed,
            profile,
            names: Namespace::default(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            freed: Freed::default(),
            live: None,
            epochs: 0,
            boot: 0,
            n: 0,
            calls: 0,
            power_lost: false,
            read_only: false,
            armed: Armed::default(),
            limit: None,
            short: Ratio::default(),
            direct: false,
            locks: BTreeSet::new(),
            recording: false,
            records: Vec::new(),
            capturing: false,
            captures: Vec::new(),
            mark: 0,
        }
    }

    /// Starts an incarnation; its epoch.
    pub fn boot(&mut self) -> u64 {
        assert!(
            !self.power_lost,
            "an armed power cut fired: call power_cut before boot"
        );
        self.stop();
        self.epochs += 1;
        self.boot += 1;
        self.n = 0;
        self.live = Some(self.epochs);
        self.epochs
    }

    /// Ends the incarnation: its handles, locks and open files are gone.
    pub fn stop(&mut self) {
        self.live = None;
        self.locks.clear();
        for inode in self.inodes.values_mut() {
            if inode.open > 0 {
                Arc::make_mut(inode).open = 0;
            }
        }
        self.collect();
    }

    /// Ends the incarnation and starts to count anew: nothing is pending.
    pub fn power_on(&mut self) {
        self.stop();
        self.power_lost = false;
        self.read_only = false;
        self.boot = 0;
        self.n = 0;
    }

    pub fn is_live(&self, epoch: u64) -> bool {
        self.live == Some(epoch)
    }

    /// A copy without the handles, faults and records of the original.
    pub fn fork(&self) -> State {
        let mut fork = State {
            armed: Armed::default(),
            limit: None,
            short: Ratio::default(),
            direct: self.direct,
            recording: false,
            records: Vec::new(),
            capturing: false,
            captures: Vec::new(),
            names: self.names.clone(),
            inodes: self.inodes.clone(),
            freed: self.freed.clone(),
            locks: BTreeSet::new(),
            ..*self
        };
        fork.stop();
        fork
    }

    /// Carries out one operation: fences it, counts it, lets it meet the faults
    /// that wait for it, and records it.
    pub fn operate<T>(
        &mut self,
        epoch: u64,
        call: Call<'_>,
        body: impl FnOnce(&mut State, &mut Attempt) -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.is_live(epoch) {
            self.record(call, call.len, OpOutcome::Fenced);
            return Err(DiskError::Fenced.into());
        }
        if self.power_lost {
            return Err(DiskError::PowerLost.into());
        }
        self.calls += 1;
        self.n += u32::from(call.kind.mutates());
        let name = self.name_of(call.on);
        if self.capturing && call.kind.mutates() {
            self.capture(call, &name);
        }
        let matched = call.to.unwrap_or(&name);
        let crash = self.armed.crash(call.kind, matched);
        let fault = self.armed.fail(call.kind, matched, call.offset, call.len);
        let fault = fault.or_else(|| self.short_by_chance(call));
        let mut attempt = Attempt {
            op: OpId {
                boot: self.boot,
                n: self.n,
            },
            call: self.calls,
            // The power goes: nobody learns of an error.
            fault: fault.filter(|_| crash.is_none()),
            torn: crash == Some(CrashPoint::Mid),
            len: call.len,
            injected: None,
        };
        let done = match crash {
            Some(CrashPoint::Before) => false,
            // One atomic action has no middle: it is done or not done.
            Some(CrashPoint::Mid) if !tears(call.kind) => self.coin(Draw::Atomic, &attempt, 0),
            _ => true,
        };
        let refused = self.read_only && call.kind.mutates() && !self.exists_already(call);
        let result = match attempt.fault {
            _ if refused => Err(DiskError::ReadOnly.into()),
            Some(FaultKind::Erofs) => {
                self.read_only = true;
                Err(attempt.inject(FaultKind::Erofs))
            }
            Some(FaultKind::EioDone) if call.kind.mutates() => {
                body(self, &mut attempt).and_then(|_| Err(attempt.inject(FaultKind::EioDone)))
            }
            Some(fault) if !acts_out(call.kind, fault) => Err(attempt.inject(fault)),
            _ if done => body(self, &mut attempt),
            _ => Err(DiskError::PowerLost.into()),
        };
        if let Some(point) = crash {
            self.power_lost = true;
            self.record(call, attempt.len, OpOutcome::Crash(point));
            return Err(DiskError::PowerLost.into());
        }
        let outcome = match (&result, attempt.injected) {
            (_, Some(fault)) => OpOutcome::Injected(fault),
            (Ok(_), None) => OpOutcome::Ok,
            (Err(error), None) => OpOutcome::Refused(error.kind()),
        };
        self.record(call, attempt.len, outcome);
        result
    }

    /// Whether it would create what is there, which a read-only filesystem
    /// answers like any other.
    fn exists_already(&self, call: Call<'_>) -> bool {
        let creates = matches!(call.kind, OpKind::Create | OpKind::CreateDir);
        let exists = |path: &str| path.is_empty() || self.names.cache.contains_key(path);
        creates && matches!(call.on, On::Path(path) if exists(path))
    }

    fn capture(&mut self, call: Call<'_>, name: &Arc<str>) {
        let capture = Capture {
            state: self.fork(),
            n: self.n,
            kind: call.kind,
            path: name.clone(),
            to: call.to.map(Arc::from),
            mark: self.mark,
        };
        self.captures.push(capture);
    }

    fn short_by_chance(&self, call: Call<'_>) -> Option<FaultKind> {
        let draw = hash(&[self.seed, Draw::Short as u64, self.calls]);
        (can_be_short(call.kind, call.offset, call.len) && self.short.holds(draw))
            .then_some(FaultKind::Short)
    }

    /// Forgets the inodes that nothing refers to any more.
    pub fn collect(&mut self) {
        if self.inodes.values().all(|inode| inode.linked) {
            return;
        }
        let names = self.names.disk.values().filter_map(|node| match node {
            Node::File(inode) => Some(*inode),
            Node::Dir => None,
        });
        let pending = self.names.pending.iter();
        let pending = pending.filter_map(|pending| pending.change.inode());
        let needed: BTreeSet<u64> = names.chain(pending).collect();
        let (logged, freed) = (self.profile.log != Log::None, &mut self.freed);
        self.inodes.retain(|id, inode| {
            let named = inode.linked || needed.contains(id);
            if logged && !named && !inode.freed {
                freed.push_all(&inode.disk);
                Arc::make_mut(inode).freed = true;
            }
            named || inode.open > 0
        });
    }

    fn name_of(&self, on: On<'_>) -> Arc<str> {
        match on {
            On::Path("") => ROOT.clone(),
            On::Path(path) => path.into(),
            On::File { inode, opened_as } => match self.inodes.get(&inode) {
                Some(inode) => inode.name.clone(),
                None => opened_as.into(),
            },
        }
    }

    fn record(&mut self, call: Call<'_>, len: u64, outcome: OpOutcome) {
        if self.recording {
            self.records.push(OpRecord {
                n: u64::from(self.n),
                kind: call.kind,
                path: self.name_of(call.on).as_ref().into(),
                to: call.to.map(str::to_owned),
                offset: call.offset,
                len,
                outcome,
            });
        }
    }

    /// A number for this operation that depends on nothing but the seed, so
    /// that another fault before it does not change it.
    pub fn draw(&self, what: Draw, attempt: &Attempt, index: u64) -> u64 {
        hash(&[self.seed, what as u64, attempt.call, index])
    }

    fn coin(&self, what: Draw, attempt: &Attempt, index: u64) -> bool {
        self.draw(what, attempt, index) & 1 == 1
    }
}

/// Whether the operation has a middle in which the power can go.
fn tears(kind: OpKind) -> bool {
    matches!(kind, OpKind::Write | OpKind::Sync | OpKind::SyncDir)
}

/// Whether the fault is more than an error instead of the operation.
fn acts_out(kind: OpKind, fault: FaultKind) -> bool {
    match fault {
        FaultKind::Short => true,
        FaultKind::Eio => matches!(kind, OpKind::Write | OpKind::Sync),
        FaultKind::Enospc => kind == OpKind::Sync,
        FaultKind::Lost | FaultKind::Misdirected => true,
        // Dealt with where the operation is carried out.
        FaultKind::Erofs | FaultKind::EioDone => false,
    }
}
