//! A line's fields. What a line may hold is said once, as a `visit` of its data,
//! and both directions follow from it: [`Printer`] writes, [`Reader`] reads and
//! checks the bounds.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use super::text::Problem;
use super::words::{Word, quote};

/// Data that stands on one line.
pub(super) trait Line {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error>;
}

/// Numbers as the plan's data holds them.
pub(super) trait Number: Copy + Into<u64> + TryFrom<u64> {}
impl Number for u32 {}
impl Number for u64 {}

/// Meets the fields of a line, those without a key first.
pub(super) trait Visit {
    type Error;
    /// A field known by its place.
    fn word<T: Word>(&mut self, what: &'static str, value: &mut T) -> Result<(), Self::Error>;
    /// All further fields without a key, at least one.
    fn words<T: Word>(
        &mut self,
        what: &'static str,
        values: &mut Vec<T>,
    ) -> Result<(), Self::Error>;
    /// `key=word`; left out, the value stays.
    fn key<T: Word>(&mut self, key: &'static str, value: &mut T) -> Result<(), Self::Error>;
    /// `key=word`; left out, there is none.
    fn option<T: Word>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
    ) -> Result<(), Self::Error>;
    /// `key=7`; left out, the value stays.
    fn number<N: Number>(
        &mut self,
        key: &'static str,
        value: &mut N,
        allowed: RangeInclusive<u64>,
    ) -> Result<(), Self::Error>;
    /// `key=5..7`, both included; left out, the values stay.
    fn span(
        &mut self,
        key: &'static str,
        min: &mut u64,
        max: &mut u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<(), Self::Error>;
    /// A bare word that is there or not.
    fn flag(&mut self, name: &'static str, value: &mut bool) -> Result<(), Self::Error>;
    /// The line makes no sense without this key.
    fn must(&mut self, key: &'static str) -> Result<(), Self::Error>;
    /// Whether the text read has this key; never while printing.
    fn given(&self, key: &'static str) -> bool;
}

/// The fields of `line`, each in its text form.
pub(super) fn print<L: Line + Clone>(line: &L) -> Vec<String> {
    let mut printer = Printer { fields: Vec::new() };
    let Ok(()) = line.clone().visit(&mut printer);
    printer.fields
}

/// The fields of `line` that its defaults do not have. Not by their places: a
/// flag takes one only if it is set. One that the defaults set could not be
/// unset in a text, so none does.
pub(super) fn changed<L: Line + Clone + Default>(line: &L) -> Vec<String> {
    let defaults = print(&L::default());
    let mut fields = print(line);
    fields.retain(|field| !defaults.contains(field));
    fields
}

struct Printer {
    fields: Vec<String>,
}

impl Visit for Printer {
    type Error = Infallible;
    fn word<T: Word>(&mut self, _: &'static str, value: &mut T) -> Result<(), Infallible> {
        self.fields.push(value.print());
        Ok(())
    }
    fn words<T: Word>(&mut self, _: &'static str, values: &mut Vec<T>) -> Result<(), Infallible> {
        self.fields.extend(values.iter().map(Word::print));
        Ok(())
    }
    fn key<T: Word>(&mut self, key: &'static str, value: &mut T) -> Result<(), Infallible> {
        self.fields.push(format!("{key}={}", value.print()));
        Ok(())
    }
    fn option<T: Word>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
    ) -> Result<(), Infallible> {
        match value {
            Some(value) => self.key(key, value),
            None => Ok(()),
        }
    }
    fn number<N: Number>(
        &mut self,
        key: &'static str,
        value: &mut N,
        _: RangeInclusive<u64>,
    ) -> Result<(), Infallible> {
        let number: u64 = (*value).into();
        self.fields.push(format!("{key}={number}"));
        Ok(())
    }
    fn span(
        &mut self,
        key: &'static str,
        min: &mut u64,
        max: &mut u64,
        _: RangeInclusive<u64>,
    ) -> Result<(), Infallible> {
        self.fields.push(format!("{key}={min}..{max}"));
        Ok(())
    }
    fn flag(&mut self, name: &'static str, value: &mut bool) -> Result<(), Infallible> {
        if *value {
            self.fields.push(name.to_string());
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

/// Reads `tokens` into `line`, which holds the defaults. Every token must be
/// taken by somebody.
pub(super) fn read<L: Line>(line: &mut L, tokens: &[&str]) -> Result<(), Problem> {
    let mut reader = Reader {
        tokens: tokens.iter().map(|token| Some(*token)).collect(),
        known: Vec::new(),
    };
    line.visit(&mut reader)?;
    reader.finish()
}

struct Reader<'a> {
    /// What nobody has taken yet.
    tokens: Vec<Option<&'a str>>,
    /// The names that were asked for: what is allowed on this line.
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn next_word(&mut self) -> Option<&'a str> {
        let slot = self
            .tokens
            .iter_mut()
            .find(|slot| slot.is_some_and(|token| !token.contains('=')))?;
        slot.take()
    }

    /// Takes the value of `key`, if the line has it.
    fn value(&mut self, key: &'static str) -> Result<Option<&'a str>, Problem> {
        self.known.push(key);
        let mut found = None;
        for slot in &mut self.tokens {
            let Some((name, value)) = slot.and_then(|token| token.split_once('=')) else {
                continue;
            };
            if name != key {
                continue;
            }
            if found.is_some() {
                return Err(Problem::Duplicate {
                    what: format!("key `{key}`"),
                });
            }
            found = Some(value);
            *slot = None;
        }
        Ok(found)
    }

    fn finish(self) -> Result<(), Problem> {
        let Some(token) = self.tokens.into_iter().flatten().next() else {
            return Ok(());
        };
        let name = token.split_once('=').map_or(token, |(name, _)| name);
        if self.known.contains(&name) {
            // A key without its value, a flag with one, or a flag twice.
            return Err(Problem::Misshapen {
                found: quote(token),
            });
        }
        Err(Problem::Unknown {
            what: "key",
            found: quote(name),
            known: if self.known.is_empty() {
                "none here".to_string()
            } else {
                self.known.join(", ")
            },
        })
    }
}

fn invalid(what: &str, found: &str, allowed: String) -> Problem {
    Problem::Invalid {
        what: what.to_string(),
        found: quote(found),
        allowed,
    }
}

fn number(key: &str, text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, Problem> {
    text.parse()
        .ok()
        .filter(|n| allowed.contains(n))
        .ok_or_else(|| {
            let allowed = format!("a number from {} to {}", allowed.start(), allowed.end());
            invalid(key, text, allowed)
        })
}

impl Visit for Reader<'_> {
    type Error = Problem;
    fn word<T: Word>(&mut self, what: &'static str, value: &mut T) -> Result<(), Problem> {
        let text = self.next_word().ok_or(Problem::Missing { what })?;
        *value = T::read(text).map_err(|allowed| invalid(what, text, allowed))?;
        Ok(())
    }
    fn words<T: Word>(&mut self, what: &'static str, values: &mut Vec<T>) -> Result<(), Problem> {
        values.clear();
        for slot in &mut self.tokens {
            if let Some(text) = slot.take_if(|token| !token.contains('=')) {
                values.push(T::read(text).map_err(|allowed| invalid(what, text, allowed))?);
            }
        }
        if values.is_empty() {
            return Err(Problem::Missing { what });
        }
        Ok(())
    }
    fn key<T: Word>(&mut self, key: &'static str, value: &mut T) -> Result<(), Problem> {
        if let Some(text) = self.value(key)? {
            *value = T::read(text).map_err(|allowed| invalid(key, text, allowed))?;
        }
        Ok(())
    }
    fn option<T: Word>(&mut self, key: &'static str, value: &mut Option<T>) -> Result<(), Problem> {
        *value = match self.value(key)? {
            Some(text) => Some(T::read(text).map_err(|allowed| invalid(key, text, allowed))?),
            None => None,
        };
        Ok(())
    }
    fn number<N: Number>(
        &mut self,
        key: &'static str,
        value: &mut N,
        allowed: RangeInclusive<u64>,
    ) -> Result<(), Problem> {
        if let Some(text) = self.value(key)? {
            *value = N::try_from(number(key, text, &allowed)?).map_err(|_| {
                // The bounds in the grammar are narrower than the type's.
                invalid(key, text, "a smaller number".to_string())
            })?;
        }
        Ok(())
    }
    fn span(
        &mut self,
        key: &'static str,
        min: &mut u64,
        max: &mut u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<(), Problem> {
        let Some(text) = self.value(key)? else {
            return Ok(());
        };
        let ends = text.split_once("..").and_then(|(low, high)| {
            let low = number(key, low, &allowed).ok()?;
            let high = number(key, high, &allowed).ok()?;
            (low <= high).then_some((low, high))
        });
        (*min, *max) = ends.ok_or_else(|| {
            let (start, end) = (allowed.start(), allowed.end());
            invalid(key, text, format!("LOW..HIGH, within {start}..{end}"))
        })?;
        Ok(())
    }
    fn flag(&mut self, name: &'static str, value: &mut bool) -> Result<(), Problem> {
        self.known.push(name);
        let slot = self.tokens.iter_mut().find(|slot| **slot == Some(name));
        *value = slot.and_then(Option::take).is_some();
        Ok(())
    }
    fn must(&mut self, key: &'static str) -> Result<(), Problem> {
        if self.given(key) {
            Ok(())
        } else {
            Err(Problem::Missing { what: key })
        }
    }
    fn given(&self, key: &'static str) -> bool {
        self.tokens
            .iter()
            .flatten()
            .any(|token| token.split_once('=').is_some_and(|(name, _)| name == key))
    }
}
