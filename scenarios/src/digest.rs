//! The digest of a campaign.

use xxhash_rust::xxh3::Xxh3;

/// XXH3-64 over (scenario, seed, digest of the run) of every run, in order.
#[derive(Default)]
pub struct CampaignDigest(Xxh3);

impl CampaignDigest {
    pub fn add(&mut self, scenario: &str, seed: u64, digest: u64) {
        self.0.update(&(scenario.len() as u64).to_le_bytes());
        self.0.update(scenario.as_bytes());
        self.0.update(&seed.to_le_bytes());
        self.0.update(&digest.to_le_bytes());
    }
    pub fn value(&self) -> u64 {
        self.0.digest()
    }
}

/// As it is shown everywhere: a number of 64 bits is no number in JSON.
pub fn hex(digest: u64) -> String {
    format!("{digest:#018x}")
}
