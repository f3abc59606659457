//! What a campaign came to, for people.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use afterimage_sim::disk::Profile;
use anstyle::{AnsiColor, Style};

use crate::campaign::Campaign;
use crate::digest::hex;
use crate::json::Planned;
use crate::totals::Totals;

pub const GREEN: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
pub const RED: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
pub const YELLOW: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

const WIDTH: usize = 80;
const INDENT: usize = 12;

/// `word` in its style.
pub fn styled(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

pub fn print(
    out: &mut impl Write,
    campaign: &Campaign,
    totals: &Totals,
    wall: Duration,
) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} from {:#x}, in {}, {}{}{}",
        campaign.scenarios.join(" and "),
        plural(totals.seeds, "seed"),
        campaign.first_seed,
        seconds(wall),
        plural(campaign.jobs as u64, "job"),
        match campaign.profile {
            Profile::POSIX_WORST => String::new(),
            profile => format!(", on {profile}"),
        },
        match campaign.mutant {
            Some(mutant) => format!(", with {} planted", mutant.name),
            None => String::new(),
        },
    )?;
    let mut row = |name: &str, text: &str| writeln!(out, "  {name:<10}{text}");
    row("verdicts", &verdicts(totals))?;
    row("time", &ratio(totals.simulated_us, wall))?;
    row(
        "disk",
        &[
            plural(totals.fs_ops, "file operation"),
            plural(totals.crashes, "power cut"),
            plural(totals.kills, "kill"),
        ]
        .join(", "),
    )?;
    row(
        "network",
        &[
            plural(totals.messages, "message"),
            plural(totals.elections, "election"),
        ]
        .join(", "),
    )?;
    row("clients", &plural(totals.client_ops, "operation"))?;
    row("faults", &counts(&totals.faults, |_| true))?;
    row("sometimes", &counts(&totals.sometimes, |n| n > 0))?;
    let never: Vec<String> = totals
        .sometimes
        .iter()
        .filter(|&(_, &n)| n == 0)
        .map(|(label, _)| (*label).to_owned())
        .collect();
    if !never.is_empty() && totals.seeds > 0 {
        row(&format!("{YELLOW}never{YELLOW:#}     "), &wrap(&never))?;
    }
    row("kinds", &kinds(&totals.kinds))?;
    row("most", &counts(&totals.watermarks, |_| true))?;
    for missed in totals.missed(campaign) {
        row(
            &format!("{RED}missed{RED:#}    "),
            &format!(
                "{} requires {}, and never reached it",
                missed.scenario, missed.label
            ),
        )?;
    }
    row("digest", &hex(totals.digest.value()))?;
    out.flush()
}

fn verdicts(totals: &Totals) -> String {
    let bad = |n: u64, style: Style, what: &str| match n {
        0 => format!("0 {what}"),
        n => styled(style, &format!("{} {what}", grouped(n))),
    };
    format!(
        "{} passed, {}, {}, {}",
        grouped(totals.passed),
        bad(totals.failures.len() as u64, RED, "failed"),
        bad(totals.vacuous, YELLOW, "vacuous"),
        bad(totals.nondeterministic, YELLOW, "nondeterministic"),
    )
}

/// Simulated time, and how much faster than real time it went by.
fn ratio(simulated_us: u64, wall: Duration) -> String {
    let simulated = Duration::from_secs(simulated_us / 1_000_000);
    let times = u128::from(simulated_us) / wall.as_micros().max(1);
    format!(
        "{} simulated, {} times as fast as real time",
        humantime::format_duration(simulated),
        grouped(u64::try_from(times).unwrap_or(u64::MAX)),
    )
}

fn counts(counts: &BTreeMap<&'static str, u64>, shown: impl Fn(u64) -> bool) -> String {
    let items: Vec<String> = counts
        .iter()
        .filter(|&(_, &n)| shown(n))
        .map(|(label, &n)| format!("{label} {}", grouped(n)))
        .collect();
    if items.is_empty() {
        return "none".to_owned();
    }
    wrap(&items)
}

/// In how many of the seeds that planned it each kind had an effect.
fn kinds(kinds: &BTreeMap<&'static str, Planned>) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let item = |(name, planned): (&&str, &Planned)| {
        format!("{name} {}/{}", grouped(planned.effect), grouped(planned.on))
    };
    let items: Vec<String> = kinds.iter().map(item).collect();
    wrap(&items)
}

/// The items with commas, in lines that fit, behind the first column.
fn wrap(items: &[String]) -> String {
    let mut text = String::new();
    let mut column = INDENT;
    for (i, item) in items.iter().enumerate() {
        let last = i + 1 == items.len();
        // Two more for the separator.
        if column > INDENT && column + item.len() + 2 > WIDTH {
            text += "\n";
            text += &" ".repeat(INDENT);
            column = INDENT;
        } else if i > 0 {
            text += " ";
            column += 1;
        }
        text += item;
        text += if last { "" } else { "," };
        column += item.len() + 1;
    }
    text
}

/// `1 seed`, `2,000 seeds`.
pub fn plural(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(n))
}

/// `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.25 s`.
pub fn seconds(time: Duration) -> String {
    format!("{}.{:02} s", time.as_secs(), time.subsec_millis() / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        #[track_caller]
        fn check(n: u64, expected: &str) {
            assert_eq!(grouped(n), expected);
        }
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(12_345_678, "12,345,678");
    }

    #[test]
    fn lines_fit_a_terminal() {
        let items: Vec<String> = (0..40).map(|i| format!("label-{i} {}", i * 999)).collect();
        let text = wrap(&items);
        let mut lines = text.lines();
        assert!(
            lines
                .next()
                .is_some_and(|line| line.len() + INDENT <= WIDTH)
        );
        assert!(lines.clone().count() > 5);
        for line in lines {
            assert!(line.len() <= WIDTH, "{line}");
            assert!(line.starts_with("            label"), "{line}");
        }
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>().join(" "),
            items.join(", ")
        );
    }
}
