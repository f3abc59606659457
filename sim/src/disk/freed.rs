//! Blocks that files gave back: what a newly allocated block may still hold.

use std::collections::VecDeque;
use std::sync::Arc;

use super::image::{Image, SECTOR, SectorData, mix};

/// Sectors remembered; the oldest go first.
const CAPACITY: usize = 128;

/// The latest freed sectors, each with its place in the file it was in.
#[derive(Debug, Clone, Default)]
pub(super) struct Freed {
    sectors: Arc<VecDeque<(u32, Arc<SectorData>)>>,
}

impl Freed {
    pub fn push(&mut self, sector: u32, data: Arc<SectorData>) {
        if data.is_zero() {
            return;
        }
        let sectors = Arc::make_mut(&mut self.sectors);
        if sectors.len() == CAPACITY {
            sectors.pop_front();
        }
        sectors.push_back((sector, data));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<SectorData>> {
        self.sectors.iter().map(|(_, data)| data)
    }

    /// The sectors of a file that is gone.
    pub fn push_all(&mut self, image: &Image) {
        for (sector, data) in image.iter() {
            self.push(sector, data.clone());
        }
    }

    /// What a block allocated as this sector of a file shows: most likely the
    /// bytes that an older file had at the same place, for they look most like
    /// the real ones; else those of any older file, else noise.
    pub fn garbage(&self, sector: u32, draw: u64) -> Arc<SectorData> {
        match draw % 8 {
            0 => noise(draw),
            _ => self.stale(sector, draw).unwrap_or_else(|| noise(draw)),
        }
    }

    /// The same without noise; `None` if there was no older file.
    pub fn stale(&self, sector: u32, draw: u64) -> Option<Arc<SectorData>> {
        let same_place: Vec<_> = self
            .sectors
            .iter()
            .filter(|(at, _)| *at == sector)
            .collect();
        let at = (draw >> 8) as usize;
        let (_, data) = match draw % 8 {
            0..=4 if !same_place.is_empty() => same_place[at % same_place.len()],
            _ if self.sectors.is_empty() => return None,
            _ => &self.sectors[at % self.sectors.len()],
        };
        Some(data.clone())
    }
}

fn noise(draw: u64) -> Arc<SectorData> {
    let mut bytes = [0; SECTOR];
    for (n, word) in (0..).zip(bytes.chunks_exact_mut(8)) {
        word.copy_from_slice(&mix(draw, n).to_le_bytes());
    }
    SectorData::new(bytes)
}
