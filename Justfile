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

# Every crash point of the named workloads, with every state that it may leave.
explore *args:
    cargo sim explore {{args}}

# All of them at level 4, three crashes in a row: minutes.
explore-deep *args:
    cargo sim explore --level 4 --depth 3 {{args}}

# Each known bug planted in turn.
mutants *args:
    cargo sim mutants {{args}}

# A long campaign, to the end whatever it finds: 20,000 seeds.
campaign *args:
    cargo sim run --seeds 10000 --keep-going {{args}}

# Appends on the real disk, against bare writes and syncs; then simulated time
# per second on one core.
bench:
    cargo bench --package afterimage-engine
    cargo sim run --seeds 100 --jobs 1

# What the gate says of form.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All that must pass before a change goes in.
ci:
    .ci/run
