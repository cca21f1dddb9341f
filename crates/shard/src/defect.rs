//! Defects that tests plant, to test the way out of a halt (`halt.rs`). An entry breaks the ledger while it
//! is applied when it has a command whose reference begins with a mark. Compiled in for tests of this crate
//! and with the feature `faults`, never in a binary that serves.

use holdfast_ledger::Entry;

/// Beginning of the reference of a command that breaks the ledger.
#[cfg(any(test, feature = "faults"))]
pub const MARK: &str = "planted-defect";

#[cfg(any(test, feature = "faults"))]
static MENDED: parking_lot::Mutex<std::collections::BTreeSet<String>> =
    parking_lot::Mutex::new(std::collections::BTreeSet::new());

/// Makes this process one whose program can apply entries with this reference.
#[cfg(any(test, feature = "faults"))]
pub fn mend(reference: &str) {
    MENDED.lock().insert(reference.to_owned());
}

/// Returns what an entry breaks, if a defect is planted for it.
#[cfg(any(test, feature = "faults"))]
pub(crate) fn of(entry: &Entry) -> Option<String> {
    let references = entry.commands.iter().map(|command| command.reference.as_str());
    let mut marked = references.filter(|reference| reference.starts_with(MARK));
    let broken = marked.find(|reference| !MENDED.lock().contains(*reference))?;
    Some(format!("invariant violated: {broken}"))
}

/// Returns whether a planted defect made this state. Such a state knows a SKU that is named like the mark.
#[cfg(any(test, feature = "faults"))]
pub(crate) fn of_state(ledger: &holdfast_ledger::Ledger) -> bool {
    use holdfast_ledger::{Query, QueryReply, Sku};
    let Ok(sku) = Sku::new(MARK) else {
        return false;
    };
    let query = Query::Cells { sku, warehouse: None };
    matches!(ledger.query(&query), Ok(QueryReply::Cells(cells)) if !cells.is_empty())
}

/// Returns whether a planted defect made this state: never, in a binary that serves.
#[cfg(not(any(test, feature = "faults")))]
pub(crate) const fn of_state(_: &holdfast_ledger::Ledger) -> bool {
    false
}

/// Returns what an entry breaks: nothing, in a binary that serves.
#[cfg(not(any(test, feature = "faults")))]
pub(crate) const fn of(_: &Entry) -> Option<String> {
    None
}
