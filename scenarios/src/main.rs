// Disks are forked and dropped by the million: half of an exploration's time
// would go into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    afterimage::main()
}

#[cfg(not(madsim))]
fn main() {
    compile_error!(
        "afterimage must be built with `--cfg madsim`, which this repository's .cargo/config.toml \
         sets. It is not set now, so either an environment variable RUSTFLAGS replaces the \
         config's flags (unset it, or add `--cfg madsim` to it), or cargo was run from outside \
         the repository (`--manifest-path` does not read the config: change into it first)"
    );
}
