//! What happens next: one queue, ordered by time and then by insertion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<At<T>>>,
    inserted: u64,
}

#[derive(Debug)]
struct At<T> {
    time_us: u64,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Queue {
            heap: BinaryHeap::new(),
            inserted: 0,
        }
    }

    pub fn push(&mut self, time_us: u64, what: T) {
        self.inserted += 1;
        self.heap.push(Reverse(At {
            time_us,
            order: self.inserted,
            what,
        }));
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn pop(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|Reverse(at)| (at.time_us, at.what))
    }
}

impl<T> At<T> {
    fn key(&self) -> (u64, u64) {
        (self.time_us, self.order)
    }
}
impl<T> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<T> Eq for At<T> {}
impl<T> PartialOrd for At<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for At<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
