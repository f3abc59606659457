# Names for the commands of every day. All of them are plain cargo underneath.

# The recipes, one a line.
default:
    @just --list --unsorted

# A campaign: `just run --seeds 2000 --keep-going`.
run *args:
    cargo sim run {{args}}

# All tests.
test:
    cargo test --workspace

# Every file in seeds/.
regress *args:
    cargo sim regress {{args}}

# One run again: `just replay 0x2a --trace`.
replay seed_or_file *args:
    cargo sim replay {{seed_or_file}} {{args}}

# A process that appends to a real disk, killed this many times.
kill rounds="1000":
    cargo test --release --package afterimage-engine --test kill -- rounds {{rounds}}

# Arbitrary bytes into a decoder, for as long as you like: `just fuzz segment`.
fuzz target *args:
    cargo +nightly fuzz run {{target}} {{args}}

# The stores for OpenRaft, with its own test suite.
openraft *args:
    RUSTFLAGS= cargo test --manifest-path openraft/Cargo.toml --target-dir target/plain {{args}}

# OpenRaft on the engine in a simulated world: `just openraft-sim --seeds 500`.
openraft-sim *args:
    cargo run --quiet --release --manifest-path openraft/Cargo.toml --target-dir target --package afterimage-openraft-sim -- {{args}}

# That it passes, is the same twice, and finds what is planted.
openraft-sim-test *args:
    cargo test --release --manifest-path openraft/Cargo.toml --target-dir target --package afterimage-openraft-sim {{args}}

# tikv's raft as a second opinion on the core: same messages, same decisions.
oracle *args:
    RUSTFLAGS= cargo test --manifest-path oracle/Cargo.toml --target-dir target/plain {{args}}

# A real log directory: `just log verify DIR`.
log *args:
    cargo sim log {{args}}

# Each known bug planted in turn.
mutants *args:
    cargo sim mutants {{args}}

# Every subset of what is pending, three crashes in a row: the better part of an hour.
explore-all *args:
    cargo sim explore --level 4 --depth 3 {{args}}

# Mechanical changes of the engine, each explored: at first as far as takes a
# second; those that survive it, in full. Needs cargo-mutants, and hours.
cargo-mutants *args:
    -RUSTFLAGS= cargo mutants {{args}} -- the_engine_survives_one_crash
    RUSTFLAGS= cargo mutants --iterate {{args}} -- the_engine_survives_every_crash

# A long campaign, to the end whatever it finds: 20,000 seeds.
campaign *args:
    cargo sim run --seeds 10000 --keep-going {{args}}

# The engine against bare loops and other logs: see docs/performance.md.
bench *args:
    cd bench && cargo run --release -- {{args}}

# Simulated time per second on one core.
bench-sim:
    cargo sim run --seeds 100 --jobs 1

# What the gate says of form.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All that must pass before a change goes in.
ci:
    .ci/run
