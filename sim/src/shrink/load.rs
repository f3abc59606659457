//! Simpler settings, less load.

use crate::plan::{Plan, STORE};
use crate::report::RunReport;

/// Their keys.
pub(super) const CLIENTS: [&str; 2] = ["clients", "readers"];

/// With all settings at their defaults, with those of each section, with each.
/// But for the disk's profile: what fails on that filesystem is what was asked.
pub(super) fn default_settings(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut except = super::size::COUNTED.to_vec();
    except.push("profile");
    let settings = plan.settings(&except);
    let sections = settings.chunk_by(|a, b| a.section == b.section);
    let groups = std::iter::once(&settings[..]).chain(sections);
    groups
        .chain(settings.chunks(1))
        .map(|group| {
            let mut simpler = plan.clone();
            simpler.reset(group);
            simpler
        })
        .collect()
}

/// With no client, with half of them, with one less.
pub(super) fn fewer_clients(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let (clients, readers) = (plan.workload.clients, plan.workload.readers);
    let mut candidates = Vec::new();
    if plan.scenario == STORE {
        return candidates;
    }
    for lower in lower(u64::from(clients), 0) {
        let mut fewer = plan.clone();
        fewer.workload.clients = lower as u32;
        candidates.push(fewer);
    }
    for lower in lower(u64::from(readers), 0) {
        let mut fewer = plan.clone();
        fewer.workload.readers = lower as u32;
        candidates.push(fewer);
    }
    candidates
}

/// Counts up to this many are lowered one by one, too.
const COUNT_MAX: u64 = 32;

/// What to try instead of a number: the least, half the way, one less.
pub(super) fn lower(value: u64, least: u64) -> Vec<u64> {
    let Some(room) = value.checked_sub(least) else {
        return Vec::new();
    };
    let mut lower = vec![least, least + room / 2];
    if room <= COUNT_MAX {
        lower.push(value.saturating_sub(1));
    }
    lower.dedup();
    lower.retain(|lower| *lower < value);
    lower
}
