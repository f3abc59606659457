//! Contestants take turns in short rounds, so that what the machine and the disk
//! do meanwhile befalls all of them; what counts is the ratio within a round.

use std::time::{Duration, Instant};

use crate::log::Result;

/// What one contestant needed, round by round; `None`: it cannot do that.
pub struct Row {
    pub name: &'static str,
    pub took: Option<Vec<Duration>>,
}

pub fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Runs `round(contestant)` for each in turn, `rounds` times. Who begins changes:
/// the first one pays for what came before. The first `unmeasured` are for warmth.
pub fn interleave(
    names: &[&'static str],
    unmeasured: usize,
    rounds: usize,
    mut round: impl FnMut(usize) -> Result<Duration>,
) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = names
        .iter()
        .map(|name| Row {
            name,
            took: Some(Vec::new()),
        })
        .collect();
    for n in 0..unmeasured + rounds {
        for turn in 0..names.len() {
            let who = (n + turn) % names.len();
            let Some(took) = &mut rows[who].took else {
                continue;
            };
            match round(who) {
                Ok(time) if n >= unmeasured => took.push(time),
                Ok(_) => {}
                Err(e) if is_unsupported(&e) => rows[who].took = None,
                Err(e) => return Err(format!("{}: {e}", names[who]).into()),
            }
        }
    }
    Ok(rows)
}

fn is_unsupported(e: &crate::log::Error) -> bool {
    e.downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::Unsupported)
}

/// A line each: the median of `amount` per second, and of the ratio to the first
/// contestant within a round, with its quartiles.
pub fn print(title: &str, unit: &str, amount: f64, rows: &[Row]) {
    println!("\n{title}");
    println!(
        "  {:<26} {:>12} {:>10} {:>7}  quartiles",
        "", unit, "ms/round", "ratio"
    );
    let base = rows[0].took.as_deref().unwrap_or_default();
    for row in rows {
        let Some(took) = &row.took else {
            println!("  {:<26} {:>12}", row.name, "-");
            continue;
        };
        let seconds: Vec<f64> = took.iter().map(Duration::as_secs_f64).collect();
        let ratios: Vec<f64> = base
            .iter()
            .zip(&seconds)
            .map(|(base, mine)| base.as_secs_f64() / mine)
            .collect();
        let middle = quantile(&seconds, 0.5);
        println!(
            "  {:<26} {:>12.0} {:>10.2} {:>7.2}  {:.2}..{:.2}",
            row.name,
            amount / middle,
            middle * 1e3,
            quantile(&ratios, 0.5),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
        );
    }
}

/// 0 without any.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len().saturating_sub(1)) as f64 * q;
    values.get(at.round() as usize).copied().unwrap_or(0.0)
}
