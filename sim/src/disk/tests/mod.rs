//! Small scenarios, written as scripts: one operation a line or between `;`.
//!
//! ```text
//! create f | write f A5000 (appends) | write f @2000 B10 | set_len f 6000
//! allocate f 65536 | sync f | rename f g | unlink f | mkdir d | sync_dir [d]
//! sync | fail_sync f | evict | kill (and boot)
//! ```
//! A content of the disk is `f=A5000 .10; g=`: five thousand `A`, ten zeros,
//! and an empty file.

mod crash_points;
mod decay;
mod faults;
mod profiles;
mod properties;
mod rules;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::{File, Fs, SyncMode};

use super::*;

type Files = BTreeMap<String, Vec<u8>>;

/// A disk and the incarnation that runs on it.
struct Rig {
    disk: SimFs,
    fs: Arc<dyn Fs>,
}

impl Rig {
    fn new() -> Self {
        Rig::on(SimFs::new(1))
    }

    fn on(disk: SimFs) -> Self {
        let fs = disk.boot();
        Rig { disk, fs }
    }

    fn run(&mut self, script: &str) {
        for line in script.split([';', '\n']) {
            if let Err(error) = self.step(line.trim()) {
                panic!("{line}: {error}");
            }
        }
    }

    fn open(&self, name: &str) -> Box<dyn File> {
        self.fs.open(Path::new(name)).unwrap()
    }

    /// One operation.
    fn step(&mut self, line: &str) -> io::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let open = |name: &str| self.fs.open(Path::new(name));
        match words[..] {
            [] => Ok(()),
            ["create", name] => self.fs.create_new(Path::new(name)).map(drop),
            ["write", name, bytes] => {
                let file = open(name)?;
                let at = file.len()?;
                write_all(&*file, at, &parse_bytes(bytes))
            }
            ["write", name, at, bytes] => {
                let at = at.strip_prefix('@').unwrap().parse().unwrap();
                write_all(&*open(name)?, at, &parse_bytes(bytes))
            }
            ["set_len", name, len] => open(name)?.set_len(len.parse().unwrap()),
            ["allocate", name, len] => open(name)?.allocate(0, len.parse().unwrap()),
            ["sync", name] => open(name)?.sync(SyncMode::Data),
            ["fail_sync", name] => {
                let file = open(name)?;
                self.disk
                    .arm_fail(fail(&format!("sync:{name}"), 1, FaultKind::Eio));
                let error = file.sync(SyncMode::All).unwrap_err();
                assert!(is_injected(&error));
                Ok(())
            }
            ["rename", from, to] => self.fs.rename(Path::new(from), Path::new(to)),
            ["unlink", name] => self.fs.unlink(Path::new(name)),
            ["mkdir", dir] => self.fs.create_dir(Path::new(dir)),
            ["sync_dir"] => self.fs.sync_dir(Path::new(".")),
            ["sync_dir", dir] => self.fs.sync_dir(Path::new(dir)),
            ["sync"] => {
                self.disk.sync_all();
                Ok(())
            }
            ["evict"] => {
                self.disk.evict();
                Ok(())
            }
            ["kill"] => {
                self.disk.kill();
                self.fs = self.disk.boot();
                Ok(())
            }
            _ => panic!("not a step: {line}"),
        }
    }
}

fn write_all(file: &dyn File, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(bytes, at)?;
        at += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn fail(pattern: &str, nth: u64, fault: FaultKind) -> FailTrigger {
    let pattern = pattern.parse().unwrap();
    FailTrigger {
        pattern,
        nth,
        fault,
    }
}

fn crash(pattern: &str, nth: u64, point: CrashPoint) -> CrashTrigger {
    let pattern = pattern.parse().unwrap();
    CrashTrigger {
        pattern,
        nth,
        point,
    }
}

/// `A3 .2` as bytes.
fn parse_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in text.split_whitespace() {
        let byte = match run.as_bytes()[0] {
            b'.' => 0,
            byte => byte,
        };
        bytes.resize(bytes.len() + run[1..].parse::<usize>().unwrap(), byte);
    }
    bytes
}

fn parse_files(text: &str) -> Files {
    let files = text.split(';').filter(|file| !file.trim().is_empty());
    let files = files.map(|file| file.split_once('=').unwrap());
    files
        .map(|(name, bytes)| (name.trim().to_owned(), parse_bytes(bytes)))
        .collect()
}

fn show(files: &Files) -> String {
    let files = files.iter().map(|(name, bytes)| {
        let runs = bytes.chunk_by(|a, b| a == b);
        let runs = runs.map(|run| match run[0] {
            0 => format!(".{}", run.len()),
            byte => format!("{}{}", byte as char, run.len()),
        });
        format!("{name}={}", runs.collect::<Vec<_>>().join(" "))
    });
    files.collect::<Vec<_>>().join("; ")
}

/// More than there are bytes in a test.
const LENGTH: usize = 1 << 20;

/// How far two contents are apart: names weigh most, then lengths, then bytes.
fn distance(a: &Files, b: &Files) -> usize {
    let names = a.keys().chain(b.keys());
    names
        .map(|name| match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => {
                let wrong = a.iter().zip(b).filter(|(a, b)| a != b).count();
                wrong + a.len().abs_diff(b.len()) * LENGTH
            }
            _ => LENGTH * LENGTH,
        })
        .sum()
}

/// What a power cut would leave, with these fates.
fn left(disk: &SimFs, fates: &Fates) -> Files {
    let fork = disk.fork();
    fork.power_cut_unreported(fates);
    fork.durable_files()
}

/// The fates that leave exactly these files, if there are any. All subsets of
/// the name operations and lengths are tried; then each sector for itself, for
/// they are independent.
fn reach(disk: &SimFs, wanted: &Files) -> Option<Keep> {
    let pending = disk.pending();
    let is_sector = |unit: &Unit| matches!(unit.part, Part::Sector(_) | Part::Garbage(_));
    let (sectors, others): (Vec<Unit>, Vec<Unit>) = pending.into_iter().partition(is_sector);
    assert!(others.len() < 12, "too many subsets: {others:?}");
    for subset in 0..1u32 << others.len() {
        let chosen = (0..others.len()).filter(|bit| subset & 1 << bit != 0);
        let mut keep: Keep = chosen.map(|bit| others[bit]).collect();
        let away = |keep: &Keep| distance(&left(disk, &Fates::Explicit(keep.clone())), wanted);
        let mut best = away(&keep);
        if best >= LENGTH {
            continue;
        }
        for unit in &sectors {
            keep.insert(*unit);
            match away(&keep) {
                closer if closer < best => best = closer,
                _ => keep.remove(*unit),
            }
        }
        if best == 0 {
            return Some(keep);
        }
    }
    None
}

/// After the script, a power cut may leave each content of `possible`, and none
/// of `impossible`.
fn check(script: &str, possible: &[&str], impossible: &[&str]) {
    let mut rig = Rig::new();
    rig.run(script);
    for content in possible {
        let reached = reach(&rig.disk, &parse_files(content));
        assert!(reached.is_some(), "{script}\ncannot leave {content}");
    }
    for content in impossible {
        let reached = reach(&rig.disk, &parse_files(content));
        assert!(
            reached.is_none(),
            "{script}\ncan leave {content}: {reached:?}"
        );
    }
    // What chance leaves is no other thing than what can be written down.
    for seed in 0..200 {
        let left = show(&left(&rig.disk, &Fates::Random(seed)));
        assert!(
            !impossible.contains(&left.as_str()),
            "{script}\n{seed}: {left}"
        );
    }
}
