//! The power goes in the middle of each case, at each file operation that
//! changes something: what was acknowledged is there afterwards, and of what
//! was on its way a prefix.

use afterimage_sim::disk::{CrashPoint, CrashTrigger, Fates, Pattern};

use crate::reopen::Rig;
use crate::{cases, run};

/// What the cuts of one case came to.
#[derive(Default)]
struct Tally {
    cuts: u64,
    /// Something was on its way, and is there.
    survived: u64,
    /// Something was on its way, and is gone.
    lost: u64,
}

fn fates(n: u64) -> Fates {
    match n % 3 {
        0 => Fates::Lose,
        1 => Fates::KeepAll,
        _ => Fates::Random(n),
    }
}

/// Cuts the power at the `nth` operation; `false` if the case ended before.
fn cut(case: &'static str, nth: u64, point: CrashPoint, tally: &mut Tally) -> bool {
    let rig = Rig::new();
    rig.disk.arm_crash(CrashTrigger {
        pattern: Pattern::any(),
        nth,
        point,
    });
    let opened = rig.open();
    let ended = match opened {
        Ok((log, machine)) => {
            // Cases assert what only a healthy store can give: once the power
            // is gone they may panic, or find the error that they look for.
            let case = std::panic::AssertUnwindSafe(|| run(cases::run(case, log, machine)));
            std::panic::catch_unwind(case).is_ok_and(|result| result.is_ok())
        }
        Err(_) => false,
    };
    if !rig.disk.crash_fired() {
        assert!(ended, "{case} fails without a power cut");
        return false;
    }
    rig.disk.power_cut(&fates(nth));
    let (found, _) = run(rig.found());
    let books = rig.books.lock().unwrap();
    tally.cuts += 1;
    if found == books.acknowledged {
        tally.lost += u64::from(!books.attempted.is_empty());
    } else {
        assert!(
            books.attempted.contains(&found),
            "{case}, {point} operation {nth}: found {found:#?}, but {books:#?}"
        );
        tally.survived += 1;
    }
    true
}

#[test]
fn a_power_cut_in_a_case_takes_nothing_that_was_acknowledged() {
    let mut tally = Tally::default();
    for (n, case) in cases::NAMES.iter().enumerate() {
        let points = CrashPoint::ALL.len();
        let mut nth = 1;
        while cut(
            case,
            nth,
            CrashPoint::ALL[(n + nth as usize) % points],
            &mut tally,
        ) {
            nth += 1;
        }
    }
    println!(
        "{} cuts; what was on its way survived {} and was lost {}",
        tally.cuts, tally.survived, tally.lost
    );
    assert!(tally.cuts > 1000 && tally.survived > 50 && tally.lost > 50);
}
