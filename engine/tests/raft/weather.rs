//! How rough a run is.

use crate::rng::Rng;

/// Time units of one tick.
pub const TICK: u64 = 10;

/// What makes a run different from others, apart from luck.
pub struct Weather {
    pub drop_in_1000: u64,
    pub repeat_in_1000: u64,
    pub delay_max: u64,
    pub late_in_1000: u64,
    pub persist_max: u64,
    pub fault_every: u64,
    pub propose_every: u64,
    pub read_every: u64,
    pub snapshot_every: u64,
    /// 0: the membership stays, and nobody hands the leadership over.
    pub change_every: u64,
}

impl Weather {
    pub fn draw(rng: &mut Rng) -> Self {
        Weather {
            drop_in_1000: rarely(rng, 200),
            repeat_in_1000: rarely(rng, 200),
            delay_max: rng.between(1, 3 * TICK),
            late_in_1000: rarely(rng, 30),
            persist_max: *[1, TICK, 10 * TICK].get(rng.below(3) as usize).unwrap(),
            fault_every: rng.between(5, 60) * TICK,
            propose_every: rng.between(TICK / 2, 5 * TICK),
            read_every: rng.between(2, 3 * TICK),
            snapshot_every: rng.between(5, 200) * TICK,
            change_every: rarely(rng, 60) * TICK,
        }
    }
}

/// 0 in half of the runs, else something below `most`.
pub fn rarely(rng: &mut Rng, most: u64) -> u64 {
    if rng.chance(1, 2) { rng.below(most) } else { 0 }
}
