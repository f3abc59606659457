//! How members come up, die, lose power and come up again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::{Error, Host, NodeId};

use super::member::{Life, Member, Part};
use super::replica::{Command, DIR, Process, Status};
use super::{Happening, Subject, World};
use crate::disk::{CrashTrigger, SimFs, is_corruption, is_excused};
use crate::env::SimEnv;
use crate::plan::{Action, Plan};
use crate::rng::hash;
use crate::trace::What;
use crate::twin::Twin;

/// Between the end of a process that died by itself and its next start.
const RESTART_US: u64 = 50_000;
/// The same after several opens that failed in a row, at the most.
const RESTART_US_MAX: u64 = 500_000;
/// One boot in this many is watched by a twin.
const TWIN_EVERY: u64 = 3;

pub(super) fn new_member<S>(plan: &Plan, id: NodeId) -> Member<S> {
    Member {
        id,
        disk: new_disk(plan, id),
        env: Arc::new(SimEnv::new(hash(&[plan.seed, id.0]), "env")),
        process: Process::Off,
        incarnation: 0,
        life: Life::Down,
        part: match id.0 <= u64::from(plan.cluster.nodes) {
            true => Part::Active,
            false => Part::Spare,
        },
        status: Status::default(),
        due: Default::default(),
        armed: None,
        recovery_crashes: VecDeque::new(),
        waiting: None,
        slow_factor: 1,
        full: false,
        paused_until_us: 0,
        pause_felt: true,
        tick_us: tick_us(plan, id),
        clock_ahead_ms: 0,
        failed_opens: 0,
        cache_lied: false,
        settled: true,
    }
}

/// The empty disk of a machine.
pub(super) fn new_disk(plan: &Plan, id: NodeId) -> SimFs {
    let disk = SimFs::with_profile(hash(&[plan.seed, id.0]), plan.disk.profile);
    disk.record_ops(true);
    disk.short_io(plan.disk.short);
    disk.direct_io(plan.disk.direct);
    disk
}

/// A tick of this member's clock, which goes as fast as it was built to.
fn tick_us(plan: &Plan, id: NodeId) -> u64 {
    let tick_us = u64::from(plan.cluster.tick_ms) * 1000;
    let drift = plan.cluster.drift;
    if drift.numerator == 0 {
        return tick_us;
    }
    let most = tick_us * u64::from(drift.numerator) / u64::from(drift.denominator);
    let draw = hash(&[plan.seed, id.0, u64::from_le_bytes(*b"drift\0\0\0")]);
    (tick_us - most + draw % (2 * most + 1)).max(1)
}

impl<S: Subject> World<S> {
    pub(super) fn boot_in(&mut self, node: NodeId, after_us: u64) {
        let at = self.now_us + after_us;
        self.queue.push(at, Happening::Boot { node });
    }

    /// Starts the process: a new incarnation opens its store.
    pub(super) fn boot(&mut self, node: NodeId) {
        let member = self.member(node);
        if member.life != Life::Down || member.part != Part::Active {
            return;
        }
        let config = self.config(node);
        let bug = self.options.mutant.and_then(|m| m.fs_bug());
        let seed = self.plan.seed;
        let now_us = self.now_us;
        let member = self.member(node);
        member.incarnation += 1;
        member.life = Life::Booting;
        member.cache_lied = false;
        member.due = Default::default();
        let incarnation = member.incarnation;
        let draw = hash(&[seed, node.0, incarnation, now_us]);
        let twin =
            (incarnation > 1 && draw.is_multiple_of(TWIN_EVERY) && !member.disk.is_read_only())
                .then(|| member.disk.fork());
        let fs = member.disk.boot();
        let armed = (!self.is_healed())
            .then(|| self.member(node).recovery_crashes.pop_front())
            .flatten();
        if let Some(at) = armed
            && let Action::Crash {
                pattern,
                nth,
                point,
                ..
            } = &self.plan.steps[at].action
        {
            let trigger = CrashTrigger {
                pattern: pattern.clone(),
                nth: (*nth).max(1),
                point: *point,
            };
            let member = self.member(node);
            member.armed = Some(at);
            member.disk.arm_crash(trigger);
        }
        self.record(Some(node), What::Boot { incarnation });
        // Said now: this boot may be cut off, and the next one is compared with it.
        if let Some(twin) = twin {
            let settled = self.member(node).settled;
            let twin = Twin {
                disk: twin,
                dir: Path::new(DIR),
                options: self.config(node).store,
                bug,
                settled,
                draw: draw / TWIN_EVERY,
            };
            let contents = twin.reopen();
            self.record(Some(node), What::Reopened { contents });
        }
        let member = self.member(node);
        member.settled = false;
        let host = Host {
            fs: crate::mutants::wrap(fs, bug),
            env: member.env.clone(),
        };
        let machine = S::fresh();
        let boot = Command::Boot {
            host,
            config,
            machine,
        };
        let outcome = self.call(node, boot);
        if let Some(panic) = outcome.panic {
            self.recorder.panicked(format!("n{node} panicked: {panic}"));
        }
        let step = Happening::BootStep { node, incarnation };
        self.queue.push(now_us + super::WAKE_US, step);
    }

    /// One file operation of the open.
    pub(super) fn boot_step(&mut self, node: NodeId) {
        let outcome = self.call(node, Command::BootStep);
        let incarnation = self.member(node).incarnation;
        let opened = outcome.status.is_some();
        let failed = outcome.error.clone();
        if outcome.panic.is_some() || self.member(node).disk.crash_fired() {
            self.settle(node, outcome, None);
            return;
        }
        if let Some(error) = failed {
            self.take_records(node);
            // It is to begin anew then, but not to take that for corruption.
            let lied = self.member(node).cache_lied && matches!(error, Error::Io { .. });
            let what = What::OpenFailed {
                error: error.to_string(),
                excused: is_excused(&error) || lied,
                corrupt: is_corruption(&error),
            };
            self.record(Some(node), what);
            self.stop_process(node);
            if is_corruption(&error) {
                return; // It would say so again: its disk must be replaced.
            }
            let member = self.member(node);
            member.failed_opens += 1;
            let wait = RESTART_US * u64::from(member.failed_opens);
            self.boot_in(node, wait.min(RESTART_US_MAX));
            return;
        }
        if !opened {
            let took_us = self.take_records(node);
            let step = Happening::BootStep { node, incarnation };
            self.queue.push(self.now_us + took_us, step);
            return;
        }
        let inspected = self.call(node, Command::Inspect);
        self.take_records(node);
        if let Some(error) = inspected.error {
            self.died(node, &error);
            return;
        }
        let member = self.member(node);
        member.life = Life::Up;
        member.failed_opens = 0;
        if let Some(contents) = inspected.contents {
            let died = What::died_of(&contents);
            self.record(Some(node), What::Up(contents));
            if let Some(died) = died {
                self.record(Some(node), died);
                self.stop_process(node);
                return;
            }
        }
        let tick = Happening::Tick { node, incarnation };
        // Members do not tick in unison.
        let phase = hash(&[self.plan.seed, node.0, incarnation]) % self.member(node).tick_us;
        self.queue.push(self.now_us + phase, tick);
        self.settle(node, outcome, None);
    }

    /// The process ended by itself: a failed sync, a failed read. Its disk's
    /// cache lives on, and somebody starts it again.
    pub(super) fn died(&mut self, node: NodeId, error: &Error) {
        let what = What::Died {
            error: error.to_string(),
            excused: is_excused(error),
            corrupt: is_corruption(error),
        };
        self.record(Some(node), what);
        self.stop_process(node);
        self.boot_in(node, RESTART_US);
    }

    /// The power of a member goes (or went, where an armed cut fired).
    pub(super) fn cut_power(&mut self, node: NodeId, step: Option<usize>) {
        let fates = self.fates(node, step);
        self.stop_process(node);
        let member = self.member(node);
        let report = member.disk.power_cut(&fates);
        member.waiting = member.waiting.filter(|(at, _)| Some(*at) != step);
        member.settled = true;
        let mut down_ms = 500;
        if let Some(at) = step
            && let Action::Crash {
                keep, down_ms: ms, ..
            } = &mut self.plan.steps[at].action
        {
            *keep = Some(report.keep.clone());
            down_ms = *ms;
        }
        self.record(Some(node), What::PowerCut(report));
        self.boot_in(node, down_ms * 1000);
    }

    /// Kills the process: drops all that it holds. The disk's cache lives on.
    pub(super) fn stop_process(&mut self, node: NodeId) {
        let member = self.member(node);
        member.life = Life::Down;
        member.status = Default::default();
        // What its destructors still do must not reach the disk.
        member.disk.kill();
        member.process = Process::Off;
    }
}
