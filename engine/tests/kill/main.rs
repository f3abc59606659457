//! Real processes on a real disk: a child appends, and says what was
//! acknowledged; it is killed in the middle of it; whoever opens the directory
//! then must find all of that, and nothing else. The directory grows through
//! all rounds, so that each child recovers from the death of the one before.
//!
//! A kill loses nothing of the cache, so this is not a test of syncs: power cuts
//! are the simulator's. It is one of the real parts: processes, signals, locks,
//! the log thread, OsFs.
//!
//! `just kill 1000` runs it for longer. This is its own test harness, since the
//! test runs itself as the child.

mod child;
mod parent;

use std::path::Path;
use std::process::ExitCode;

use afterimage_engine::{Entry, EntryKind, Index, Term};

const NAME: &str = "what_was_acknowledged_survives_the_kill_of_its_process";
const ROUNDS_DEFAULT: u64 = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["child", dir, seed] => {
            child::run(Path::new(dir), seed.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        ["rounds", n] => {
            parent::run(n.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        _ => {
            // As libtest has it: options, and parts of the names to run.
            if args.contains(&"--list") {
                println!("{NAME}: test");
            } else if args.iter().all(|a| a.starts_with('-') || NAME.contains(a)) {
                parent::run(ROUNDS_DEFAULT);
                println!("test {NAME} ... ok");
            }
            ExitCode::SUCCESS
        }
    }
}

/// The entry of this place: its content follows from it.
fn entry(term: u64, index: u64) -> Entry {
    let len = draw(term ^ (index << 20)) % 3000;
    let data = [term as u8, index as u8, 0xa5].repeat(len as usize / 3);
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: index as i64,
        data: data.into(),
    }
}

/// A number that follows from another (splitmix64).
fn draw(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
