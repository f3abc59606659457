//! Edits of a plan that follow from what its lines may hold, so that a new
//! setting or a new kind of step needs nothing here.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use super::fields::{self, Line, Number, Visit};
use super::words::Word;
use super::{Action, Plan};

/// A field of a section: of which one, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub section: usize,
    field: usize,
}

impl Plan {
    /// The settings that differ from their defaults, but for those of `except`.
    pub(crate) fn settings(&self, except: &[&str]) -> Vec<Setting> {
        let sections = [
            changed(&self.cluster, except),
            changed(&self.net, except),
            changed(&self.disk, except),
            changed(&self.workload, except),
        ];
        let of = |(section, fields): (usize, Vec<usize>)| {
            let setting = move |field| Setting { section, field };
            fields.into_iter().map(setting)
        };
        sections.into_iter().enumerate().flat_map(of).collect()
    }

    /// Takes settings back to their defaults.
    pub(crate) fn reset(&mut self, settings: &[Setting]) {
        let of = |section| {
            let here = settings.iter().filter(move |s| s.section == section);
            here.map(|setting| setting.field).collect::<Vec<_>>()
        };
        reset(&mut self.cluster, &of(0));
        reset(&mut self.net, &of(1));
        reset(&mut self.disk, &of(2));
        reset(&mut self.workload, &of(3));
    }
}

fn changed<S: Line + Clone + Default>(section: &S, except: &[&str]) -> Vec<usize> {
    let key = |field: &str| field.split('=').next().unwrap_or_default().to_owned();
    let changed = fields::changed(section);
    let of_interest =
        |field: &String| changed.contains(field) && !except.contains(&key(field).as_str());
    let fields = fields::print(section);
    (0..fields.len())
        .filter(|at| of_interest(&fields[*at]))
        .collect()
}

fn reset<S: Line + Clone + Default>(section: &mut S, places: &[usize]) {
    let fields = fields::print(section);
    let kept = fields.iter().enumerate();
    let kept = kept.filter(|(at, _)| !places.contains(at));
    let tokens: Vec<&str> = kept.map(|(_, field)| field.as_str()).collect();
    let mut rest = S::default();
    fields::read(&mut rest, &tokens).expect("it was printed");
    *section = rest;
}

/// A number of a step, and the least that it may be. A flag, or a word that may
/// be missing, is 1 if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub value: u64,
    pub least: u64,
}

impl Action {
    /// Its numbers, in the order of its text. Fates and entries are none.
    pub(crate) fn quantities(&self) -> Vec<Quantity> {
        let mut quantities = Quantities::default();
        let Ok(()) = self.clone().visit(&mut quantities);
        quantities.found
    }

    /// Lowers the number at this place of [`Action::quantities`].
    pub(crate) fn lower(&mut self, place: usize, value: u64) {
        let mut quantities = Quantities {
            lower: Some((place, value)),
            ..Quantities::default()
        };
        let Ok(()) = self.visit(&mut quantities);
    }
}

/// Meets the numbers of a line; lowers one of them.
#[derive(Default)]
struct Quantities {
    found: Vec<Quantity>,
    lower: Option<(usize, u64)>,
}

impl Quantities {
    /// Counts a number; what it is to become, if it is the one.
    fn meet(&mut self, value: u64, least: u64) -> Option<u64> {
        let place = self.found.len();
        self.found.push(Quantity { value, least });
        let (wanted, lower) = self.lower?;
        (wanted == place).then_some(lower)
    }
}

impl Visit for Quantities {
    type Error = Infallible;
    fn word<T: Word>(&mut self, _: &'static str, _: &mut T) -> Result<(), Infallible> {
        Ok(())
    }
    fn words<T: Word>(&mut self, _: &'static str, _: &mut Vec<T>) -> Result<(), Infallible> {
        Ok(())
    }
    fn key<T: Word>(&mut self, _: &'static str, _: &mut T) -> Result<(), Infallible> {
        Ok(())
    }
    fn option<T: Word>(&mut self, key: &'static str, it: &mut Option<T>) -> Result<(), Infallible> {
        // Without its fates a power cut would draw others.
        if key != "keep" && self.meet(u64::from(it.is_some()), 0) == Some(0) {
            *it = None;
        }
        Ok(())
    }
    fn number<N: Number>(
        &mut self,
        _: &'static str,
        value: &mut N,
        allowed: RangeInclusive<u64>,
    ) -> Result<(), Infallible> {
        let lower = self.meet((*value).into(), *allowed.start());
        if let Some(lower) = lower.and_then(|lower| N::try_from(lower).ok()) {
            *value = lower;
        }
        Ok(())
    }
    fn span(
        &mut self,
        _: &'static str,
        _: &mut u64,
        _: &mut u64,
        _: RangeInclusive<u64>,
    ) -> Result<(), Infallible> {
        Ok(())
    }
    fn flag(&mut self, _: &'static str, value: &mut bool) -> Result<(), Infallible> {
        if let Some(lower) = self.meet(u64::from(*value), 0) {
            *value = lower > 0;
        }
        Ok(())
    }
    fn must(&mut self, _: &'static str) -> Result<(), Infallible> {
        Ok(())
    }
    fn given(&self, _: &'static str) -> bool {
        false
    }
}
