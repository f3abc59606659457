//! Bringing one group of batches to the disk, by whoever took the writer's seat.

use std::sync::{Arc, Condvar};

use super::{Alarm, Shared, State};
use crate::error::Result;
use crate::job::Step;
use crate::store::{Store, Ticket, Writer};

/// Writes one group, wakes those who waited for it and leaves the seat, to
/// somebody who is awake if there is more to write. A failure is published.
///
/// `own`: what the caller waits for; it comes back until that is durable. The
/// log thread (`None`) comes back as long as there is work.
pub(super) fn lead(shared: &Shared, store: &Store, mut writer: Writer, own: Option<Ticket>) {
    let alarm = Alarm(shared);
    let group = write_group(store, &mut writer);
    if let Ok(full) = group {
        hand_on(shared, store, writer, full, own);
    }
    alarm.disarm(group.map(drop));
}

/// Leaves the seat for the first time.
pub(super) fn leave(shared: &Shared, store: &Store, writer: Writer) {
    hand_on(shared, store, writer, false, Some(0));
}

fn hand_on(shared: &Shared, store: &Store, writer: Writer, full: bool, own: Option<Ticket>) {
    let woken = {
        let mut state = shared.lock();
        state.full = full;
        let mut woken = state.publish(store.persisted(), store.written());
        // The next segment is prepared while this one is still empty, and what a
        // truncation cut off is garbage. Not sooner: the disk is busy with this one.
        let generation = store.generation();
        if state.generation != generation {
            state.generation = generation;
            state.look_around(shared);
        }
        if state.blocked > 0 {
            shared.room.notify_all();
        }
        let comes_back = own.is_none_or(|own| state.persisted < own);
        if full {
            shared.log.notify_one();
        } else if !comes_back {
            match state.waiting.pop() {
                // What it waits for is not durable, so there is work.
                Some((_, next)) => woken.push(next),
                None if writer.has_work() || state.closing => shared.log.notify_one(),
                None => {}
            }
        }
        state.seat = Some(writer);
        woken
    };
    // Not under the lock, which they take first of all.
    for waiting in woken {
        waiting.notify_one();
    }
}

/// Until a group is written, and synced if somebody wants that, or nothing goes on.
/// Whether the disk is full.
fn write_group(store: &Store, writer: &mut Writer) -> Result<bool> {
    let before = store.written();
    while store.written() == before {
        match writer.step()? {
            Step::Ran => {}
            Step::Idle => return Ok(false),
            Step::Stalled => return Ok(true),
        }
    }
    Ok(false)
}

impl State {
    /// So much is durable, and so much is written. Whom to wake for it.
    pub(super) fn publish(&mut self, persisted: Ticket, written: Ticket) -> Vec<Arc<Condvar>> {
        assert!(persisted >= self.persisted, "tickets never go back");
        self.persisted = persisted;
        self.submitted = self.submitted.max(written);
        while let Some((_, bytes)) = self
            .in_flight
            .pop_front_if(|(ticket, _)| *ticket <= written)
        {
            self.in_flight_bytes -= bytes;
        }
        self.waiting
            .extract_if(.., |(ticket, _)| *ticket <= persisted)
            .map(|(_, waiting)| waiting)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_durable_makes_room_and_wakes_those_who_wait_for_it() {
        let wakers = [1, 2, 3].map(|ticket| (ticket, Arc::new(Condvar::new())));
        let mut state = State::default();
        state.in_flight.extend([(1, 10), (2, 20), (3, 30)]);
        state.in_flight_bytes = 60;
        state.waiting.extend(wakers.clone());
        let woken = state.publish(2, 2);
        assert_eq!((state.persisted, state.in_flight_bytes), (2, 30));
        assert_eq!(state.in_flight, [(3, 30)]);
        assert!(Arc::ptr_eq(&state.waiting[0].1, &wakers[2].1));
        assert_eq!((state.waiting.len(), woken.len()), (1, 2));
    }
}
