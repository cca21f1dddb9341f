//! Old spellings of keys, which have their unit in the name: `heartbeat_ms = 50` for `heartbeat = "50ms"`.

use std::fmt;

use toml::{Table, Value};

use super::schema::{self, Key};

/// A use of an old spelling, in a file or in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSpelling {
    /// The key as it was written, such as `raft.heartbeat_ms`.
    pub old: String,
    /// The line to write in its place, such as `raft.heartbeat = "50ms"`.
    pub new: String,
}

impl fmt::Display for OldSpelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is the old spelling: write {}", self.old, self.new)
    }
}

/// Returns the key of a section that had this name before, with its name.
pub(super) fn find(section: &str, old: &str) -> Option<(&'static str, Key)> {
    schema::keys_of(section).find(|(_, key)| key.old_key() == Some(old))
}

/// Returns the value of an old spelling in the new one.
///
/// # Errors
/// The value is not a whole number of milliseconds or bytes.
pub(super) fn convert(key: Key, value: &Value) -> Result<Value, String> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .and_then(|number| key.of_old_number(number))
        .map(|measure| Value::String(measure.to_string()))
        .ok_or_else(|| format!("the old spelling takes a whole number, and `{value}` is none"))
}

/// Replaces the old spellings in a file by the new ones, and returns what it replaced.
///
/// # Errors
/// An old key has a value of another type, or both spellings of a key are there. The message names the key.
pub(super) fn replace(file: &mut Table) -> Result<Vec<OldSpelling>, String> {
    let mut found = Vec::new();
    for section in schema::sections() {
        let Some(table) = file.get_mut(section).and_then(Value::as_table_mut) else {
            continue;
        };
        for (name, key) in schema::keys_of(section) {
            let Some(old) = key.old_key() else { continue };
            let Some(value) = table.remove(old) else { continue };
            if table.contains_key(name) {
                return Err(format!(
                    "{section}.{old} is the old spelling of {section}.{name}, and both are there: keep {section}.{name}"
                ));
            }
            let value = convert(key, &value).map_err(|problem| {
                format!(
                    "{section}.{old}: {problem}; write {section}.{name} = \"{}\"",
                    sample(key)
                )
            })?;
            found.push(OldSpelling {
                old: format!("{section}.{old}"),
                new: format!("{section}.{name} = {value}"),
            });
            table.insert(name.to_owned(), value);
        }
    }
    Ok(found)
}

/// Returns a value to show: the default, or else the example.
pub(super) fn sample(key: Key) -> &'static str {
    key.default()
        .or(key.example())
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}
