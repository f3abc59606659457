#![no_main]
//! The text form of a plan, bare and in a seed file. What is read and written
//! again is the same.

use afterimage_sim::plan::Plan;
use afterimage_sim::plan::seed_file::SeedFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = SeedFile::parse(text);
    if let Ok(plan) = text.parse::<Plan>() {
        let again: Plan = plan.to_string().parse().expect("it was written by us");
        assert_eq!(again, plan);
    }
});
