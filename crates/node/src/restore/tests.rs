use uuid::Uuid;

use super::*;
use crate::NodeConfig;

const OLD: Uuid = Uuid::from_u128(1);

fn restored(shards: u32) -> Restored {
    let shard = |shard| RestoredShard {
        shard,
        log_index: 7,
        last_seq: 3,
        state_digest: [shard as u8; 32],
    };
    Restored {
        backup_id: Uuid::from_u128(9),
        backup: "nightly".to_owned(),
        cluster_id: OLD,
        shards: (0..shards).map(shard).collect(),
    }
}

fn config(data_dir: &Path) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.node.node_id = 1;
    config.node.cluster_id = Some(Uuid::from_u128(2));
    config.node.data_dir = data_dir.to_owned();
    config.shards.count = 2;
    config
}

fn refused(config: &NodeConfig, shards: u32) -> RestoreError {
    match Restore::begin(config, restored(shards)) {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

#[test]
fn what_was_written_is_found_and_nothing_counts_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder.path().join("new"));
    let data_dir = &config.node.data_dir;
    assert_eq!(read_record(folder.path()).unwrap(), None);
    let restore = Restore::begin(&config, restored(2)).unwrap();
    restore.ledger(0, b"zero").unwrap();
    assert!(matches!(
        read_record(data_dir),
        Err(RestoreError::Unfinished { .. })
    ));
    assert!(matches!(
        restore.finish(),
        Err(RestoreError::MissingShard { shard: 1 })
    ));
    assert!(matches!(
        read_record(data_dir),
        Err(RestoreError::Unfinished { .. })
    ));

    let restore = Restore::begin(&config, restored(2)).unwrap();
    assert!(!ledger_file(data_dir, 0).exists(), "left over from before");
    restore.ledger(0, b"zero").unwrap();
    restore.ledger(1, b"one").unwrap();
    restore.finish().unwrap();
    assert_eq!(read_record(data_dir).unwrap(), Some(restored(2)));
    assert!(matches!(
        refused(&config, 2),
        RestoreError::AlreadyRestored { .. }
    ));
}

#[test]
fn only_an_empty_folder_of_a_cluster_of_another_name_with_as_many_shards_is_restored_into() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path());
    let error = refused(&good, 3);
    assert!(error.to_string().contains("set shards.count to 3"), "{error}");
    for same in [None, Some(OLD)] {
        let mut config = good.clone();
        config.node.cluster_id = same;
        let error = refused(&config, 2);
        assert!(error.to_string().contains("node.cluster_id"), "{error}");
    }
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    drop(Restore::begin(&good, restored(2)).unwrap());
    fs::create_dir(folder.path().join("log")).unwrap();
    let error = refused(&good, 2);
    assert!(
        matches!(&error, RestoreError::NotEmpty { found, .. } if found == "log"),
        "{error}"
    );
}

#[test]
fn a_record_that_was_changed_is_not_believed() {
    let text = String::from_utf8(restored(2).encode().unwrap()).unwrap();
    let path = Path::new("restored.json");
    assert_eq!(Restored::decode(text.as_bytes(), path).unwrap(), restored(2));
    for (from, to) in [
        ("\"format_version\": 1", "\"format_version\": 2"),
        ("0101", "01x1"),
        ("0101", "01"),
        ("backup_id", "backup_ix"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let error = Restored::decode(changed.as_bytes(), path).unwrap_err();
        assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    }
}
