//! Documents of a file that other files brought before, either with the same rows or with other rows.
//!
//! Orders are exported again and again: with the days before, saved anew by a spreadsheet, corrected by hand.
//! A document that is in the ledger has had its effect, so the same document in another file has none. A
//! document that differs is reported, and nothing of it is done: only its owner can say which of the two
//! versions is right.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::applied::{Applied, AppliedOperation};
use super::identity::{Source, Tail};
use super::requests::{ADJUST, BACK, BACK_UNREFERENCED, row_document, sale_document};
use crate::read::{Kind, Row};

/// Most differences that are reported of one document.
const MAX_TOLD: usize = 5;

/// Documents that other files brought.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Documents that are in the ledger as they stand in this file.
    same: HashSet<String>,
    /// Documents that are in the ledger with other rows, each with the differences.
    changed: HashMap<String, String>,
    /// The first document of this very file that took effect under other ids.
    foreign: Option<String>,
}

impl Known {
    /// Compares the documents of a file with what took effect.
    pub(super) fn find(rows: &[Row], source: &Source, applied: &Applied, best_effort: bool) -> Self {
        let mut documents: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in rows {
            documents.entry(&row.document).or_default().push(row);
        }
        let mut known = Self::default();
        for (number, rows) in documents {
            let in_ledger = Brought::find(number, &rows, source, applied);
            if in_ledger.has_foreign {
                let first = known.foreign.get_or_insert_with(|| number.to_owned());
                *first = number.min(first).to_owned();
            }
            // A document that this file itself began is continued.
            if in_ledger.is_nothing() || in_ledger.is_of_this_file {
                continue;
            }
            let differences = in_ledger.differences(&Asked::of(&rows), best_effort);
            if differences.is_empty() {
                known.same.insert(number.to_owned());
            } else {
                known.changed.insert(number.to_owned(), told(&differences));
            }
        }
        known
    }

    /// Returns whether another file brought this document with the same rows.
    pub(super) fn is_same(&self, document: &str) -> bool {
        self.same.contains(document)
    }

    /// Returns a document of this very file that took effect under other ids than those of this import. The
    /// file was imported with another source or another mapping, or by a version that named operations
    /// otherwise. Importing it again would do the document twice.
    pub(super) fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// Returns the number of documents that other files brought with the same rows.
    pub(super) fn same(&self) -> u64 {
        self.same.len() as u64
    }

    /// Returns how the document differs from the one that another file brought, if it does.
    pub(super) fn change(&self, document: &str) -> Option<&str> {
        self.changed.get(document).map(String::as_str)
    }
}

fn told(differences: &[String]) -> String {
    let mut text = format!(
        "another file brought this document with other rows: {}",
        differences[..differences.len().min(MAX_TOLD)].join("; ")
    );
    if differences.len() > MAX_TOLD {
        text.push_str(&format!("; and {} more", differences.len() - MAX_TOLD));
    }
    text
}

/// Units by SKU and rank. The rank is that of the row for returns and adjustments, and 0 for sales.
type Units = BTreeMap<(String, u32), i64>;

/// The units that a document asks for.
struct Asked {
    sold: Units,
    back: Units,
    adjusted: Units,
}

impl Asked {
    fn of(rows: &[&Row]) -> Self {
        let mut asked = Self {
            sold: Units::new(),
            back: Units::new(),
            adjusted: Units::new(),
        };
        for row in rows {
            let units = match row.kind {
                Kind::Sale => &mut asked.sold,
                Kind::TakeBack => &mut asked.back,
                Kind::WriteOff | Kind::Found => &mut asked.adjusted,
            };
            *units.entry((row.sku.clone(), row.rank)).or_default() += match row.kind {
                Kind::TakeBack => -row.quantity,
                Kind::Sale | Kind::WriteOff | Kind::Found => row.quantity,
            };
        }
        asked
    }
}

/// The part of a document that took effect.
#[derive(Default)]
struct Brought {
    sold: Units,
    back: Units,
    adjusted: Units,
    /// Whether a line got less than it asked for. Then a line that got nothing may have been asked for as
    /// well.
    is_partly_filled: bool,
    is_of_this_file: bool,
    /// Whether an operation of this very file is there under other ids.
    has_foreign: bool,
}

impl Brought {
    fn find(document: &str, rows: &[&Row], source: &Source, applied: &Applied) -> Self {
        let found: BTreeMap<&Tail, &AppliedOperation> = applied.of_document(document).collect();
        let mut brought = Self::default();
        if found.is_empty() {
            return brought;
        }
        let mut taken: BTreeSet<Tail> = BTreeSet::new();
        let mut take = |name: &str| {
            let tail = source.tail(name);
            let operation = found.get(&tail)?;
            taken.insert(tail);
            Some(*operation)
        };
        // There cannot be more parts than operations. Each is looked up by its name, since another source may
        // use the same number.
        for part in 0..found.len() {
            if let Some(operation) = take(&sale_document(document, part, "reserve")) {
                brought.is_of_this_file |= operation.is_of_this_file;
                brought.is_partly_filled |= sum(operation.granted.values()) < sum(operation.units.values());
                for (sku, units) in &operation.units {
                    brought.sold.insert((sku.clone(), 0), *units);
                }
            }
        }
        // A refused row has left no trace, so ranks may be missing.
        let mut ranks: BTreeMap<&String, u32> = BTreeMap::new();
        let of_rows = rows.iter().map(|row| &row.sku);
        for sku in found
            .values()
            .flat_map(|operation| operation.units.keys())
            .chain(of_rows)
        {
            *ranks.entry(sku).or_default() += 1;
        }
        for (sku, most) in ranks {
            for rank in 0..most {
                for (name, is_back) in [(BACK, true), (BACK_UNREFERENCED, true), (ADJUST, false)] {
                    let Some(operation) = take(&row_document(document, sku, rank, name)) else {
                        continue;
                    };
                    brought.is_of_this_file |= operation.is_of_this_file;
                    let into = if is_back {
                        &mut brought.back
                    } else {
                        &mut brought.adjusted
                    };
                    into.insert((sku.clone(), rank), sum(operation.units.values()));
                }
            }
        }
        // Commits and shipments move no units that count here, and may belong to another file than the hold.
        brought.has_foreign = found.iter().any(|(tail, operation)| {
            operation.is_of_this_file && !operation.units.is_empty() && !taken.contains(*tail)
        });
        brought
    }

    fn is_nothing(&self) -> bool {
        self.sold.is_empty() && self.back.is_empty() && self.adjusted.is_empty()
    }

    /// Describes the differences for a person.
    fn differences(&self, asked: &Asked, best_effort: bool) -> Vec<String> {
        let is_partly_filled = self.is_partly_filled || best_effort;
        // A line that got nothing has left no trace.
        let mut differences = differ("sold", &self.sold, &asked.sold, |brought, _| {
            brought.is_none() && is_partly_filled
        });
        // Less may have come back than was asked for, because the sale itself had got less.
        differences.extend(differ("taken back", &self.back, &asked.back, |brought, asked| {
            is_partly_filled && brought.unwrap_or(0) <= asked.unwrap_or(0)
        }));
        differences.extend(differ("adjusted", &self.adjusted, &asked.adjusted, |_, _| false));
        differences
    }
}

/// Adds up units without overflow: anyone may use the reasons of imports, with any number of units.
fn sum<'a>(units: impl Iterator<Item = &'a i64>) -> i64 {
    units.fold(0, |sum, units| sum.saturating_add(*units))
}

fn differ(
    what: &str,
    brought: &Units,
    asked: &Units,
    is_excused: impl Fn(Option<i64>, Option<i64>) -> bool,
) -> Vec<String> {
    let keys: BTreeSet<&(String, u32)> = brought.keys().chain(asked.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        let (there, here) = (brought.get(key).copied(), asked.get(key).copied());
        if there != here && !is_excused(there, here) {
            let shown = |units: Option<i64>| units.map_or("none".to_owned(), |units| units.to_string());
            differences.push(format!(
                "{} of {} {what} before, {} here",
                shown(there),
                key.0,
                shown(here)
            ));
        }
    }
    differences
}
