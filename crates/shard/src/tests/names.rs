//! Tests of SKUs that members of the release before could not read, in a shard that decides by the first
//! rules.

use holdfast_ledger::{Action, Entry, Ledger, LedgerOptions, Refusal, Rules};

use super::cluster::{Cluster, deadline, eventually};
use super::commands::{SubmitResult, command, new_id, receive, success};
use crate::Seed;

const NEWER: &str = "Größe-XL rot";

/// Starts three replicas that begin with a copy of a shard of the first release.
async fn of_the_first_rules() -> Cluster {
    let mut ledger = Ledger::new(LedgerOptions::default());
    let tea = receive("tea", 5);
    let entry = Entry {
        log_time_ms: tea.operation_id.time_ms(),
        commands: vec![tea],
    };
    ledger.apply(7, &entry).unwrap();
    let bytes = ledger.encode();
    let seed = Seed {
        ledger: &bytes,
        log_index: 7,
        state_digest: ledger.digest(),
    };
    let mut cluster = Cluster::prepare(|options| {
        options.election_timeout_min_ms = 5_000;
        options.election_timeout_max_ms = 6_000;
    });
    for node in 1..=3 {
        cluster.plant(node, seed).unwrap();
        cluster.start_node(node).await;
    }
    cluster.elect(1).await;
    cluster.must(receive("tea", 1)).await;
    cluster
}

fn tells_to_adopt(result: &SubmitResult) -> bool {
    matches!(result, Ok(Err(Refusal::InvalidRequest(what))) if what.contains("adopt-rules"))
}

fn adopt() -> holdfast_ledger::Command {
    let rules = Rules::Second;
    command(new_id(), Action::AdoptRules { rules })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_gets_into_no_entry_before_the_rules_are_adopted_and_into_all_replicas_afterwards() {
    let cluster = of_the_first_rules().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    assert_eq!(cluster.node(leader).status().rules, 1);
    for node in [leader, follower] {
        let proposed = cluster.node(leader).metrics().commands_proposed;
        // After a command that goes to the log, the others of the batch follow without a check.
        let batch = vec![
            receive("tea", 1),
            receive(NEWER, 1),
            receive("tea", 1),
            receive(&"x".repeat(65), 1),
        ];
        let results = cluster.node(node).submit(batch, deadline()).await;
        for (result, is_plain) in results.iter().zip([true, false, true, false]) {
            assert_eq!(success(result).is_some(), is_plain, "{results:?}");
            assert_eq!(tells_to_adopt(result), !is_plain, "{results:?}");
        }
        let written = cluster.node(leader).metrics().commands_proposed - proposed;
        assert_eq!(written, 2, "only what was taken is in the log");
    }

    // The rules are adopted by the command before it in the same batch.
    let batch = vec![adopt(), receive(NEWER, 4)];
    let results = cluster.node(follower).submit(batch, deadline()).await;
    let taken = results.iter().all(|result| success(result).is_some());
    assert!(taken, "{results:?}");
    cluster.must(receive(NEWER, 3)).await;
    assert_eq!(cluster.cell(leader, NEWER).await.on_hand, 7);
    assert_eq!(cluster.cell(follower, "tea").await.on_hand, 10);
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_while_the_ledger_cannot_be_asked() {
    let cluster = of_the_first_rules().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    let proposed = node.metrics().commands_proposed;
    let replica = node.replica_for_tests();
    let installing = replica.state.write().await;
    let submitted = {
        let node = node.clone();
        tokio::spawn(async move { node.submit(vec![receive(NEWER, 1)], deadline()).await })
    };
    eventually("the command waits for the ledger", || {
        node.status().waiting_commands == 1 && !submitted.is_finished()
    })
    .await;
    drop(installing);
    let results = submitted.await.unwrap();
    assert!(tells_to_adopt(&results[0]), "{results:?}");
    assert_eq!(node.metrics().commands_proposed, proposed);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_shard_takes_such_a_name_as_its_first() {
    let cluster = Cluster::start().await;
    cluster.must(receive(NEWER, 5)).await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.cell(leader, NEWER).await.on_hand, 5);
    cluster.agree().await;
    cluster.stop().await;
}
