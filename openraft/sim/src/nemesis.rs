//! The faults: which kinds a run has is drawn from its seed, and then when and
//! whom they hit.

use std::time::Duration;

use afterimage_engine::NodeId;
use afterimage_sim::disk::{CrashPoint, CrashTrigger, FailTrigger, Fates, FaultKind, Pattern};
use afterimage_sim::rng::SimRng;

use crate::net::Weather;
use crate::world::{MEMBERS, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerCut,
    /// At one of the next file operations.
    PowerCutAtOperation,
    /// All members at once.
    Blackout,
    /// One member hears nobody, and nobody hears it.
    Isolate,
    /// One member is heard by nobody, or hears nobody.
    OneWay,
    /// A read, write or sync fails.
    DiskError,
    /// For a while there is no space.
    DiskFull,
}

const KINDS: [Kind; 8] = [
    Kind::Kill,
    Kind::PowerCut,
    Kind::PowerCutAtOperation,
    Kind::Blackout,
    Kind::Isolate,
    Kind::OneWay,
    Kind::DiskError,
    Kind::DiskFull,
];

pub struct Nemesis {
    rng: SimRng,
    kinds: Vec<Kind>,
    weather: Option<Weather>,
    next_ms: u64,
    /// At most so long between two faults.
    pause_ms_max: u64,
    mended_ms: Option<u64>,
    space_ms: Option<u64>,
}

impl Nemesis {
    pub fn new(seed: u64) -> Self {
        let mut rng = SimRng::new(seed, "openraft/nemesis");
        let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| rng.below(2) == 0).collect();
        if kinds.is_empty() {
            kinds.push(*rng.pick(&KINDS));
        }
        let weather = Weather {
            lost: *rng.pick(&[0, 0, 10, 50, 200]),
            doubled: *rng.pick(&[0, 0, 50]),
            late: *rng.pick(&[0, 0, 10, 50]),
        };
        Nemesis {
            kinds,
            weather: Some(weather),
            next_ms: 1500,
            pause_ms_max: *rng.pick(&[800, 2500, 5000]),
            mended_ms: None,
            space_ms: None,
            rng,
        }
    }

    pub fn act(&mut self, world: &mut World, since: Duration) {
        world.look_after(&mut self.rng);
        let now_ms = since.as_millis() as u64;
        if self.mended_ms.take_if(|at| *at <= now_ms).is_some() {
            world.net.mend();
        }
        if self.space_ms.take_if(|at| *at <= now_ms).is_some() {
            for member in &world.members {
                member.disk.limit_space(None);
            }
        }
        if now_ms < self.next_ms {
            return;
        }
        // The first leader is elected in good weather.
        if let Some(weather) = self.weather.take() {
            world.net.set_weather(weather);
        }
        self.next_ms = now_ms + self.rng.between(200, self.pause_ms_max);
        let kind = *self.rng.pick(&self.kinds);
        let leader = world.leader().filter(|_| self.rng.below(2) == 0);
        let at = leader.unwrap_or(self.rng.below(MEMBERS) as usize);
        self.strike(world, kind, at, now_ms);
    }

    fn strike(&mut self, world: &mut World, kind: Kind, at: usize, now_ms: u64) {
        let rng = &mut self.rng;
        let id = world.members[at].id;
        let others = (1..=MEMBERS).map(NodeId).filter(|other| *other != id);
        match kind {
            Kind::Kill => {
                world.kill(at);
                world.boot(at);
            }
            Kind::PowerCut => {
                world.power_cut(at, &fates(rng));
                world.boot(at);
            }
            Kind::PowerCutAtOperation => world.members[at].disk.arm_crash(CrashTrigger {
                pattern: pattern(rng),
                nth: rng.between(1, 12),
                point: *rng.pick(&CrashPoint::ALL),
            }),
            Kind::Blackout => {
                let kill = rng.below(3) == 0;
                for at in 0..world.members.len() {
                    match kill {
                        true => world.kill(at),
                        false => world.power_cut(at, &fates(rng)),
                    }
                }
                for at in 0..world.members.len() {
                    world.boot(at);
                }
                world.books.count("blackouts");
            }
            Kind::Isolate => {
                for other in others {
                    world.net.cut(id, other);
                    world.net.cut(other, id);
                }
                self.mended_ms = Some(now_ms + rng.between(100, 3000));
            }
            Kind::OneWay => {
                let deaf = rng.below(2) == 0;
                for other in others {
                    match deaf {
                        true => world.net.cut(other, id),
                        false => world.net.cut(id, other),
                    }
                }
                self.mended_ms = Some(now_ms + rng.between(100, 3000));
            }
            Kind::DiskError => {
                let fault = *rng.pick(&[FaultKind::Eio, FaultKind::EioDone, FaultKind::Short]);
                world.members[at].disk.arm_fail(FailTrigger {
                    pattern: pattern(rng),
                    nth: rng.between(1, 12),
                    fault,
                });
            }
            Kind::DiskFull => {
                world.members[at].disk.limit_space(Some(rng.below(8192)));
                self.space_ms = Some(now_ms + rng.between(100, 2000));
            }
        }
    }
}

fn fates(rng: &mut SimRng) -> Fates {
    match rng.below(4) {
        0 => Fates::Lose,
        _ => Fates::Random(rng.next_u64()),
    }
}

fn pattern(rng: &mut SimRng) -> Pattern {
    const PATTERNS: [&str; 6] = ["*", "write", "sync", "sync_dir", "rename", "*:log-*"];
    let pattern = rng.pick(&PATTERNS).parse();
    pattern.expect("a pattern that is written right")
}
