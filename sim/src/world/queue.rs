//! What happens next: one queue, ordered by time and then by insertion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Time, order of insertion, and where it is: small, for a heap moves much.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    inserted: u64,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Queue {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            inserted: 0,
        }
    }

    pub fn push(&mut self, time_us: u64, what: T) {
        self.inserted += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(what);
                slot
            }
            None => {
                self.slots.push(Some(what));
                self.slots.len() - 1
            }
        };
        self.heap.push(Reverse((time_us, self.inserted, slot)));
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((time_us, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let what = self.slots[slot].take();
        Some((time_us, what.expect("what is in the heap has its slot")))
    }
}
