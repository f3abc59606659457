//! The sections of a plan: their keys, defaults and bounds. The defaults belong
//! to the format: a key at its default is not written, so changing one would
//! change plans that exist. A new default needs a new version of the format.

use super::fields::{Line, Visit};
use super::words::DATA_BYTES_MAX;
use super::{Cluster, Disk, Heal, Net, Workload};
use crate::disk::Profile;
use crate::rng::Ratio;

const HOUR_MS: u64 = 3_600_000;
const MINUTE_US: u64 = 60_000_000;
const NEVER: Ratio = Ratio {
    numerator: 0,
    denominator: 1,
};

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            nodes: 3,
            spares: 0,
            tick_ms: 10,
            election_ticks: 15,
            heartbeat_ticks: 3,
            segment_bytes: 4096,
            chunk_bytes: 1024,
            cache_bytes: 65_536,
            trail_entries: 0,
            commit_hint_every: 0,
            unsynced_bytes: 65_536,
            append_bytes_max: 4096,
            inflight_max: 8,
            snapshot_every: 100,
            duration_ms: 20_000,
            converge_ms: 10_000,
            heal: Heal::All,
            drift: NEVER,
        }
    }
}

impl Line for Cluster {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.number("nodes", &mut self.nodes, 1..=super::words::NODES_MAX)?;
        v.number("spares", &mut self.spares, 0..=super::words::SPARES_MAX)?;
        v.number("tick_ms", &mut self.tick_ms, 1..=1000)?;
        v.number("election_ticks", &mut self.election_ticks, 2..=1000)?;
        v.number("heartbeat_ticks", &mut self.heartbeat_ticks, 1..=999)?;
        v.number("segment_bytes", &mut self.segment_bytes, 1024..=64 << 20)?;
        v.number("chunk_bytes", &mut self.chunk_bytes, 16..=DATA_BYTES_MAX)?;
        v.number("cache_bytes", &mut self.cache_bytes, 0..=64 << 20)?;
        let append_bytes_max = &mut self.append_bytes_max;
        v.number("append_bytes_max", append_bytes_max, 1..=16 << 20)?;
        v.number("inflight_max", &mut self.inflight_max, 1..=1024)?;
        v.number("snapshot_every", &mut self.snapshot_every, 1..=1_000_000)?;
        v.number("duration_ms", &mut self.duration_ms, 0..=HOUR_MS)?;
        v.number("converge_ms", &mut self.converge_ms, 1..=HOUR_MS)?;
        v.number("trail_entries", &mut self.trail_entries, 0..=1_000_000)?;
        let commit_hint_every = &mut self.commit_hint_every;
        v.number("commit_hint_every", commit_hint_every, 0..=1_000_000)?;
        v.number("unsynced_bytes", &mut self.unsynced_bytes, 0..=64 << 20)?;
        v.key("heal", &mut self.heal)?;
        v.key("drift", &mut self.drift)
    }
}

impl Default for Net {
    fn default() -> Self {
        Net {
            latency_us_min: 500,
            latency_us_max: 2000,
            loss: NEVER,
            duplicate: NEVER,
            reorder: NEVER,
            reorder_us_max: 10_000,
            corrupt: NEVER,
            uneven: 1,
            bandwidth: 0,
        }
    }
}

impl Line for Net {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        let (min, max) = (&mut self.latency_us_min, &mut self.latency_us_max);
        v.span("latency_us", min, max, 0..=MINUTE_US)?;
        v.key("loss", &mut self.loss)?;
        v.key("duplicate", &mut self.duplicate)?;
        v.key("reorder", &mut self.reorder)?;
        v.number("reorder_us_max", &mut self.reorder_us_max, 0..=MINUTE_US)?;
        v.key("corrupt", &mut self.corrupt)?;
        v.number("uneven", &mut self.uneven, 1..=100)?;
        v.number("bandwidth", &mut self.bandwidth, 0..=1 << 30)
    }
}

impl Default for Disk {
    fn default() -> Self {
        Disk {
            op_us_min: 20,
            op_us_max: 100,
            sync_us_min: 200,
            sync_us_max: 2000,
            short: NEVER,
            stall: NEVER,
            stall_us_max: 300_000,
            profile: Profile::POSIX_WORST,
            direct: false,
        }
    }
}

impl Line for Disk {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        let (min, max) = (&mut self.op_us_min, &mut self.op_us_max);
        v.span("op_us", min, max, 0..=MINUTE_US)?;
        let (min, max) = (&mut self.sync_us_min, &mut self.sync_us_max);
        v.span("sync_us", min, max, 0..=MINUTE_US)?;
        v.key("short", &mut self.short)?;
        v.key("stall", &mut self.stall)?;
        v.number("stall_us_max", &mut self.stall_us_max, 0..=MINUTE_US)?;
        v.key("profile", &mut self.profile)?;
        v.flag("direct", &mut self.direct)
    }
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            clients: 3,
            readers: 0,
            keys: 4,
            value_bytes_max: 200,
            reads: Ratio {
                numerator: 1,
                denominator: 3,
            },
            think_ms_max: 20,
            timeout_ms: 1000,
        }
    }
}

impl Line for Workload {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.number("clients", &mut self.clients, 0..=64)?;
        v.number("readers", &mut self.readers, 0..=64)?;
        v.number("keys", &mut self.keys, 1..=65_536)?;
        v.number("value_bytes_max", &mut self.value_bytes_max, 0..=65_536)?;
        v.key("reads", &mut self.reads)?;
        v.number("think_ms_max", &mut self.think_ms_max, 0..=HOUR_MS)?;
        v.number("timeout_ms", &mut self.timeout_ms, 1..=HOUR_MS)
    }
}
