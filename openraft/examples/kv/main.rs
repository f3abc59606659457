//! A replicated key-value service in three processes, and a demonstration that
//! `kill -9` takes nothing that it acknowledged. See README.md beside this file.

mod demo;
mod machine;
mod network;
mod node;
mod wire;

use std::process::ExitCode;

openraft::declare_raft_types!(
    pub Types:
        D = machine::Put,
        R = (),
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

const USAGE: &str = "usage: kv [--writes N] [--dir DIR]      the demonstration
       kv node ID DIR ADDRESS,ADDRESS,...   one node, as the demonstration starts it";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["node", id, dir, addresses] => match id.parse() {
            Ok(id) => node::run(id, dir.as_ref(), addresses),
            Err(_) => usage(),
        },
        _ => match demo::Options::parse(&args) {
            Some(options) => demo::run(&options),
            None => usage(),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> Result<(), Box<dyn std::error::Error>> {
    Err(USAGE.into())
}
