//! Numbered work on several threads, with the results in the order of the numbers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// Calls `work(0)`, `work(1)`, ... up to `total` on `jobs` threads, and `take`
/// with each result on this one, in order. What `take` sees is always 0, 1, 2
/// without a gap, so it depends on the number of threads in no way.
///
/// Nothing new is started once `more` says no; what was started is finished and
/// taken. When `take` breaks, the results behind that one are thrown away.
pub fn in_order<T: Send>(
    jobs: usize,
    total: u64,
    more: impl Fn() -> bool + Sync,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> ControlFlow<()>,
) {
    let stop = AtomicBool::new(false);
    let next = Mutex::new(0_u64);
    // Ask and count under one lock: a number that was given out is always run.
    let claim = || {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *next;
        let go = number < total && !stop.load(Ordering::Relaxed) && more();
        go.then(|| {
            *next += 1;
            number
        })
    };
    thread::scope(|scope| {
        // Bounded: when a pager holds up the output, the work waits too.
        let (sender, receiver) = mpsc::sync_channel(2 * jobs);
        for _ in 0..jobs {
            let (sender, claim, work, stop) = (sender.clone(), &claim, &work, &stop);
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                while let Some(number) = claim() {
                    // The receiver is gone when `take` broke: nobody wants the result.
                    if sender.send((number, work(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (number, result) in receiver {
            early.insert(number, result);
            while let Some(result) = early.remove(&due) {
                if take(due, result).is_break() {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                due += 1;
            }
        }
    });
}

/// A bug of ours in one thread must not leave the others running for an hour
/// before it is told.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn taken(jobs: usize, total: u64, break_at: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        in_order(
            jobs,
            total,
            || true,
            // Uneven work, so that threads overtake each other.
            |number| (0..(number * 7919) % 5000).fold(number, |a, _| std::hint::black_box(a)),
            |number, result| {
                assert_eq!(number, result);
                taken.push(number);
                match number == break_at {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        );
        taken
    }

    #[test]
    fn results_come_in_order_and_end_at_the_break_with_any_number_of_threads() {
        for jobs in [1, 2, 7] {
            assert_eq!(taken(jobs, 200, u64::MAX), (0..200).collect::<Vec<_>>());
            assert_eq!(taken(jobs, u64::MAX, 57), (0..=57).collect::<Vec<_>>());
            assert!(taken(jobs, 0, 0).is_empty());
        }
    }

    #[test]
    fn what_was_started_is_taken_when_no_more_is_wanted() {
        let started = AtomicU64::new(0);
        let mut taken = 0;
        in_order(
            4,
            u64::MAX,
            || started.load(Ordering::SeqCst) < 100,
            |number| {
                started.fetch_add(1, Ordering::SeqCst);
                number
            },
            |number, _| {
                assert_eq!(number, taken);
                taken += 1;
                ControlFlow::Continue(())
            },
        );
        assert_eq!(taken, started.into_inner());
        assert!(taken >= 100, "{taken}");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_ends_the_work() {
        in_order(
            2,
            u64::MAX,
            || true,
            |number| assert!(number != 10, "planted"),
            |_, ()| ControlFlow::Continue(()),
        );
    }
}
