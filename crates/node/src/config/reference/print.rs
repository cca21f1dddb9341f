//! Prints the reference from the schema, and the schema for the Helm chart.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::{NodeConfig, schema};
use crate::limits;

/// The last column of a comment.
const COLUMNS: usize = 110;

const BEGINNING: &str = "\
# The configuration of one Holdfast node. Every key is shown with its default. Only `node` is required.
# A key that is not known is an error. A time is written with its unit: 50ms, 10s, 15m, 24h or 90d. So is a
# size: 512KiB, 64MiB or 2GiB. An environment variable HOLDFAST__SECTION__KEY overrides a key, for example
# HOLDFAST__NODE__NODE_ID=2. HOLDFAST__PEERS takes the whole list as TOML.
";

/// Adds a paragraph of comments.
fn comment(text: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

fn properties(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object["properties"].as_object().into_iter().flatten()
}

/// Returns a configuration in which every key has a value: the default, or else the example.
fn full() -> NodeConfig {
    let mut config = serde_json::to_value(NodeConfig::default()).unwrap();
    for (section, about) in properties(schema()) {
        for (name, about) in properties(about) {
            let value = &mut config[section][name];
            if value.is_null() {
                *value = about["examples"][0].clone();
            }
        }
    }
    let peer = properties(&schema()["properties"]["peers"]["items"])
        .map(|(name, about)| (name.clone(), about["examples"][0].clone()))
        .collect();
    config["peers"] = json!([Value::Object(peer)]);
    serde_json::from_value(config).unwrap()
}

/// Returns the reference: the keys in the order of the types, with their descriptions and defaults.
fn print() -> String {
    let defaults = serde_json::to_value(NodeConfig::default()).unwrap();
    let mut text = BEGINNING.to_owned();
    let mut section = String::new();
    for line in toml::to_string(&full())
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
    {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_matches(['[', ']']).clone_into(&mut section);
            let about = &schema()["properties"][&section];
            let about = about["items"]["description"]
                .as_str()
                .or(about["description"].as_str());
            text.push('\n');
            comment(&mut text, about.unwrap());
            let is_list = name.starts_with('[');
            let _ = writeln!(text, "{}{line}", if is_list { "#\n# " } else { "" });
            continue;
        }
        let (name, _) = line.split_once(" = ").unwrap();
        let about = &schema()["properties"][&section];
        let (about, is_shown) = match about.get("items") {
            Some(entry) => (&entry["properties"][name], false),
            None => (&about["properties"][name], defaults[&section].get(name).is_some()),
        };
        let mut description = about["description"].as_str().unwrap().to_owned();
        if let Some(range) = schema::key(&section, name).and_then(schema::Key::range) {
            let _ = write!(description, " Allowed: {range}.");
        }
        comment(&mut text, &description);
        let _ = writeln!(text, "{}{line}", if is_shown { "" } else { "# " });
    }
    text
}

/// Compares a committed file with what is printed, after writing it if the tests run with `UPDATE_DOCS`.
fn check(path: &Path, printed: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, printed).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == printed,
        "{} is not what the types of the configuration print: run this test with UPDATE_DOCS=1",
        path.display()
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_is_the_print_of_the_types_and_of_the_table_of_limits() {
    let printed = format!("{}\n{}", print(), limits::comments());
    check(&root().join("src/config/reference.toml"), &printed);
}

#[test]
fn the_chart_has_the_schema_of_the_types() {
    let printed = format!("{}\n", serde_json::to_string_pretty(schema()).unwrap());
    check(
        &root().join("../../helm/holdfast/files/config.schema.json"),
        &printed,
    );
}
