//! A value comes back from its bytes as it was, and other bytes are an error, never a panic.

use holdfast_ledger::*;
use proptest::{collection::vec, option, prelude::*};

use crate::generate::{DraftEntry, Writer, id_at, log, options};

fn written(drafts: &[DraftEntry]) -> (Vec<Entry>, Vec<Vec<Change>>, Ledger) {
    let mut writer = Writer::new();
    let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
    let (mut entries, mut changes) = (Vec::new(), Vec::new());
    for draft in drafts {
        let entry = writer.entry(draft);
        let applied = ledger.apply(writer.index, &entry).unwrap();
        writer.learn(&entry, &applied);
        changes.push(applied.changes);
        entries.push(entry);
    }
    (entries, changes, ledger)
}

/// Decodes arbitrary bytes as everything. Anything that is accepted must encode to the same bytes.
fn read_all(bytes: &[u8]) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    }
    if let Ok(changes) = decode_changes(bytes) {
        assert_eq!(decode_changes(&encode_changes(&changes)), Ok(changes));
    }
    if let Ok(command) = decode_command(bytes) {
        assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }
    if let Ok(mut ledger) = Ledger::decode(bytes) {
        assert_eq!(ledger.encode(), bytes);
        ledger.check().unwrap();
        // The ledger may be at the end of its log. It must work, or report that.
        let _ = ledger.apply(
            1 << 47,
            &Entry {
                log_time_ms: 1 << 47,
                commands: Vec::new(),
            },
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(drafts in log(12)) {
        let (entries, changes, _) = written(&drafts);
        for entry in entries {
            prop_assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry.clone()));
            for command in entry.commands {
                prop_assert_eq!(decode_command(&encode_command(&command)), Ok(command));
            }
        }
        for changes in changes {
            prop_assert_eq!(decode_changes(&encode_changes(&changes)), Ok(changes));
        }
    }

    #[test]
    fn truncated_bytes_are_refused(drafts in log(6)) {
        let (entries, changes, ledger) = written(&drafts);
        for bytes in entries.iter().map(encode_entry).take(3) {
            for end in 0..bytes.len() {
                prop_assert!(decode_entry(&bytes[..end]).is_err());
            }
        }
        for bytes in changes.iter().map(|changes| encode_changes(changes)).take(3) {
            for end in 0..bytes.len() {
                prop_assert!(decode_changes(&bytes[..end]).is_err());
            }
        }
        let bytes = ledger.encode();
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
            prop_assert!(Ledger::decode(&bytes[..end]).is_err());
        }
        prop_assert!(Ledger::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn flipped_bytes_are_refused_or_another_valid_value(
        drafts in log(8),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..40),
    ) {
        let (entries, changes, ledger) = written(&drafts);
        let mut all: Vec<Vec<u8>> = entries.iter().map(encode_entry).collect();
        all.extend(changes.iter().map(|changes| encode_changes(changes)));
        all.push(ledger.encode());
        for bytes in all {
            for (at, flip) in &flips {
                let mut bytes = bytes.clone();
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                read_all(&bytes);
            }
        }
    }

    #[test]
    fn details_and_business_times_come_back(
        drafts in log(4),
        occurred_at_ms in option::of(any::<u64>()),
        as_of_seq in option::of(any::<u64>()),
        unique_reference in any::<bool>(),
        replaces in option::of((0..1_u64 << 48, any::<u64>())),
        is_of_time in any::<bool>(),
    ) {
        let replaces = replaces.map(|(time_ms, number)| id_at(time_ms, number));
        let details = Details { occurred_at_ms, as_of_seq, unique_reference, replaces };
        let (entries, changes, _) = written(&drafts);
        for command in entries.into_iter().flat_map(|entry| entry.commands) {
            let command = Command { details, ..command };
            let bytes = encode_command(&command);
            prop_assert_eq!(decode_command(&bytes), Ok(command));
            let without = Command { details: Details::default(), ..decode_command(&bytes).unwrap() };
            prop_assert!(bytes.len() <= encode_command(&without).len() + Details::MAX_BYTES);
            for end in 0..bytes.len() {
                prop_assert!(decode_command(&bytes[..end]).is_err());
            }
        }
        for mut change in changes.into_iter().flatten() {
            change.cause.occurred_at_ms = occurred_at_ms;
            if is_of_time {
                change.cause.operation_id = None;
            }
            let changes = vec![change];
            prop_assert_eq!(decode_changes(&encode_changes(&changes)), Ok(changes));
        }
    }

    #[test]
    fn garbage_is_refused(mut bytes in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        for known in [2, 3] {
            if let Some(version) = bytes.first_mut() {
                *version = known;
            }
            read_all(&bytes);
        }
    }
}

#[test]
fn a_hostile_length_does_not_allocate() {
    for prefix in 0..40 {
        let mut bytes = vec![2];
        bytes.extend(std::iter::repeat_n(0, prefix));
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        read_all(&bytes);
        assert!(decode_entry(&bytes).is_err());
        assert!(decode_changes(&bytes).is_err());
        assert!(Ledger::decode(&bytes).is_err());
    }
}
