//! What holds for every sequence of operations.

use proptest::prelude::*;

use super::*;

/// Steps of the script language over few names, so that they collide. Those
/// that do not apply are refused, and change nothing.
fn step() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "d/a", "d/b"]);
    let bytes = (b'A'..=b'Z', 1..2500u32).prop_map(|(byte, len)| format!("{}{len}", byte as char));
    prop_oneof![
        3 => name.clone().prop_map(|name| format!("create {name}")),
        1 => Just("mkdir d".to_owned()),
        6 => (name.clone(), bytes.clone()).prop_map(|(name, bytes)| format!("write {name} {bytes}")),
        3 => (name.clone(), 0..4000u32, bytes)
            .prop_map(|(name, at, bytes)| format!("write {name} @{at} {bytes}")),
        2 => (name.clone(), 0..4000u32).prop_map(|(name, len)| format!("set_len {name} {len}")),
        1 => (name.clone(), 1..4000u32).prop_map(|(name, len)| format!("allocate {name} {len}")),
        3 => name.clone().prop_map(|name| format!("sync {name}")),
        1 => name.clone().prop_map(|name| format!("fail_sync {name}")),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| format!("rename {from} {to}")),
        2 => name.prop_map(|name| format!("unlink {name}")),
        2 => Just("sync_dir".to_owned()),
        1 => Just("sync_dir d".to_owned()),
        1 => Just("kill".to_owned()),
        1 => Just("evict".to_owned()),
    ]
}

fn after(steps: &[String]) -> Rig {
    after_on(Profile::POSIX_WORST, steps)
}

fn profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(Profile::ALL.to_vec())
}

fn after_on(profile: Profile, steps: &[String]) -> Rig {
    let mut rig = Rig::on(SimFs::with_profile(1, profile));
    for line in steps {
        let _ = rig.step(line);
        rig.disk.disarm_fails();
    }
    rig
}

fn all_fates(seed: u64) -> [Fates; 3] {
    [Fates::Lose, Fates::KeepAll, Fates::Random(seed)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A crash, written down and read again, is the same crash.
    #[test]
    fn explicit_fates_reproduce_random_ones(
        profile in profile(),
        steps in prop::collection::vec(step(), 0..40),
        seed in any::<u64>(),
    ) {
        let rig = after_on(profile, &steps);
        for fates in all_fates(seed) {
            let (drawn, written) = (rig.disk.fork(), rig.disk.fork());
            let report = drawn.power_cut(&fates);
            let keep: Keep = report.keep.to_string().parse().unwrap();
            prop_assert_eq!(&keep, &report.keep);
            let again = written.power_cut(&Fates::Explicit(keep));
            prop_assert_eq!(&again, &report);
            prop_assert_eq!(drawn.durable_files(), written.durable_files());
            prop_assert_eq!(drawn.image_hash(), written.image_hash());
            prop_assert_eq!(drawn.cached_files(), written.cached_files());
            let unreported = rig.disk.fork();
            unreported.power_cut_unreported(&fates);
            prop_assert_eq!(drawn.durable_files(), unreported.durable_files());
            prop_assert_eq!(drawn.pending(), []);
            prop_assert_eq!(report.kept + report.lost > 0, !rig.disk.pending().is_empty());
        }
    }

    /// The cutter foretells the hash of every cut.
    #[test]
    fn a_cutter_knows_what_a_cut_would_leave(
        profile in profile(),
        steps in prop::collection::vec(step(), 0..40),
        seed in any::<u64>(),
        subsets in prop::collection::vec(prop::collection::vec(any::<bool>(), 64), 4),
    ) {
        let rig = after_on(profile, &steps);
        let mut cutter = rig.disk.cutter();
        prop_assert_eq!(cutter.units(), rig.disk.pending());
        let built = |fates: &Fates| {
            let fork = rig.disk.fork();
            fork.power_cut_unreported(fates);
            fork.image_hash()
        };
        for fates in all_fates(seed) {
            prop_assert_eq!(rig.disk.outcome_hash(&fates), built(&fates));
            prop_assert_eq!(cutter.hash_of(&fates), built(&fates));
        }
        for subset in subsets {
            let kept = subset.iter().copied().cycle();
            let kept: Vec<bool> = kept.take(cutter.units().len()).collect();
            let keep = Fates::Explicit(cutter.keep(&kept));
            prop_assert_eq!(cutter.hash(&kept), built(&keep));
        }
    }

    /// What a cut leaves is among what it can leave.
    #[test]
    fn a_content_that_was_left_can_be_left(
        profile in profile(),
        steps in prop::collection::vec(step(), 0..20),
        subset in prop::collection::vec(any::<bool>(), 64),
    ) {
        let disk = after_on(profile, &steps).disk;
        let kept = disk.pending().into_iter().zip(subset.into_iter().cycle());
        // Noise is in no list of what can be left.
        let kept = kept.filter(|(unit, kept)| *kept && !matches!(unit.part, Part::Garbage(_)));
        let fork = disk.fork();
        fork.power_cut_unreported(&Fates::Explicit(kept.map(|(unit, _)| unit).collect()));
        let left = fork.durable_files();
        prop_assert!(disk.can_leave(&left, &[]), "{}", show(&left));
        if let Some(outcomes) = disk.outcomes(&[], 5000) {
            let settled = fork.outcomes(&[], 1).unwrap();
            prop_assert!(outcomes.is_superset(&settled), "{} is not counted", show(&left));
        }
    }

    /// A keep of another disk is ignored where it does not apply.
    #[test]
    fn explicit_fates_are_total(
        profile in profile(),
        steps in prop::collection::vec(step(), 0..30),
        others in prop::collection::vec(step(), 0..30),
        seed in any::<u64>(),
    ) {
        let keep = after_on(profile, &others).disk.power_cut(&Fates::Random(seed)).keep;
        let disk = after_on(profile, &steps).disk;
        let pending = disk.pending();
        let report = disk.power_cut(&Fates::Explicit(keep));
        for unit in report.keep.units() {
            prop_assert!(pending.contains(&unit), "{:?} was not pending", unit);
        }
    }

    /// Whatever is pending beside it, what was synced is there.
    #[test]
    fn synced_data_survives(
        profile in profile(),
        before in prop::collection::vec(step(), 0..30),
        after_it in prop::collection::vec(step(), 0..20),
        seed in any::<u64>(),
    ) {
        let mut rig = after_on(profile, &before);
        rig.run("create safe; write safe S1500; sync safe; sync_dir");
        for line in &after_it {
            let _ = rig.step(line);
        }
        for fates in all_fates(seed) {
            let left = left(&rig.disk, &fates);
            prop_assert_eq!(left.get("safe").map(Vec::as_slice), Some(&[b'S'; 1500][..]));
        }
    }

    /// Losing or keeping all is what the two views of the disk say, but for
    /// pages that lie.
    #[test]
    fn lose_leaves_the_disk_and_keep_all_the_cache(
        profile in profile(),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let disk = after_on(profile, &steps).disk;
        if profile.log == Log::None {
            prop_assert_eq!(left(&disk, &Fates::Lose), disk.durable_files());
        }
        let lied = steps.iter().any(|line| line.starts_with("fail_sync"));
        if !lied {
            prop_assert_eq!(left(&disk, &Fates::KeepAll), disk.cached_files());
        }
    }

    /// A fork and its original share no fate.
    #[test]
    fn a_fork_is_independent(
        steps in prop::collection::vec(step(), 0..30),
        more in prop::collection::vec(step(), 1..20),
        seed in any::<u64>(),
    ) {
        let rig = after(&steps);
        let before = (rig.disk.durable_files(), rig.disk.cached_files(), rig.disk.pending());
        let mut fork = Rig::on(rig.disk.fork());
        for line in &more {
            let _ = fork.step(line);
        }
        fork.disk.power_cut(&Fates::Random(seed));
        let now = (rig.disk.durable_files(), rig.disk.cached_files(), rig.disk.pending());
        prop_assert_eq!(before, now);
    }

    /// The incremental hash is a function of the content.
    #[test]
    fn equal_images_hash_alike(
        steps in prop::collection::vec(step(), 0..40),
        seed in any::<u64>(),
    ) {
        let disk = after(&steps).disk;
        disk.power_cut(&Fates::Random(seed));
        let mut copy = Rig::new();
        copy.run("mkdir d");
        if disk.boot().list(Path::new("d")).is_err() {
            copy = Rig::new();
        }
        for (name, bytes) in disk.durable_files() {
            let file = copy.fs.create_new(Path::new(&name)).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            write_all(&*file, 0, &bytes).unwrap();
        }
        copy.disk.sync_all();
        prop_assert_eq!(copy.disk.durable_files(), disk.durable_files());
        prop_assert_eq!(copy.disk.image_hash(), disk.image_hash());
    }
}

/// The same seed and operations give the same disk, to the last byte.
#[test]
fn a_run_repeats() {
    let run = || {
        let mut rig = Rig::on(SimFs::new(7));
        rig.disk.short_io("1/3".parse().unwrap());
        rig.disk.record_ops(true);
        rig.run("create f; write f A5000; write f B5000; create g; write g C700; unlink g");
        rig.run("write f D9000; sync_dir; rename f h");
        let names = rig.fs.list(Path::new("")).unwrap();
        let report = rig.disk.power_cut(&Fates::Random(3));
        (names, report, rig.disk.durable_files(), rig.disk.take_ops())
    };
    assert_eq!(run(), run());
}

/// The seeds find the states that uniform coins practically never do: exactly
/// one of many effects lost, and exactly one kept.
#[test]
fn random_fates_find_single_effects() {
    let mut rig = Rig::new();
    rig.run("create f; write f A20480; sync f; sync_dir; write f @0 B20480");
    let counts: Vec<(usize, usize)> = (0..400)
        .map(|seed| {
            let report = rig.disk.fork().power_cut(&Fates::Random(seed));
            (report.kept, report.lost)
        })
        .collect();
    for wanted in [(0, 40), (1, 39), (39, 1), (40, 0)] {
        assert!(counts.contains(&wanted), "{wanted:?} in none of 400 seeds");
    }
    assert!(counts.iter().any(|(kept, _)| (10..30).contains(kept)));
}

/// The log ends before the write that chance wanted of a sector: the version
/// below it is a cut, which is in the log itself, and brings its length along.
#[test]
fn a_wish_that_the_log_cuts_short_is_written_down_as_what_came_of_it() {
    let profile = Profile::by_name("ext4-ordered").unwrap();
    let mut rig = Rig::on(SimFs::with_profile(1, profile));
    rig.run("create b; mkdir d; create c; write b A565; sync c; set_len b 1");
    rig.run("unlink c; create c; write b A512");
    for seed in 0..2000 {
        let (drawn, written) = (rig.disk.fork(), rig.disk.fork());
        let report = drawn.power_cut(&Fates::Random(seed));
        let again = written.power_cut(&Fates::Explicit(report.keep.clone()));
        assert_eq!(again, report, "seed {seed}");
    }
}
