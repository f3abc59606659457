//! The tools for directories (`engine::inspect`) against the engine itself: on
//! whatever power cuts and rot leave behind, `verify` must say what an open then
//! does, and `repair` must lead to a store that opens.

mod damage;
mod history;
mod lookout;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::inspect::{Action, Effect, Inspector, Repair, Verified, What};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Report, Store};
use afterimage_engine::{Error, Host, Index, Result, Term};
use afterimage_sim::disk::{CrashPoint, CrashTrigger, Fates, SimFs};
use afterimage_sim::rng::SimRng;

use history::{Counting, DIR, entry, open_store};
use lookout::Lookout;

/// What a verify says, and that it changed nothing. It sees a copy of the disk.
fn verify(disk: &SimFs) -> Verified {
    let copy = disk.fork();
    let fs = Arc::new(Lookout(copy.boot()));
    let before = copy.image_hash();
    let verified = match Inspector::open(fs.clone(), Path::new(DIR)) {
        Ok(inspector) => {
            inspector
                .dump(|_| Ok::<_, Error>(()))
                .expect("whatever is there is handed out");
            inspector.verify().expect("nothing is wrong with the disk")
        }
        Err(e) => panic!("{e}"),
    };
    assert_eq!(copy.image_hash(), before);
    verified
}

/// All that a store holds; or why not all of it can be read.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    first: Index,
    last: Index,
    terms: Vec<Term>,
    /// Its last index, and the length of its data.
    snapshot: Option<(Index, usize)>,
    term: Term,
}

fn read(store: &Store) -> Result<Contents> {
    let mut contents = Contents {
        first: store.first_index(),
        last: store.last_index(),
        terms: Vec::new(),
        snapshot: None,
        term: store.hard_state().term,
    };
    let mut next = contents.first;
    while next <= contents.last {
        for found in store.entries(next, 4000)? {
            assert_eq!(found, entry(found.term.0, found.index.0), "a wrong byte");
            contents.terms.push(found.term);
            next = found.index.next();
        }
    }
    if let Some(reader) = store.open_snapshot()? {
        let mut data = Vec::new();
        while data.len() < reader.data_len() as usize {
            data.extend(reader.read(data.len() as u64)?);
        }
        let last = reader.meta().last_index;
        assert!(data.iter().all(|&b| b == last.0 as u8), "a wrong byte");
        contents.snapshot = Some((last, data.len()));
    }
    Ok(contents)
}

/// An open of a copy of the disk, and what can be read then.
fn open(disk: &SimFs) -> (Result<Report>, Option<Result<Contents>>) {
    match open_store(&disk.fork(), 1 << 40) {
        Ok((store, report)) => (Ok(report), Some(read(&store))),
        Err(e) => (Err(e), None),
    }
}

fn refuses(verified: &Verified) -> bool {
    has(verified, Effect::Refuses)
}

fn has(verified: &Verified, effect: Effect) -> bool {
    verified.problems.iter().any(|p| p.effect == effect)
}

/// Verify and open agree; returns what verify said.
fn agree(disk: &SimFs, what: &str) -> Verified {
    let verified = verify(disk);
    let (opened, contents) = open(disk);
    assert_eq!(refuses(&verified), opened.is_err(), "{what}: {verified:#?}");
    // What an open refuses for was found by reading, too: else it would be told
    // once more, in the words of the open.
    let mut places: Vec<_> = verified
        .problems
        .iter()
        .map(|p| (&p.path, p.offset))
        .collect();
    places.sort();
    places.dedup();
    assert_eq!(
        places.len(),
        verified.problems.len(),
        "{what}: {verified:#?}"
    );
    match (&verified.opens, &opened) {
        (Ok(said), Ok(report)) => {
            assert_eq!(said.first_index, report.first_index, "{what}");
            assert_eq!(said.last_index, report.last_index, "{what}");
            assert_eq!(said.hard_state, report.hard_state, "{what}");
            assert_eq!(said.snapshot, report.snapshot, "{what}");
            assert_eq!(said.proven_index, report.proven_index, "{what}");
            assert_eq!(said.torn_tail, report.torn_tail, "{what}");
            assert_eq!(said.ambiguous_tail, report.ambiguous_tail, "{what}");
            assert_eq!(said.bad_hard_state_slot, report.bad_hard_state_slot);
        }
        (Err(said), Err(error)) => assert_eq!(said.to_string(), error.to_string(), "{what}"),
        (said, opened) => panic!("{what}: {said:?} but {opened:?}"),
    }
    if let Err(Error::Corrupt { path, offset, .. }) = &opened {
        let named = |p: &&afterimage_engine::inspect::Problem| {
            p.effect == Effect::Refuses && p.path == *path && p.offset == *offset
        };
        assert!(
            verified.problems.iter().any(|p| named(&p)),
            "{what}: {verified:#?}"
        );
    }
    if let Some(contents) = contents {
        let lurks = has(&verified, Effect::Lurks);
        assert_eq!(
            contents.is_err(),
            lurks,
            "{what}: {contents:?} {verified:#?}"
        );
    }
    verified
}

fn repairer(disk: &SimFs) -> Inspector {
    Inspector::open_to_repair(disk.boot(), Path::new(DIR)).expect("it is a log directory")
}

/// Proposes, backs up and repairs.
fn repair(disk: &SimFs, backup: &str) -> Result<Repair> {
    let mut inspector = repairer(disk);
    let repair = inspector.propose()?;
    if repair.is_possible() {
        inspector.back_up(&PathBuf::from(backup))?;
        // Names of unfinished files must differ from one attempt to the next.
        let salt = backup.len() as u64 * 1000;
        inspector.carry_out(&repair, &Counting(salt.into()))?;
    }
    Ok(repair)
}

/// A repair leads to a store that opens, is clean, and has lost what it said.
fn mends(disk: &SimFs, verified: &Verified, what: &str) -> Repair {
    let (before, contents) = open(disk);
    let mended = disk.fork();
    // What no sync had covered may go with the power whatever is mended.
    mended.power_cut(&Fates::KeepAll);
    let files = |disk: &SimFs, dir: &str| {
        let mut files = disk.cached_files();
        files.retain(|name, _| name.starts_with(dir) && !name.ends_with("LOCK"));
        files.into_values().collect::<Vec<_>>()
    };
    let original = files(disk, "raft/");
    let repair = repair(&mended, "/backup").expect("the disk is well");
    let changes = !repair.actions.is_empty();
    assert_eq!(
        verified.is_clean(),
        !changes && repair.unmended.is_empty(),
        "{what}: {repair:#?}"
    );
    if !repair.is_possible() {
        assert_eq!(
            files(&mended, "raft/"),
            original,
            "{what}: it changed something"
        );
        return repair;
    }
    assert_eq!(
        files(&mended, "backup/"),
        original,
        "{what}: no true backup"
    );
    // What was done is durable.
    mended.power_cut(&Fates::Lose);
    let after = agree(&mended, what);
    assert_eq!(
        after.is_clean(),
        repair.unmended.is_empty(),
        "{what}: {repair:#?} {after:#?}"
    );
    let (report, now) = open(&mended);
    let report = report.unwrap_or_else(|e| panic!("{what}: {e} after {repair:#?}"));
    if let Some(loss) = &repair.loss {
        assert_eq!(report.last_index, loss.from.prev(), "{what}: {loss:?}");
    }
    // What opens without a repair has the same content after it.
    if let (Ok(before), Some(Ok(contents)), Some(Ok(now))) = (&before, contents, &now) {
        assert_eq!(before.last_index, report.last_index, "{what}: {repair:#?}");
        assert_eq!(&contents, now, "{what}");
    }
    repair
}

#[test]
fn verify_says_what_an_open_does_after_any_crash() {
    let mut torn = 0;
    for seed in 0..1000 {
        let disk = history::crashed(seed);
        let what = format!("seed {seed}");
        if !disk
            .cached_files()
            .keys()
            .any(|name| name.starts_with("raft/"))
        {
            continue; // the power went before anything had a name
        }
        let verified = agree(&disk, &what);
        for problem in &verified.problems {
            assert!(
                matches!(problem.what, What::TornTail { .. }),
                "{what}: a crash alone left {problem:?}"
            );
            torn += 1;
        }
        mends(&disk, &verified, &what);
    }
    // Rare: a batch must be larger than a sector, and the cut fall into it.
    assert!(torn >= 5, "{torn}");
}

#[test]
fn verify_says_what_an_open_does_with_rot_and_repair_mends_it() {
    let mut seen = Seen::default();
    for seed in 0..1500 {
        let disk = history::crashed(seed);
        let mut rng = SimRng::new(seed, "damage");
        let done = damage::damage(&disk, &mut rng);
        let what = format!("seed {seed}, {done:?}");
        let names = disk.cached_files();
        if !names.keys().any(|name| name.starts_with("raft/")) {
            continue;
        }
        let verified = agree(&disk, &what);
        let repair = mends(&disk, &verified, &what);
        seen.count(&verified, &repair);
    }
    seen.check();
}

/// How often something happened: what never does is not tested.
#[derive(Debug, Default)]
struct Seen {
    refused: u32,
    lurking: u32,
    healing: u32,
    mended: u32,
    unmended: u32,
    ended: u32,
    removed: u32,
    rewritten: u32,
    covered: u32,
}

impl Seen {
    fn count(&mut self, verified: &Verified, repair: &Repair) {
        self.refused += u32::from(refuses(verified));
        self.lurking += u32::from(has(verified, Effect::Lurks));
        self.healing += u32::from(has(verified, Effect::Heals));
        self.unmended += u32::from(!repair.is_possible());
        self.mended += u32::from(repair.is_possible() && refuses(verified));
        for action in &repair.actions {
            match action {
                Action::EndLog { .. } => self.ended += 1,
                Action::Remove { why, .. } if why.contains("covers") => self.covered += 1,
                Action::Remove { .. } => self.removed += 1,
                Action::RewriteSlot { .. } => self.rewritten += 1,
            }
        }
    }

    fn check(&self) {
        let Seen {
            refused,
            lurking,
            healing,
            mended,
            unmended,
            ended,
            removed,
            rewritten,
            covered,
        } = *self;
        let all = [
            refused, lurking, healing, mended, unmended, ended, removed, rewritten, covered,
        ];
        assert!(all.into_iter().all(|n| n >= 5), "{self:?}");
    }
}

#[test]
fn a_power_cut_in_a_repair_leaves_what_can_be_repaired() {
    let mut cuts = 0;
    for seed in 0..150 {
        let disk = history::crashed(seed);
        damage::damage(&disk, &mut SimRng::new(seed, "damage"));
        if !disk.cached_files().contains_key("raft/hardstate") {
            continue;
        }
        let whole = disk.fork();
        let proposed = repair(&whole, "/backup").expect("the disk is well");
        if !proposed.is_possible() || proposed.actions.is_empty() {
            continue;
        }
        let (_, expected) = open(&whole);
        for nth in 1.. {
            let cut = disk.fork();
            cut.arm_crash(CrashTrigger {
                pattern: "*".parse().expect("a pattern"),
                nth,
                point: CrashPoint::ALL[nth as usize % 3],
            });
            let result = repair(&cut, "/backup");
            if !cut.crash_fired() {
                break;
            }
            drop(result);
            cut.power_cut(&Fates::Random(seed * 1000 + nth));
            cuts += 1;
            let what = format!("seed {seed}, cut {nth}, {proposed:#?}");
            repair(&cut, "/backup-2").unwrap_or_else(|e| panic!("{what}: {e}"));
            let (report, found) = open(&cut);
            report.unwrap_or_else(|e| panic!("{what}: {e}"));
            match (&found, &expected) {
                (Some(Ok(found)), Some(Ok(expected))) => assert_eq!(found, expected, "{what}"),
                (found, expected) => assert_eq!(
                    matches!(found, Some(Err(_))),
                    matches!(expected, Some(Err(_))),
                    "{what}"
                ),
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}

/// A snapshot that discarded the log is gone: what it discarded must not come
/// back, and its state is nowhere else.
#[test]
fn a_log_behind_a_lost_snapshot_is_not_mended() {
    let mut seen = 0;
    for seed in 0..300 {
        let disk = history::crashed(seed);
        let snapshot = Path::new("raft/snapshot");
        if disk.boot().unlink(snapshot).is_err() {
            continue;
        }
        let what = format!("seed {seed}");
        let verified = agree(&disk, &what);
        let repair = mends(&disk, &verified, &what);
        let lost =
            |p: &afterimage_engine::inspect::Problem| matches!(p.what, What::NoSnapshot { .. });
        if verified.problems.iter().any(lost) {
            assert!(!repair.is_possible(), "{what}: {repair:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn a_backup_that_does_not_fit_changes_nothing() {
    let disk = history::crashed(3);
    disk.power_cut(&Fates::KeepAll);
    let files = |disk: &SimFs| {
        let mut files = disk.cached_files();
        files.retain(|_, bytes| !bytes.is_empty());
        files
    };
    let before = files(&disk);
    disk.limit_space(Some(512));
    let inspector = repairer(&disk);
    let full = inspector.back_up(Path::new("/backup"));
    assert!(full.is_err_and(|e| e.is_no_space()));
    assert_eq!(files(&disk), before);
    // And once there is space, what is left of it is in nobody's way.
    disk.limit_space(None);
    inspector
        .back_up(Path::new("/backup"))
        .expect("there is space");
    let exists = inspector.back_up(Path::new("/backup"));
    assert!(exists.is_err(), "it is never overwritten");
}

#[test]
fn whoever_holds_the_directory_is_named() {
    let disk = SimFs::new(1);
    let fs = disk.boot();
    let host = Host {
        fs: fs.clone(),
        env: Arc::new(Counting::default()),
    };
    let store = Store::open(host, Path::new(DIR), history::options(1024)).run();
    let refused = Inspector::open(fs.clone(), Path::new(DIR)).expect_err("it is open");
    assert!(
        refused.to_string().contains("held by incarnation 1"),
        "{refused}"
    );
    drop(store);
    Inspector::open(fs.clone(), Path::new(DIR)).expect("it is free");
    let none = Inspector::open(fs, Path::new("/")).expect_err("no log there");
    assert!(matches!(none, Error::NotALog { .. }), "{none}");
}
