//! The command line.

use std::num::NonZeroU64;

use clap::{Args, Parser};

use crate::client::Reads;
use crate::world::Plant;

/// OpenRaft on Afterimage's engine, in a simulated world
///
/// Exit status: 0 all passed, 1 a rule was broken, 2 wrong usage, 3 a run was not
/// the same twice, 4 a run was vacuous.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// How many runs
    #[arg(long, value_name = "N", default_value = "20")]
    pub seeds: NonZeroU64,
    /// The first one's seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub first_seed: u64,
    /// How many at once
    #[arg(long, value_name = "J", default_value = "2")]
    pub jobs: NonZeroU64,
    /// Each run again, in another process: is it the same?
    #[arg(long)]
    pub twice: bool,
    /// This run alone
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "first_seed", "twice"])]
    pub seed: Option<u64>,
    /// With its text
    #[arg(long, requires = "seed")]
    pub trace: bool,
    #[command(flatten)]
    pub run: RunOptions,
}

/// What a run is like, besides its seed.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// When a leader is asked for reads
    #[arg(long, value_enum, default_value = "recovered")]
    pub reads: Reads,
    /// OpenRaft's default: who led before a restart leads on in its term, without
    /// an election
    #[arg(long)]
    pub leader_restore: bool,
    /// The judges see what clients see, and nothing else
    #[arg(long)]
    pub judge_clients: bool,
    /// With a bug on purpose: of the simulator's catalogue (`cargo sim list`), or
    /// adapter-acks-before-sync, adapter-vote-not-saved, adapter-truncation-left-out
    #[arg(long, value_name = "NAME", value_parser = planted)]
    mutant: Option<(String, Plant)>,
}

fn planted(name: &str) -> Result<(String, Plant), String> {
    let plant = Plant::by_name(name).ok_or("no such bug; `cargo sim list` has their names")?;
    Ok((name.to_owned(), plant))
}

impl RunOptions {
    pub fn plant(&self) -> Plant {
        let planted = self.mutant.as_ref();
        planted.map_or(Plant::Nothing, |(_, plant)| *plant)
    }

    /// The arguments that say the same to another process.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.reads == Reads::AtOnce {
            arguments.push("--reads=at-once".to_owned());
        }
        if self.leader_restore {
            arguments.push("--leader-restore".to_owned());
        }
        if self.judge_clients {
            arguments.push("--judge-clients".to_owned());
        }
        if let Some((name, _)) = &self.mutant {
            arguments.push(format!("--mutant={name}"));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_is_read_again() {
        let line = "x --reads at-once --leader-restore --judge-clients --mutant ack-before-sync";
        let run = Options::parse_from(line.split(' ')).run;
        let again = ["x".to_owned()].into_iter().chain(run.arguments());
        let again = Options::parse_from(again).run;
        assert_eq!(format!("{again:?}"), format!("{run:?}"));
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
