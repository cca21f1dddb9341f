//! Tests that an archive belongs to one cluster.

use super::*;

const OLD: Uuid = Uuid::from_u128(1);
const NEW: Uuid = Uuid::from_u128(2);

fn spans(first_seq: u64, last_seq: u64) -> Spans {
    Spans::from([(3, Span { first_seq, last_seq })])
}

#[tokio::test]
async fn an_archive_is_of_the_first_cluster_that_exports_to_it_and_refuses_every_other_by_name() {
    let (_, archive) = archive();
    archive.belong_to(OLD, &spans(1, 0)).await.unwrap();
    write(&archive, entries(3).concat()).await;
    archive.belong_to(OLD, &spans(1, 6)).await.unwrap();
    for error in [
        archive.belong_to(NEW, &spans(1, 6)).await.unwrap_err(),
        archive.check_owner(NEW).await.unwrap_err(),
    ] {
        let told = error.to_string();
        assert!(
            told.contains(&OLD.to_string()) && told.contains(&NEW.to_string()),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_archive_is_an_error() {
    let (_, archive) = archive();
    archive.belong_to(OLD, &spans(1, 0)).await.unwrap();
    write(&archive, entries(3).concat()).await;
    let error = archive.belong_to(OLD, &spans(1, 5)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::EndsBefore {
                shard: 3,
                archived: 6,
                last_seq: 5
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_archive_whose_owner_was_removed_is_nobodys() {
    let (_, archive) = archive();
    write(&archive, entries(3).concat()).await;
    let error = archive.belong_to(OLD, &spans(1, 9)).await.unwrap_err();
    assert!(matches!(error, ArchiveError::NoOwner), "{error}");
}

#[tokio::test]
async fn a_cut_archive_goes_to_the_cluster_that_was_restored_from_the_backup_and_to_no_other() {
    let (_, archive) = archive();
    let last_seq = BTreeMap::from([(3, 6)]);
    archive.mark_cut(OLD, last_seq.clone()).await.unwrap();
    write(&archive, entries(3).concat()).await;
    // The cut continues where it was interrupted.
    archive.mark_cut(OLD, last_seq).await.unwrap();
    let error = archive.mark_cut(OLD, BTreeMap::from([(3, 5)])).await.unwrap_err();
    assert!(matches!(error, ArchiveError::OtherCut), "{error}");
    let error = archive.belong_to(OLD, &spans(1, 9)).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::CutForRestored { cluster: OLD }),
        "{error}"
    );
    let error = archive.belong_to(NEW, &spans(1, 9)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::NotRestoredFrom {
                cluster: NEW,
                shard: 3,
                last_seq: 6,
                ..
            }
        ),
        "{error}"
    );
    archive.belong_to(NEW, &spans(7, 9)).await.unwrap();
    // Later its stream may begin at another change.
    archive.belong_to(NEW, &spans(8, 9)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_owner_is_told_and_never_taken_for_none() {
    let (store, archive) = archive();
    let too_large = format!(
        "{{\"version\":1,\"cluster_id\":\"{OLD}\"}}{}",
        " ".repeat(64 << 10)
    );
    for content in [&too_large, "", "{", "{}", "{\"version\":1,\"cluster_id\":\"x\"}"] {
        let path = Path::from("some/prefix/changes/owner.json");
        store.put(&path, content.to_owned().into()).await.unwrap();
        let error = archive.belong_to(OLD, &spans(1, 9)).await.unwrap_err();
        assert!(
            matches!(error, ArchiveError::Unreadable { .. } | ArchiveError::Read(_)),
            "{content}: {error}"
        );
    }
}
