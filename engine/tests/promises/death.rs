//! After a failed sync.

use std::sync::atomic::{AtomicBool, Ordering};

use super::no_sync::no_sync;
use super::*;

#[test]
fn a_store_that_died_refuses_everything() {
    let fails = Arc::new(AtomicBool::new(false));
    let rig = Rig::on(Arc::new(no_sync(fails.clone())), options());
    rig.written(entries(2, 1..=10));
    let mut preparer = rig.store.preparer();
    let mut writer = rig.store.writer();
    let mut install = install(&rig, 20);
    install.push(0, vec![1; 10], true);
    fails.store(true, Ordering::Relaxed);
    rig.store.submit(entries(2, 11..=11)).unwrap();
    let died = loop {
        match writer.step() {
            Ok(step) => assert_eq!(step, Step::Ran),
            Err(e) => break e,
        }
    };
    assert!(matches!(died, Error::Io { .. }));
    fails.store(false, Ordering::Relaxed);

    let is_dead = |result: Result<(), Error>| matches!(result, Err(Error::Poisoned));
    assert!(rig.store.is_poisoned());
    assert!(is_dead(rig.store.submit(entries(2, 12..=12)).map(drop)));
    assert!(is_dead(rig.store.truncate_suffix(Index(11)).map(drop)));
    assert!(is_dead(writer.step().map(drop)));
    assert!(is_dead(install.step().map(drop)));
    let source = Box::new(Once(vec![8; 10]));
    let save = rig.store.save_snapshot(meta(2, 9), source);
    assert!(is_dead(save.run().map(drop)));
    assert!(!preparer.has_work() && !rig.store.cleaner().has_work());
    preparer.begin();
    assert!(!preparer.has_work());
    assert_eq!(rig.store.durable_index(), Index(10));
    let poisoned = |e: &&Event| matches!(e, Event::Poisoned);
    assert_eq!(rig.seen.lock().unwrap().iter().filter(poisoned).count(), 1);
}
