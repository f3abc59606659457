//! The command line.

use std::path::PathBuf;

use crate::log::Result;

pub struct Settings {
    /// On the disk to measure; a tmpfs syncs nothing.
    pub dir: PathBuf,
    /// The workloads.
    pub only: Vec<String>,
    /// Parts of the names of those who take part besides the first; all if empty.
    pub among: Vec<String>,
    pub rounds: usize,
    /// Size of the logs that are large, in MiB.
    pub mib: u64,
}

impl Settings {
    pub fn from_args(workloads: &[&str]) -> Result<Self> {
        let list = |value: String| value.split(',').map(str::to_owned).collect();
        let mut settings = Settings {
            dir: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
            only: workloads.iter().map(|&name| name.to_owned()).collect(),
            among: Vec::new(),
            rounds: 21,
            mib: 2048,
        };
        let mut args = std::env::args().skip(1);
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            match option.as_str() {
                "--dir" => settings.dir = value()?.into(),
                "--only" => settings.only = list(value()?),
                "--among" => settings.among = list(value()?),
                "--rounds" => settings.rounds = value()?.parse()?,
                "--mib" => settings.mib = value()?.parse()?,
                other => return Err(format!("no option {other}").into()),
            }
        }
        Ok(settings)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.among.is_empty() || self.among.iter().any(|part| name.contains(&**part))
    }
}
