//! W1 to W3: appends of 256 B that are durable before the next.

use std::path::Path;

use crate::log::{Log, Payloads, Result};
use crate::ours::Ours;
use crate::peers::{OkayWal, RaftEngine};
use crate::raw::{RawGroup, RawZero};
use crate::raw_direct::RawDirect;
use crate::rounds::{interleave, print, timed};
use crate::settings::Settings;

/// Data of one entry.
const BYTES: usize = 256;
/// What our format puts around an entry: the price of its bytes alone.
const FRAME: usize = 48;
/// At first nothing is prepared, and pages and allocator are cold.
const UNMEASURED: usize = 3;

struct Workload {
    title: &'static str,
    writers: usize,
    /// Entries that become durable together.
    batch: usize,
    /// Appends of each writer in a round.
    times: usize,
}

const WORKLOADS: [(&str, Workload); 3] = [
    (
        "w1",
        Workload {
            title: "W1: one 256 B entry a sync",
            writers: 1,
            batch: 1,
            times: 400,
        },
    ),
    (
        "w2",
        Workload {
            title: "W2: batches of 64 entries",
            writers: 1,
            batch: 64,
            times: 150,
        },
    ),
    (
        "w3",
        Workload {
            title: "W3: 16 writers, each waiting for each of its entries",
            writers: 16,
            batch: 1,
            times: 100,
        },
    ),
];

pub fn run(name: &str, settings: &Settings) -> Result<()> {
    for (_, workload) in WORKLOADS.iter().filter(|(key, _)| *key == name) {
        compare(workload, settings)?;
    }
    Ok(())
}

fn compare(workload: &Workload, settings: &Settings) -> Result<()> {
    let dir = tempfile::tempdir_in(&settings.dir)?;
    let place = |name: &str| -> Result<std::path::PathBuf> {
        let path = dir.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    type Make<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn Log>>;
    let raw: (&str, Make) = match workload.writers {
        1 => ("raw_zero", &|path| Ok(Box::new(RawZero::new(path, 0)?))),
        _ => ("raw_gc", &|path| Ok(Box::new(RawGroup::new(path)?))),
    };
    let mut makers: Vec<(&str, Make)> = vec![
        raw,
        ("ours", &|path| Ok(Box::new(Ours::open(path)?))),
        ("ours, buffered", &|path| {
            Ok(Box::new(Ours::buffered(path)?))
        }),
        ("ours, log thread woken", &|path| {
            Ok(Box::new(Ours::waking(path)?))
        }),
        ("raft-engine, prefilled", &|path| {
            Ok(Box::new(RaftEngine::open(path)?.past_the_first_file()?))
        }),
        ("okaywal, entries kept", &|path| {
            Ok(Box::new(OkayWal::open(path)?))
        }),
    ];
    if workload.writers == 1 {
        makers.push(("raw_zero, our frames", &|path| {
            Ok(Box::new(RawZero::new(path, FRAME)?))
        }));
        makers.push(("raw_direct", &|path| Ok(Box::new(RawDirect::new(path)?))));
    }
    makers.retain(|(name, _)| name.starts_with("raw_") && *name == raw.0 || settings.wants(name));
    let mut logs = Vec::new();
    for (name, make) in makers {
        logs.push((name, make(&place(name)?)?));
    }
    let names: Vec<_> = logs.iter().map(|(name, _)| *name).collect();
    let payloads = Payloads::new(BYTES);
    let rows = interleave(&names, UNMEASURED, settings.rounds, |who| {
        round(workload, &payloads, &*logs[who].1)
    })?;
    let entries = workload.writers * workload.batch * workload.times;
    print(workload.title, "entries/s", entries as f64, &rows);
    Ok(())
}

fn round(workload: &Workload, payloads: &Payloads, log: &dyn Log) -> Result<std::time::Duration> {
    // What is handed over is made before: the disk is measured.
    let batches: Vec<_> = (0..workload.times as u64)
        .map(|n| payloads.batch(n, workload.batch))
        .collect();
    let write = |writer: usize| -> Result<()> {
        batches
            .iter()
            .try_for_each(|batch| log.append_durable(writer, batch))
    };
    timed(|| {
        if workload.writers == 1 {
            return write(0);
        }
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..workload.writers)
                .map(|writer| scope.spawn(move || write(writer)))
                .collect();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
        })
    })
}
