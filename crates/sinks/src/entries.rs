//! Cuts at the ends of log entries: an entry goes to a target as a whole.

use holdfast_api::v1::Change;

/// Returns how many of the changes make `enough` changes of whole entries: the entry that reaches `enough` is
/// the last one. With fewer changes it is all whole entries, and without the end of an entry all changes.
pub(crate) fn whole_entries(changes: &[Change], enough: usize) -> usize {
    let mut whole = 0;
    for (index, change) in changes.iter().enumerate() {
        if u64::from(change.entry_offset) + 1 == u64::from(change.entry_changes) {
            whole = index + 1;
            if whole >= enough {
                return whole;
            }
        }
    }
    // The runner brings nothing but whole entries, so the rest of one goes with those before it.
    if whole == 0 { changes.len() } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(sizes: &[u32]) -> Vec<Change> {
        let changes = sizes.iter().flat_map(|size| {
            (0..*size).map(|entry_offset| Change {
                entry_changes: *size,
                entry_offset,
                ..Change::default()
            })
        });
        changes.collect()
    }

    #[test]
    fn a_cut_is_at_the_end_of_the_entry_that_reaches_the_count() {
        assert_eq!(whole_entries(&entries(&[1, 3, 2]), 4_096), 6);
        assert_eq!(whole_entries(&entries(&[4_095, 10, 5]), 4_096), 4_105);
        assert_eq!(whole_entries(&entries(&[4_096, 10]), 4_096), 4_096);
        assert_eq!(whole_entries(&entries(&[9_000, 1]), 4_096), 9_000);
        assert_eq!(whole_entries(&entries(&[1, 1]), 256), 2);
        assert_eq!(whole_entries(&entries(&[1_000, 1]), 256), 1_000);
        assert_eq!(whole_entries(&entries(&[255, 10, 10]), 256), 265);
        assert_eq!(whole_entries(&entries(&[256, 10]), 256), 256);
        assert_eq!(whole_entries(&entries(&[]), 256), 0);
    }
}
