use openraft::raft::VoteRequest;

use super::*;

const OWN: u64 = 2;
const LEADER: u64 = 1;
const PATIENCE: Duration = Duration::from_millis(200);

fn watch_with(gone: &watch::Sender<GoneNodes>) -> LeaderWatch {
    let options = ElectionOptions {
        group: 0,
        own_id: OWN,
        timeout_min: PATIENCE,
        timeout_max: PATIENCE * 2,
    };
    LeaderWatch::new(options, gone.subscribe())
}

fn log_id(index: u64) -> Option<LogId> {
    Some(LogId::new(*Vote::new(3, LEADER).leader_id(), index))
}

fn wish(term: u64, index: u64) -> VoteRequest<Types> {
    VoteRequest::new(Vote::new(term, 3), log_id(index))
}

fn follows() -> (Vote, Option<LogId>) {
    (Vote::new_committed(3, LEADER), log_id(9))
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hears_its_leader_consents_to_nobody() {
    let gone = watch::Sender::default();
    let watch = watch_with(&gone);
    let granted = |term, index| watch.answer(&wish(term, index), follows(), None).vote_granted;
    assert!(!granted(4, 9), "it has just started");
    tokio::time::advance(PATIENCE).await;
    assert!(granted(4, 9), "nobody was heard");
    let (leader, _) = follows();
    watch.heard(&leader, &leader);
    assert!(!granted(4, 9), "the leader was heard");
    tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
    assert!(!granted(4, 9), "a moment too early");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(granted(4, 9));
    assert!(!granted(4, 8), "the log is shorter");
    assert!(!granted(2, 9), "the term is over");
    watch.heard(&Vote::new_committed(2, 3), &leader);
    assert!(granted(4, 9), "a leader of an earlier term does not count");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_process_is_gone_is_missed_at_once_and_not_when_it_speaks_again() {
    let gone: watch::Sender<GoneNodes> = watch::Sender::default();
    let watch = watch_with(&gone);
    let (leader, _) = follows();
    let granted = || watch.answer(&wish(4, 9), follows(), None).vote_granted;
    watch.heard(&leader, &leader);
    gone.send_modify(|gone| _ = gone.insert(3, Instant::now()));
    assert!(!granted(), "another node is gone");
    gone.send_modify(|gone| _ = gone.insert(LEADER, Instant::now()));
    assert!(granted());
    tokio::time::advance(LAST_WORDS / 2).await;
    watch.heard(&leader, &leader);
    assert!(granted(), "what it said before it ended may come late");
    tokio::time::advance(LAST_WORDS).await;
    watch.heard(&leader, &leader);
    assert!(!granted(), "it is back");
}

#[tokio::test(start_paused = true)]
async fn a_leader_consents_only_when_no_quorum_answers_it() {
    let gone = watch::Sender::default();
    let watch = watch_with(&gone);
    tokio::time::advance(PATIENCE * 2).await;
    let own = (Vote::new_committed(3, OWN), log_id(9));
    let granted = |unanswered_for| watch.answer(&wish(4, 9), own, Some(unanswered_for)).vote_granted;
    assert!(!granted(Duration::ZERO));
    assert!(!granted(PATIENCE / 2));
    assert!(granted(PATIENCE));
}
