use bytes::Bytes;
use holdfast_api::v1;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::prelude::*;

use super::*;

#[test]
fn the_columns_are_the_contract_with_the_warehouse() {
    let file = encode(&[v1::Change {
        kind: 6,
        ..v1::Change::default()
    }])
    .unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let columns = reader.metadata().file_metadata().schema_descr();
    let columns: Vec<String> = columns.columns().iter().map(|c| c.name().to_owned()).collect();
    let expected = "shard seq entry_changes entry_offset log_index log_time kind sku warehouse storefront \
         on_hand_delta on_hand_after free_delta free_after pool_delta pool_after safety_delta safety_after \
         held_delta held_after committed_delta committed_after damaged_delta damaged_after \
         quality_hold_delta quality_hold_after deficit_delta deficit_after \
         reservation_id line reservation_state expires_at requested quantity \
         policy_may_borrow policy_max_per_reservation operation_id principal reason reference home \
         backordered_delta backordered_after in_transit_delta in_transit_after sourcing \
         policy_backorder_limit policy_preorder_limit policy_preorder_until \
         transfer_id transfer_from transfer_to transfer_expected_at transfer_quantity transfer_in_transit \
         supply_id supply_quantity supply_expected_at \
         occurred_at";
    assert_eq!(columns, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn a_bucket_that_did_not_move_has_delta_zero_and_no_after() {
    let moves = vec![v1::BucketMove {
        bucket: v1::Bucket::Free.into(),
        delta: -3,
        after: 4,
    }];
    let change = v1::Change {
        seq: 5,
        kind: 9,
        moves,
        ..v1::Change::default()
    };
    let reader = SerializedFileReader::new(encode(&[change]).unwrap()).unwrap();
    let row = reader.get_row_iter(None).unwrap().next().unwrap().unwrap();
    let column = |name: &str| {
        row.get_column_iter()
            .position(|(column, _)| column == name)
            .unwrap()
    };
    assert_eq!(row.get_long(column("free_delta")).unwrap(), -3);
    assert_eq!(row.get_long(column("free_after")).unwrap(), 4);
    assert_eq!(row.get_long(column("held_delta")).unwrap(), 0);
    assert!(row.get_long(column("held_after")).is_err(), "null");
    assert!(row.get_string(column("sku")).is_err(), "null");
    assert_eq!(row.get_string(column("kind")).unwrap(), "received");
}

#[test]
fn a_change_that_does_not_fit_its_columns_is_an_error() {
    let twice = vec![
        v1::BucketMove {
            bucket: 2,
            delta: 1,
            after: 1
        };
        2
    ];
    for change in [
        v1::Change {
            seq: u64::MAX,
            ..v1::Change::default()
        },
        v1::Change {
            shard: u32::MAX,
            ..v1::Change::default()
        },
        v1::Change {
            kind: 99,
            ..v1::Change::default()
        },
        v1::Change {
            moves: twice,
            ..v1::Change::default()
        },
        v1::Change {
            moves: vec![v1::BucketMove::default()],
            ..v1::Change::default()
        },
        v1::Change {
            reservation: Some(v1::ReservationEffect::default()),
            ..v1::Change::default()
        },
    ] {
        assert!(encode(std::slice::from_ref(&change)).is_err(), "{change:?}");
    }
}

/// Without the hash of the whole file, the page checksums alone find each flipped bit in a page. Outside of
/// pages (the headers, the footer) only the hash of the file finds all of them.
#[test]
fn a_bit_flipped_in_a_page_is_found_by_its_checksum() {
    let change = |seq: u64| v1::Change {
        seq,
        kind: 9,
        sku: format!("SKU-{}", seq % 7),
        ..v1::Change::default()
    };
    let changes: Vec<v1::Change> = (1..=500).map(change).collect();
    let file = encode(&changes).unwrap();
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let (mut flips, mut pages) = (0, 0);
    for (column, chunk) in reader.metadata().row_group(0).columns().iter().enumerate() {
        let mut found = reader
            .get_row_group(0)
            .unwrap()
            .get_column_page_reader(column)
            .unwrap();
        while found.get_next_page().unwrap().is_some() {
            pages += 1;
        }
        // The end of a chunk is the end of its last page.
        let (begin, bytes) = chunk.byte_range();
        for back in 1..=4 {
            let mut flipped = file.to_vec();
            flipped[(begin + bytes - back) as usize] ^= 0x10;
            let error = decode(flipped.into()).unwrap_err().to_string();
            assert!(error.contains("CRC"), "{column}: {error}");
            flips += 1;
        }
    }
    assert!(flips >= 200 && pages >= 58, "{flips} flips in {pages} pages");
}

#[test]
fn another_table_is_refused_by_its_columns() {
    use arrow_array::{Int64Array, RecordBatch};
    let columns = [("seq", std::sync::Arc::new(Int64Array::from(vec![1])) as _)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let error = decode(writer.into_inner().unwrap().into()).unwrap_err();
    assert_eq!(error.to_string(), "column shard is missing or not of type Int32");
}

#[test]
fn files_from_before_there_was_business_time_are_read() {
    use arrow_array::RecordBatch;
    let change = v1::Change {
        seq: 5,
        kind: 9,
        cause: Some(v1::Cause::default()),
        ..v1::Change::default()
    };
    let bytes = encode(std::slice::from_ref(&change)).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let columns: Vec<usize> = (0..batches[0].num_columns() - 1).collect();
    let older = batches[0].project(&columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), older.schema(), None).unwrap();
    writer.write(&older).unwrap();
    assert_eq!(decode(writer.into_inner().unwrap().into()).unwrap(), [change]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_change_survives_the_file(changes in prop::collection::vec(crate::arbitrary::change(), 0..40)) {
        prop_assert_eq!(decode(encode(&changes).unwrap()).unwrap(), changes);
    }

    #[test]
    fn the_same_changes_give_the_same_bytes(changes in prop::collection::vec(crate::arbitrary::change(), 0..40)) {
        prop_assert_eq!(encode(&changes).unwrap(), encode(&changes).unwrap());
    }

    #[test]
    fn a_truncated_file_is_an_error(
        changes in prop::collection::vec(crate::arbitrary::change(), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let file = encode(&changes).unwrap();
        prop_assert!(decode(file.slice(..cut.index(file.len()))).is_err());
    }

    #[test]
    fn garbage_is_an_error(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(Bytes::from(garbage)).is_err());
    }

    #[test]
    fn a_flipped_bit_never_panics(
        changes in prop::collection::vec(crate::arbitrary::change(), 1..10),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut file = encode(&changes).unwrap().to_vec();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let _ = decode(Bytes::from(file));
    }
}
