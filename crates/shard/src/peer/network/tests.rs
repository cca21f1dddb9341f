use super::*;
use crate::raft_types::LogId;

fn log_id(index: u64) -> LogId {
    LogId::new(*Vote::new(1, 1).leader_id(), index)
}

/// Makes a request after entry `previous` with `entries` entries, which carries the commit of entry
/// `committed`.
fn request(previous: u64, entries: u64, committed: u64) -> AppendEntriesRequest<Types> {
    let entry = |index| <RaftEntry as openraft::entry::RaftEntry>::new_blank(log_id(index));
    AppendEntriesRequest {
        vote: Vote::new(1, 1),
        prev_log_id: Some(log_id(previous)),
        entries: (previous + 1..=previous + entries).map(entry).collect(),
        leader_commit: Some(log_id(committed)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_travels_with_the_entries_that_follow_it() {
    let sent = [
        request(7, 1, 6),
        request(8, 0, 8),
        request(8, 0, 8),
        request(8, 2, 8),
    ];
    let received: Vec<_> = join_commits(stream::iter(sent)).collect().await;
    let seen: Vec<_> = received
        .iter()
        .map(|request| (request.entries.len(), request.leader_commit))
        .collect();
    assert_eq!(seen, [(1, Some(log_id(6))), (2, Some(log_id(8)))]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_nothing_follows_is_told_all_the_same() {
    let began = tokio::time::Instant::now();
    let sent = stream::iter([request(7, 1, 6), request(8, 0, 8)]).chain(stream::pending());
    let received: Vec<_> = join_commits(sent).take(2).collect().await;
    assert_eq!(received[1].leader_commit, Some(log_id(8)));
    assert!(
        began.elapsed() >= COMMIT_PATIENCE,
        "something could have followed"
    );

    let ending: Vec<_> = join_commits(stream::iter([request(8, 0, 8)])).collect().await;
    assert_eq!(ending.len(), 1, "at the end of the stream nothing is left out");
}
