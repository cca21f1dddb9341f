//! The documents of a file that other files brought before: done already, or there with other rows.
//!
//! Orders are exported again and again: with the days before, saved anew by a spreadsheet, corrected by hand. A
//! document that is in the ledger has had its effect, so the same document in another file has none. One that differs
//! is reported, and nothing of it is done: nobody but its owner can say which of the two holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use holdfast_feeds::{Kind, Row};

use super::applied::{Applied, AppliedOperation};
use super::identity::{Source, Tail};
use super::requests::{ADJUST, BACK, BACK_UNREFERENCED, row_document, sale_document};

/// Most differences that are told of one document.
const MAX_TOLD: usize = 5;

/// What other files brought.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Documents that are in the ledger as they stand in this file.
    same: HashSet<String>,
    /// Documents that are in the ledger with other rows, and what differs.
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
            // What this file itself began it goes on with.
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

    /// Was this document brought by another file, as it stands here?
    pub(super) fn is_same(&self, document: &str) -> bool {
        self.same.contains(document)
    }

    /// A document of this very file that took effect under other ids than those of this import: it was imported as
    /// another source's, with another mapping, or by a version that named operations otherwise. To import it now would
    /// do it twice.
    pub(super) fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// How many were.
    pub(super) fn same(&self) -> u64 {
        self.same.len() as u64
    }

    /// What differs from what another file brought, if anything does.
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

/// Units by what they are for: an article, and for what comes back or is adjusted also the row's rank.
type Units = BTreeMap<(String, u32), i64>;

/// What a document asks for.
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

/// What took effect of a document.
#[derive(Default)]
struct Brought {
    sold: Units,
    back: Units,
    adjusted: Units,
    /// A line of it got less than it asked for, so one that got nothing may have been asked for as well.
    is_partly_filled: bool,
    is_of_this_file: bool,
    /// Something of this very file is there under other ids.
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
        // As many parts as there could be; each is asked for by its name, since another source may have the same number.
        for part in 0..found.len() {
            if let Some(operation) = take(&sale_document(document, part, "reserve")) {
                brought.is_of_this_file |= operation.is_of_this_file;
                brought.is_partly_filled |= sum(operation.granted.values()) < sum(operation.units.values());
                for (sku, units) in &operation.units {
                    brought.sold.insert((sku.clone(), 0), *units);
                }
            }
        }
        // A row that was refused has left no trace, so ranks may be missing.
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
        // A commit or a shipment moves nothing that counts here, and may be of another file than the hold.
        brought.has_foreign = found.iter().any(|(tail, operation)| {
            operation.is_of_this_file && !operation.units.is_empty() && !taken.contains(*tail)
        });
        brought
    }

    fn is_nothing(&self) -> bool {
        self.sold.is_empty() && self.back.is_empty() && self.adjusted.is_empty()
    }

    /// What differs, for a person.
    fn differences(&self, asked: &Asked, best_effort: bool) -> Vec<String> {
        let is_partly_filled = self.is_partly_filled || best_effort;
        // A line that got nothing has left no trace.
        let mut differences = differ("sold", &self.sold, &asked.sold, |brought, _| {
            brought.is_none() && is_partly_filled
        });
        // What came back may be less than asked for, where the sale had got less.
        differences.extend(differ("taken back", &self.back, &asked.back, |brought, asked| {
            is_partly_filled && brought.unwrap_or(0) <= asked.unwrap_or(0)
        }));
        differences.extend(differ("adjusted", &self.adjusted, &asked.adjusted, |_, _| false));
        differences
    }
}

/// Adds up units. Others may use the reasons of imports, for as many units as there can be.
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
