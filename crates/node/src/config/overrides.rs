//! Overrides from the environment: `HOLDFAST__SECTION__KEY=value`.

use toml::{Table, Value};

use super::{ConfigError, ENV_PREFIX, NodeConfig};

/// Keys without a default: section, key, and whether the value is text. The table of defaults lacks them.
const OPTIONAL_KEYS: [(&str, &str, bool); 11] = [
    ("node", "cluster_id", true),
    ("node", "threads", false),
    ("limits", "connections", false),
    ("storage", "low_space_bytes", false),
    ("storage", "ballast_bytes", false),
    ("tls", "certificate", true),
    ("tls", "key", true),
    ("tls", "client_ca", true),
    ("tls", "peer_ca", true),
    ("security", "policy", true),
    ("telemetry", "otlp_endpoint", true),
];

/// Writes the overrides into the table, and returns how many there were.
///
/// # Errors
/// A variable does not name a key, or its value is not valid.
pub(super) fn apply(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<usize, ConfigError> {
    let defaults = Table::try_from(NodeConfig::default()).unwrap_or_default();
    let mut found: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect();
    found.sort();
    for (name, value) in &found {
        apply_one(table, &defaults, name, value)?;
    }
    Ok(found.len())
}

fn apply_one(table: &mut Table, defaults: &Table, name: &str, value: &str) -> Result<(), ConfigError> {
    let unknown = |message: String| ConfigError::UnknownOverride {
        name: name.to_owned(),
        message,
    };
    let path: Vec<String> = name[ENV_PREFIX.len()..]
        .split("__")
        .map(str::to_ascii_lowercase)
        .collect();
    match path.as_slice() {
        [list] if list == "peers" => {
            table.insert(list.clone(), parse_toml(name, value)?);
            Ok(())
        }
        [section, key] => {
            let Some(known) = defaults.get(section).and_then(Value::as_table) else {
                return Err(unknown(format!(
                    "there is no section `{section}`; {}",
                    sections(defaults)
                )));
            };
            let optional = OPTIONAL_KEYS
                .iter()
                .find(|(of, name, _)| (*of, *name) == (section.as_str(), key.as_str()));
            let is_text = match known.get(key) {
                Some(known) => Some(known.is_str()),
                None => optional.map(|(_, _, is_text)| *is_text),
            };
            let parsed = match is_text {
                Some(true) => Value::String(value.to_owned()),
                Some(false) => parse_toml(name, value)?,
                None => {
                    let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                    return Err(unknown(format!(
                        "section `{section}` has the keys {}",
                        keys.join(", ")
                    )));
                }
            };
            let section_table = table
                .entry(section.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            let Some(section_table) = section_table.as_table_mut() else {
                return Err(ConfigError::BadOverride {
                    name: name.to_owned(),
                    message: format!("`{section}` is not a section in the file"),
                });
            };
            section_table.insert(key.clone(), parsed);
            Ok(())
        }
        _ => Err(unknown(format!(
            "write {ENV_PREFIX}SECTION__KEY, or {ENV_PREFIX}PEERS with a TOML list; {}",
            sections(defaults)
        ))),
    }
}

fn sections(defaults: &Table) -> String {
    let names: Vec<&str> = defaults
        .iter()
        .filter(|(_, v)| v.is_table())
        .map(|(k, _)| k.as_str())
        .collect();
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
