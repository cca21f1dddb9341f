//! The table: its columns, its rows, and the rows that did not fit.

use serde_json::{Map, Value};

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The channel that it came by.
    pub channel: String,
    /// Its values by column. Null is missing.
    pub values: Map<String, Value>,
}

/// A row of the error table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRow {
    /// The channel that it came by.
    pub channel: String,
    /// The fault.
    pub message: String,
    /// The end of the request that had it.
    pub offset_token_upper_bound: Option<String>,
    /// The row as it was sent.
    pub payload: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Type {
    Integer,
    Text(Option<usize>),
    Boolean,
    Time,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    of: Type,
    required: bool,
}

/// The columns of a table.
#[derive(Debug, Clone)]
pub(crate) struct Table(Vec<Column>);

/// A row cannot be inserted.
pub(crate) enum RowFault {
    /// The row alone is wrong: it goes into the error table.
    Value(String),
    /// The row has a column that the table does not have: the channel becomes invalid.
    Schema(String),
}

impl Table {
    /// Reads the first `create table` of a DDL.
    ///
    /// # Panics
    /// When there is none, or a type is not known here.
    pub(crate) fn of(ddl: &str) -> Self {
        let without_comments: Vec<&str> = ddl
            .lines()
            .map(|line| line.split("--").next().unwrap_or(""))
            .collect();
        let ddl = without_comments.join("\n");
        let (_, after) = ddl
            .split_once("create table")
            .expect("the DDL has a create table");
        let (_, columns) = after.split_once('(').expect("the table has columns");
        let (columns, _) = columns.split_once("\n)").expect("the columns end");
        let columns = columns.lines().map(str::trim).filter(|line| !line.is_empty());
        Self(columns.map(column).collect())
    }

    /// Returns the names of the columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|column| column.name.clone()).collect()
    }

    /// Checks one line of JSON. Names of columns are compared with their case, as pipes may do.
    pub(crate) fn check(&self, line: &str) -> Result<Map<String, Value>, RowFault> {
        let value = |text: String| RowFault::Value(text);
        let row: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| value(format!("not a JSON object: {error}")))?;
        for name in row.keys() {
            if !self.0.iter().any(|column| column.name == *name) {
                return Err(RowFault::Schema(format!("the table has no column {name}")));
            }
        }
        for column in &self.0 {
            let Some(found) = row.get(&column.name).filter(|found| !found.is_null()) else {
                if column.required {
                    return Err(value(format!(
                        "NULL result in a non-nullable column {}",
                        column.name
                    )));
                }
                continue;
            };
            let fits = match (&column.of, found) {
                (Type::Integer, Value::Number(number)) => number.is_i64(),
                (Type::Boolean, Value::Bool(_)) => true,
                (Type::Time, Value::String(text)) => is_time(text),
                (Type::Text(max), Value::String(text)) => max.is_none_or(|max| text.chars().count() <= max),
                _ => false,
            };
            if !fits {
                return Err(value(format!("{found} does not fit the column {}", column.name)));
            }
        }
        Ok(row)
    }
}

fn column(line: &str) -> Column {
    let line = line.trim_end_matches(',');
    let (name, rest) = line.split_once(' ').expect("a column has a type");
    let (of, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Column {
        name: name.to_uppercase(),
        of: match of {
            "integer" | "bigint" => Type::Integer,
            "varchar" => Type::Text(None),
            "boolean" => Type::Boolean,
            "timestamp_ntz" => Type::Time,
            of => {
                let max = of.strip_prefix("varchar(").and_then(|of| of.strip_suffix(')'));
                let max = max.and_then(|max| max.parse().ok());
                Type::Text(Some(
                    max.unwrap_or_else(|| panic!("the type {of} is not known here")),
                ))
            }
        },
        required: rest == "not null",
    }
}

/// Returns whether a text is `YYYY-MM-DDTHH:MM:SS.mmm`.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.ddd";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}
