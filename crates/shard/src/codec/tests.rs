//! Tests of decoding: no bytes that can arrive make it panic, and no bytes are taken for another type.

use holdfast_ledger::{Action, Change, Command, Details, Entry, OperationId, Principal, Sku, WarehouseId};
use proptest::prelude::*;

use super::{decode, encode};
use crate::forward::{ForwardReply, ForwardRequest};
use crate::peer::check_decoders;
use crate::raft_types::{EncodedCommand, EntryBytes, LogId, RaftEntry, SnapshotMeta, Vote};

fn decode_all(bytes: &[u8]) {
    let _ = decode::<Entry>(bytes);
    let _ = decode::<Vec<Change>>(bytes);
    let _ = decode::<RaftEntry>(bytes);
    let _ = decode::<LogId>(bytes);
    let _ = decode::<Vote>(bytes);
    let _ = decode::<SnapshotMeta>(bytes);
    let _ = decode::<ForwardRequest>(bytes);
    let _ = decode::<ForwardReply>(bytes);
    check_decoders(bytes);
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command =
        (any::<[u8; 16]>(), "[a-zA-Z0-9]{1,20}", any::<i64>()).prop_map(|(mut id, name, quantity)| {
            id[6] = id[6] & 0x0f | 0x70;
            id[8] = id[8] & 0x3f | 0x80;
            Command {
                operation_id: OperationId::from_slice(&id).unwrap(),
                principal: Principal::new("test").unwrap(),
                reference: Default::default(),
                reason: Default::default(),
                details: Details::default(),
                action: Action::Receive {
                    sku: Sku::new(name).unwrap(),
                    warehouse: WarehouseId::new("north").unwrap(),
                    quantity,
                    supply_id: None,
                },
            }
        });
    prop::collection::vec(command, 0..200)
}

proptest! {
    #[test]
    fn garbage_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..400), versioned: bool) {
        if versioned && !bytes.is_empty() {
            bytes[0] = super::VERSION;
        }
        decode_all(&bytes);
    }

    #[test]
    fn a_truncated_or_longer_message_is_not_taken(commands in commands(), cut in any::<prop::sample::Index>()) {
        let request = ForwardRequest::Submit { commands, timeout_ms: 9 };
        let bytes = encode(&request).unwrap();
        prop_assert_eq!(decode::<ForwardRequest>(&bytes).unwrap(), request);
        let cut = cut.index(bytes.len());
        prop_assert!(decode::<ForwardRequest>(&bytes[..cut]).is_err());
        decode_all(&bytes[..cut]);
        let mut longer = bytes.to_vec();
        longer.push(0);
        prop_assert!(decode::<ForwardRequest>(&longer).is_err());
    }

    #[test]
    fn a_flipped_bit_is_survived(commands in commands(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = encode(&ForwardRequest::Submit { commands, timeout_ms: 9 }).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        decode_all(&bytes);
    }

    #[test]
    fn an_entry_joined_from_encoded_commands_reads_as_that_entry(commands in commands(), log_time_ms: u64) {
        let encoded: Vec<_> = commands.iter().cloned().map(EncodedCommand::new).collect();
        let joined = EntryBytes::join(log_time_ms, encoded.iter()).unwrap();
        prop_assert_eq!(joined.read().unwrap(), Entry { log_time_ms, commands });
    }
}

#[test]
fn another_version_is_refused() {
    let mut bytes = encode(&7u64).unwrap().to_vec();
    bytes[0] = 2;
    assert_eq!(decode::<u64>(&bytes), Err(super::CodecError::Version(2)));
    assert_eq!(decode::<u64>(&[]), Err(super::CodecError::Empty));
}
