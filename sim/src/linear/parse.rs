//! A history as JSON lines, in Jepsen's terms. The form is in
//! `docs/histories.md`.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::history::{Call, Done, History, Model, Operation};

/// A line that is no part of a history, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct InputError {
    /// From 1.
    pub line: usize,
    pub wrong: Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("not an object")]
    NotAnObject,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{field}` is {got}, not {expected}")]
    Field {
        field: &'static str,
        got: String,
        expected: &'static str,
    },
    #[error("the model {model} knows no `{f}`: it has {known}")]
    UnknownF {
        model: &'static str,
        f: String,
        known: &'static str,
    },
    #[error("a register has no key")]
    KeyOfRegister,
    #[error("process {0} invokes while its operation of line {1} is open")]
    StillOpen(String, usize),
    #[error("process {0} has no open operation to end")]
    NothingOpen(String),
    #[error("ends the operation of line {line} with another `{field}`: {got}, not {expected}")]
    Differs {
        line: usize,
        field: &'static str,
        got: String,
        expected: String,
    },
}

/// The four types of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invoke,
    End(Done),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::End(Done::Ok) => "ok",
            Kind::End(Done::Fail) => "fail",
            Kind::End(Done::Info) => "info",
        }
    }
}

impl FromStr for Kind {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "invoke" => Ok(Kind::Invoke),
            "ok" => Ok(Kind::End(Done::Ok)),
            "fail" => Ok(Kind::End(Done::Fail)),
            "info" => Ok(Kind::End(Done::Info)),
            _ => Err(()),
        }
    }
}

impl History {
    /// Reads JSON lines. Empty lines are passed over, unknown fields ignored.
    pub fn parse(text: &str, model: Model) -> Result<Self, InputError> {
        let mut reader = Reader::new(model);
        for (line, text) in (1..).zip(text.lines()) {
            reader.lines = line;
            if !text.trim().is_empty() {
                let wrong = |wrong| InputError { line, wrong };
                reader.line(text).map_err(wrong)?;
            }
        }
        Ok(reader.finish())
    }
}

struct Reader {
    model: Model,
    lines: usize,
    operations: Vec<Operation>,
    /// The open operation of each process.
    open: BTreeMap<String, usize>,
}

type Object = serde_json::Map<String, Value>;

impl Reader {
    fn new(model: Model) -> Self {
        Reader {
            model,
            lines: 0,
            operations: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    fn finish(self) -> History {
        History {
            model: self.model,
            operations: self.operations,
            lines: self.lines,
        }
    }

    fn line(&mut self, text: &str) -> Result<(), Wrong> {
        let event: Value =
            serde_json::from_str(text).map_err(|error| Wrong::NotJson(error.to_string()))?;
        let Value::Object(event) = event else {
            return Err(Wrong::NotAnObject);
        };
        let process = process(&event)?;
        match text_of(&event, "type", "invoke, ok, fail or info")?.parse() {
            Ok(Kind::Invoke) => self.invoke(process, &event),
            Ok(Kind::End(done)) => self.end(process, &event, done),
            Err(()) => Err(wrong("type", &event["type"], "invoke, ok, fail or info")),
        }
    }

    fn invoke(&mut self, process: String, event: &Object) -> Result<(), Wrong> {
        if let Some(open) = self.open.get(&process) {
            let line = self.operations[*open].invoked;
            return Err(Wrong::StillOpen(process, line));
        }
        let f = text_of(event, "f", "the name of an operation")?;
        let call = self.call(f, event.get("value"))?;
        let key = self.key(event)?;
        if key.is_none() && self.model == Model::Kv {
            return Err(Wrong::Missing("key"));
        }
        self.open.insert(process.clone(), self.operations.len());
        self.operations.push(Operation {
            process,
            key,
            call,
            invoked: self.lines,
            ended: None,
        });
        Ok(())
    }

    fn end(&mut self, process: String, event: &Object, done: Done) -> Result<(), Wrong> {
        let Some(open) = self.open.get(&process).copied() else {
            return Err(Wrong::NothingOpen(process));
        };
        let began = &self.operations[open];
        let differs = |field, got: String, expected: &str| Wrong::Differs {
            line: began.invoked,
            field,
            got,
            expected: expected.to_owned(),
        };
        let expected = began.call.name(self.model);
        let f = text_of(event, "f", "the name of an operation")?;
        if f != expected {
            // A name that means nothing is more than a mismatch.
            self.call_names(f)?;
            return Err(differs("f", f.to_owned(), expected));
        }
        if let Some(key) = self.key(event)?
            && began.key.as_ref() != Some(&key)
        {
            return Err(differs("key", key, began.key.as_deref().unwrap_or("none")));
        }
        let value = event.get("value");
        let call = match &began.call {
            Call::Read { .. } if done == Done::Ok => Call::Read {
                seen: Some(self.value(value.ok_or(Wrong::Missing("value"))?)?),
            },
            Call::Read { .. } => Call::Read { seen: None },
            // Null tells nothing, unless null is what is written.
            call => match value.filter(|value| !value.is_null()) {
                None => call.clone(),
                Some(value) => {
                    let again = self.call(f, Some(value))?;
                    if again != *call {
                        return Err(differs("value", again.value(), &call.value()));
                    }
                    again
                }
            },
        };
        let began = &mut self.operations[open];
        began.call = call;
        began.ended = Some((self.lines, done));
        self.open.remove(&process);
        Ok(())
    }

    fn call_names(&self, f: &str) -> Result<(), Wrong> {
        let (names, known): (&[&str], _) = match self.model {
            Model::Register => (&["read", "write", "cas"], "read, write and cas"),
            Model::Kv => (&["get", "put", "append"], "get, put and append"),
        };
        match names.contains(&f) {
            true => Ok(()),
            false => Err(Wrong::UnknownF {
                model: self.model.name(),
                f: f.to_owned(),
                known,
            }),
        }
    }

    /// What is asked for. The value of a read is not looked at: it has none yet.
    fn call(&self, f: &str, value: Option<&Value>) -> Result<Call, Wrong> {
        self.call_names(f)?;
        if let "read" | "get" = f {
            return Ok(Call::Read { seen: None });
        }
        let value = value.ok_or(Wrong::Missing("value"))?;
        Ok(match f {
            "cas" => {
                let pair = value.as_array().map(Vec::as_slice);
                let Some([from, to]) = pair else {
                    return Err(wrong("value", value, "[from, to]"));
                };
                let (from, to) = (self.value(from)?, self.value(to)?);
                Call::Cas { from, to }
            }
            "append" => Call::Append {
                value: self.value(value)?,
            },
            _ => Call::Write {
                value: self.value(value)?,
            },
        })
    }

    fn value(&self, value: &Value) -> Result<String, Wrong> {
        match (self.model, value) {
            (Model::Kv, Value::String(text)) => Ok(text.clone()),
            (Model::Kv, _) => Err(wrong("value", value, "a string")),
            (Model::Register, Value::Array(_) | Value::Object(_)) => Err(wrong(
                "value",
                value,
                "null, a number, a string or a boolean",
            )),
            (Model::Register, Value::Number(number)) => Ok(numeral(number)),
            (Model::Register, _) => Ok(value.to_string()),
        }
    }

    fn key(&self, event: &Object) -> Result<Option<String>, Wrong> {
        match (self.model, event.get("key")) {
            (_, None | Some(Value::Null)) => Ok(None),
            (Model::Register, Some(_)) => Err(Wrong::KeyOfRegister),
            (Model::Kv, Some(Value::String(key))) => Ok(Some(key.clone())),
            (Model::Kv, Some(other)) => Err(wrong("key", other, "a string")),
        }
    }
}

fn process(event: &Object) -> Result<String, Wrong> {
    match event.get("process") {
        None => Err(Wrong::Missing("process")),
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Some(name @ Value::String(_)) => Ok(name.to_string()),
        Some(other) => Err(wrong("process", other, "an integer or a string")),
    }
}

fn text_of<'a>(
    event: &'a Object,
    field: &'static str,
    expected: &'static str,
) -> Result<&'a str, Wrong> {
    match event.get(field) {
        None => Err(Wrong::Missing(field)),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(field, other, expected)),
    }
}

/// Equal numbers are one value, however they are written.
fn numeral(number: &serde_json::Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            (float as i64).to_string()
        }
        _ => number.to_string(),
    }
}

fn wrong(field: &'static str, got: &Value, expected: &'static str) -> Wrong {
    let mut got = got.to_string();
    if got.chars().count() > 40 {
        got = got.chars().take(40).collect::<String>() + "...";
    }
    Wrong::Field {
        field,
        got,
        expected,
    }
}
