//! Overrides from the environment: `HOLDFAST__SECTION__KEY=value`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::old_keys::{self, OldSpelling};
use super::{ConfigError, ENV_PREFIX, schema};

/// Writes the overrides into the table, adds the old spellings among them to `old`, and returns how many
/// overrides there were.
///
/// # Errors
/// A variable does not name a key, its value is not valid, or another variable is the same key in its old
/// spelling.
pub(super) fn apply(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    old: &mut Vec<OldSpelling>,
) -> Result<usize, ConfigError> {
    let found: BTreeMap<String, String> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect();
    let mut written = BTreeMap::new();
    for (name, value) in &found {
        let Override {
            section,
            key,
            value,
            old_spelling,
        } = parse(name, value)?;
        if let Some(other) = written.insert((section.clone(), key.clone()), name) {
            return Err(ConfigError::BadOverride {
                name: name.clone(),
                message: format!("{other} is the same key in another spelling: keep one of them"),
            });
        }
        old.extend(old_spelling);
        let Some(section) = section else {
            table.insert(key, value);
            continue;
        };
        let place = table
            .entry(section.clone())
            .or_insert_with(|| Value::Table(Table::new()));
        let Some(place) = place.as_table_mut() else {
            return Err(ConfigError::BadOverride {
                name: name.clone(),
                message: format!("`{section}` is not a section in the file"),
            });
        };
        place.insert(key, value);
    }
    Ok(found.len())
}

/// A variable as a key and its value.
struct Override {
    /// The section of the key; a list has none.
    section: Option<String>,
    key: String,
    value: Value,
    old_spelling: Option<OldSpelling>,
}

fn parse(name: &str, value: &str) -> Result<Override, ConfigError> {
    let unknown = |message: String| ConfigError::UnknownOverride {
        name: name.to_owned(),
        message,
    };
    let bad = |message: String| ConfigError::BadOverride {
        name: name.to_owned(),
        message,
    };
    let path: Vec<String> = name[ENV_PREFIX.len()..]
        .split("__")
        .map(str::to_ascii_lowercase)
        .collect();
    match path.as_slice() {
        [list] if list == "peers" => Ok(Override {
            section: None,
            key: list.clone(),
            value: parse_toml(name, value)?,
            old_spelling: None,
        }),
        [section, _] if !schema::sections().any(|known| known == section) => Err(unknown(format!(
            "there is no section `{section}`; {}",
            sections()
        ))),
        [section, key] => {
            let (key, value, old_spelling) = if let Some(known) = schema::key(section, key) {
                let value = if known.is_text() {
                    known
                        .check_text(value)
                        .map_err(|problem| bad(problem.to_string()))?;
                    Value::String(value.to_owned())
                } else {
                    parse_toml(name, value)?
                };
                (key.clone(), value, None)
            } else if let Some((new_name, key)) = old_keys::find(section, key) {
                let variable = format!("{ENV_PREFIX}{section}__{new_name}").to_ascii_uppercase();
                let value = old_keys::convert(key, &parse_toml(name, value)?).map_err(|problem| {
                    bad(format!("{problem}; write {variable}={}", old_keys::sample(key)))
                })?;
                let old_spelling = OldSpelling {
                    old: name.to_owned(),
                    new: format!("{variable}={}", value.as_str().unwrap_or_default()),
                };
                (new_name.to_owned(), value, Some(old_spelling))
            } else {
                let keys: Vec<&str> = schema::keys_of(section).map(|(name, _)| name).collect();
                return Err(unknown(format!(
                    "section `{section}` has the keys {}",
                    keys.join(", ")
                )));
            };
            Ok(Override {
                section: Some(section.clone()),
                key,
                value,
                old_spelling,
            })
        }
        _ => Err(unknown(format!(
            "write {ENV_PREFIX}SECTION__KEY, or {ENV_PREFIX}PEERS with a TOML list; {}",
            sections()
        ))),
    }
}

fn sections() -> String {
    let names: Vec<&str> = schema::sections().collect();
    format!("the sections are {}", names.join(", "))
}

fn parse_toml(name: &str, value: &str) -> Result<Value, ConfigError> {
    let bad = |message: String| ConfigError::BadOverride {
        name: name.to_owned(),
        message,
    };
    let mut table: Table =
        toml::from_str(&format!("value = {value}")).map_err(|e| bad(e.message().to_owned()))?;
    if table.len() != 1 {
        return Err(bad("only one value is expected".to_owned()));
    }
    table
        .remove("value")
        .ok_or_else(|| bad("no value was given".to_owned()))
}
