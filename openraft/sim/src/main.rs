//! OpenRaft on Afterimage's engine, in a simulated world: `openraft-3`.
//!
//! Three members with the stores of `afterimage-openraft`, on simulated disks that
//! lose power and fail, over a network that loses, doubles and delays, before the
//! simulator's own judges. Each seed has a process of its own: tokio's channels wake
//! their waiters by counters that a process shares.

#[cfg(madsim)]
mod books;
#[cfg(madsim)]
mod campaign;
#[cfg(madsim)]
mod client;
#[cfg(madsim)]
mod log;
#[cfg(madsim)]
mod machine;
#[cfg(madsim)]
mod nemesis;
#[cfg(madsim)]
mod net;
#[cfg(madsim)]
mod options;
#[cfg(madsim)]
mod runtime;
#[cfg(madsim)]
mod world;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    campaign::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "built without --cfg madsim: run cargo from a directory of the repository, where \
         .cargo/config.toml sets it, and without RUSTFLAGS, which would replace it"
    );
    std::process::ExitCode::from(2)
}
