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

# Each known bug planted in turn.
mutants *args:
    cargo sim mutants {{args}}

# How many seeds a second one core runs.
bench:
    cargo sim run --seeds 200 --jobs 1

# What the gate says of form.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All that must pass before a change goes in.
ci:
    .ci/run
