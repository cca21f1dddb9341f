//! The JSON Schema of a configuration, made from the types of the sections and their doc comments.
//!
//! It is the one description of the keys. The [reference](super::reference()), the checks of ranges, the
//! overrides from the environment and the Helm chart read it.
//!
//! JSON Schema knows no times and no sizes. A key that is one has `x-unit`, which is `time` or `size`, and
//! `x-minimum` and `x-maximum`, written as a value is. `x-old-key` is the old spelling of a key.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::NodeConfig;
use super::units::{ByteSize, TimeSpan, UnitError};

/// The prefix of the references from a schema into its definitions.
const DEFINITIONS: &str = "#/$defs/";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<NodeConfig>().to_value();
    let definitions = match schema.as_object_mut().and_then(|root| root.remove("$defs")) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    tidy(&mut schema, &definitions);
    schema
});

/// Returns the JSON Schema of a configuration file.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// Puts each definition in the place of the references to it, and takes out what says nothing in TOML.
fn tidy(schema: &mut Value, definitions: &Map<String, Value>) {
    if let Value::Array(parts) = schema {
        parts.iter_mut().for_each(|part| tidy(part, definitions));
    }
    let Value::Object(about) = schema else { return };
    let reference = about.remove("$ref");
    let definition = reference
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|reference| definitions.get(reference.strip_prefix(DEFINITIONS)?));
    if let Some(Value::Object(definition)) = definition {
        // The description of a section is that of its type. Its default is that of its keys.
        about.remove("default");
        about.extend(definition.clone());
    }
    // There is no null in TOML: a key without a value is left out.
    if let Some(Value::Array(types)) = about.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            about.insert("type".to_owned(), only);
        }
    }
    if about
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"))
    {
        about.remove("format");
    }
    if let Some(Value::Array(variants)) = about.remove("oneOf") {
        let names = variants.into_iter().filter_map(|mut variant| {
            let variant = variant.as_object_mut()?;
            variant.remove("const")
        });
        about.insert("enum".to_owned(), names.collect());
        about.insert("type".to_owned(), "string".into());
    }
    if let Some(Value::String(text)) = about.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    about.values_mut().for_each(|part| tidy(part, definitions));
}

/// A key of the configuration, as its schema describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    about: &'static Value,
}

/// A value that has a range, in the unit in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// A number without a unit.
    Count(u64),
    /// A time.
    Time(TimeSpan),
    /// A size.
    Size(ByteSize),
}

impl Measure {
    fn number(self) -> u64 {
        match self {
            Self::Count(number) => number,
            Self::Time(time) => time.as_millis(),
            Self::Size(size) => size.bytes(),
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(number) => number.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Size(size) => size.fmt(f),
        }
    }
}

/// Returns the keys of a section, in order of their names.
pub(super) fn keys_of(section: &str) -> impl Iterator<Item = (&'static str, Key)> {
    properties(&schema()["properties"][section]).map(|(name, about)| (name, Key { about }))
}

/// Returns the names of the sections. `peers`, which is a list, is none.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    properties(schema())
        .filter(|(_, about)| about["type"] == "object")
        .map(|(name, _)| name)
}

/// Returns a key of a section.
pub(super) fn key(section: &str, name: &str) -> Option<Key> {
    keys_of(section)
        .find(|(known, _)| *known == name)
        .map(|(_, key)| key)
}

fn properties(object: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    object["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, about)| (name.as_str(), about))
}

impl Key {
    /// Returns whether a value of the key is text, as times and sizes are.
    pub(super) fn is_text(self) -> bool {
        self.about["type"] == "string"
    }

    /// Checks a text that is to be a value of the key.
    ///
    /// # Errors
    /// The key is a time or a size, and the text is none.
    pub(super) fn check_text(self, text: &str) -> Result<(), UnitError> {
        match self.about["x-unit"].as_str() {
            Some("time") => text.parse::<TimeSpan>().map(drop),
            Some("size") => text.parse::<ByteSize>().map(drop),
            _ => Ok(()),
        }
    }

    /// Returns the value of a file that does not have the key, if it is one that can be written.
    pub(super) fn default(self) -> Option<&'static Value> {
        self.about.get("default")
    }

    /// Returns a value to show.
    pub(super) fn example(self) -> Option<&'static Value> {
        self.about["examples"].get(0)
    }

    /// Returns the old spelling of the key.
    pub(super) fn old_key(self) -> Option<&'static str> {
        self.about["x-old-key"].as_str()
    }

    /// Returns a number of the old spelling's unit, milliseconds or bytes, as a value of the key.
    pub(super) fn of_old_number(self, number: u64) -> Option<Measure> {
        match self.about["x-unit"].as_str()? {
            "time" => Some(Measure::Time(TimeSpan::from_millis(number))),
            "size" => Some(Measure::Size(ByteSize::new(number))),
            _ => None,
        }
    }

    /// Returns a value of the key as something that has a range.
    fn measure(self, value: &Value) -> Option<Measure> {
        match self.about["x-unit"].as_str() {
            Some("time") => value.as_str()?.parse().ok().map(Measure::Time),
            Some("size") => value.as_str()?.parse().ok().map(Measure::Size),
            _ => value.as_u64().map(Measure::Count),
        }
    }

    fn limit(self, end: &str) -> Option<Measure> {
        let limit = self.about.get(format!("x-{end}")).or(self.about.get(end))?;
        self.measure(limit)
    }

    /// Returns the allowed values in words, such as `from 5ms to 10s`, if not every value is allowed.
    pub(super) fn range(self) -> Option<String> {
        if let Some(Value::Array(choices)) = self.about.get("enum")
            && self.about["type"] == "integer"
        {
            let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
            let (last, others) = choices.split_last()?;
            return Some(format!("{} or {last}", others.join(", ")));
        }
        match (self.limit("minimum"), self.limit("maximum")) {
            (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
            (Some(least), None) if least.number() > 0 => Some(format!("at least {least}")),
            (None, Some(most)) => Some(format!("at most {most}")),
            _ => None,
        }
    }

    /// Returns the problem of a value that is not one of the allowed ones. `name` is the key's full name.
    pub(super) fn problem(self, name: &str, value: &Value) -> Option<String> {
        let measure = self.measure(value)?;
        if let Some(Value::Array(choices)) = self.about.get("enum")
            && !choices.contains(value)
        {
            return Some(format!("{name} is {measure}: choose {}", self.range()?));
        }
        let number = measure.number();
        let is_too_low = self.limit("minimum").is_some_and(|least| number < least.number());
        let is_too_high = self.limit("maximum").is_some_and(|most| number > most.number());
        let range = self.range().filter(|_| is_too_low || is_too_high)?;
        let value = if range.starts_with("from") { "a value " } else { "" };
        Some(format!("{name} is {measure}: choose {value}{range}"))
    }
}
