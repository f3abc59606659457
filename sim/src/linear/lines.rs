//! A history written as JSON lines: what [`History::parse`] reads.

use std::fmt;

use serde_json::Value;

use super::history::{Call, Done, History, Model, Operation};
use super::parse::Kind;

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut events = Vec::new();
        for operation in &self.operations {
            events.push((operation.invoked, Kind::Invoke, operation));
            if let Some((line, done)) = operation.ended {
                events.push((line, Kind::End(done), operation));
            }
        }
        events.sort_by_key(|(line, ..)| *line);
        for (_, kind, operation) in events {
            self.event(f, kind, operation)?;
        }
        Ok(())
    }
}

impl History {
    fn event(&self, f: &mut fmt::Formatter<'_>, kind: Kind, operation: &Operation) -> fmt::Result {
        let (process, name) = (&operation.process, operation.call.name(self.model));
        let kind_name = kind.name();
        write!(
            f,
            r#"{{"process":{process},"type":"{kind_name}","f":"{name}""#
        )?;
        if let Some(key) = &operation.key {
            write!(f, r#","key":{}"#, Value::from(key.as_str()))?;
        }
        writeln!(f, r#","value":{}}}"#, self.value(kind, &operation.call))
    }

    fn value(&self, kind: Kind, call: &Call) -> String {
        let json = |value: &String| match self.model {
            Model::Register => value.clone(),
            Model::Kv => Value::from(value.as_str()).to_string(),
        };
        match call {
            Call::Read { seen: Some(seen) } if kind == Kind::End(Done::Ok) => json(seen),
            Call::Read { .. } => "null".to_owned(),
            Call::Write { value } | Call::Append { value } => json(value),
            Call::Cas { from, to } => format!("[{},{}]", json(from), json(to)),
        }
    }
}
