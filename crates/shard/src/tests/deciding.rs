//! Tests of the answers that callers get while nothing breaks.

use futures::future::join_all;
use holdfast_ledger::{Action, Refusal};

use super::cluster::{Cluster, deadline, eventually};
use super::commands::{
    cells, command, new_id, one_cell, receive, reserve, sku, success, warehouse, was_replayed,
};
use crate::{Freshness, SubmitError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linearizable_read_through_any_node_sees_the_write_before_it() {
    let cluster = Cluster::start().await;
    for round in 1..=30 {
        let (writer, reader) = (round % 3 + 1, (round + 1) % 3 + 1);
        assert!(success(&cluster.submit(writer, receive("tea", 1)).await).is_some());
        assert_eq!(cluster.cell(reader, "tea").await.free, round as i64);
    }
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commands_share_few_entries() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    cluster.must(receive("tea", 10_000)).await;
    let node = cluster.node(leader);
    let before = node.metrics();
    let callers = (0..1_000).map(|_| cluster.submit(leader, reserve("tea", 1, 600_000)));
    assert!(
        join_all(callers)
            .await
            .iter()
            .all(|result| success(result).is_some())
    );
    let after = node.metrics();
    assert_eq!(after.commands_proposed - before.commands_proposed, 1_000);
    let entries = after.entries_proposed - before.entries_proposed;
    assert!(
        (1..=100).contains(&entries),
        "{entries} entries for 1,000 concurrent commands"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operation_id_sent_50_times_through_all_nodes_has_one_effect_and_equal_answers() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 100)).await;
    let order = reserve("tea", 7, 600_000);
    let callers = (0..50).map(|caller| cluster.submit(caller % 3 + 1, order.clone()));
    let results = join_all(callers).await;
    let answers: Vec<_> = results
        .iter()
        .map(|result| match success(result).expect("a success") {
            holdfast_ledger::Success::Reserved {
                position,
                expires_at_ms,
                lines,
                ..
            } => (*position, *expires_at_ms, lines.clone()),
            other => panic!("not a reservation: {other:?}"),
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let first_times = results
        .iter()
        .filter(|result| success(result).is_some_and(|it| !was_replayed(it)));
    assert_eq!(first_times.count(), 1);
    assert_eq!(cluster.cell(1, "tea").await.held, 7);

    let mut other = order;
    let Action::Reserve { lines, .. } = &mut other.action else {
        unreachable!()
    };
    lines[0].quantity = 8;
    assert_eq!(
        cluster.submit(2, other).await,
        Ok(Err(Refusal::OperationIdReused))
    );
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1000_buyers_for_100_units_exactly_100_succeed() {
    let cluster = Cluster::start().await;
    cluster.must(receive("lamp", 100)).await;
    let buyers = (0..1_000).map(|buyer| cluster.submit(buyer % 3 + 1, reserve("lamp", 1, 600_000)));
    let results = join_all(buyers).await;
    let bought = results.iter().filter(|result| success(result).is_some()).count();
    let refused = results
        .iter()
        .filter(|result| matches!(result, Ok(Err(Refusal::InsufficientStock(_)))))
        .count();
    assert_eq!((bought, refused), (100, 900));
    let cell = cluster.cell(2, "lamp").await;
    assert_eq!((cell.free, cell.held), (0, 100));
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sold_out_refusal_writes_no_log_entry() {
    let cluster = Cluster::start().await;
    cluster.must(receive("lamp", 1)).await;
    cluster.must(reserve("lamp", 1, 600_000)).await;
    cluster.agree().await;
    let leader = cluster.leader().await;
    let before = cluster.node(leader).status().last_log_index;
    let buyers = (0..200).map(|buyer| cluster.submit(buyer % 3 + 1, reserve("lamp", 1, 600_000)));
    for result in join_all(buyers).await {
        assert!(
            matches!(result, Ok(Err(Refusal::InsufficientStock(_)))),
            "{result:?}"
        );
    }
    assert_eq!(
        cluster.leader().await,
        leader,
        "the leader changed, which writes an entry"
    );
    assert_eq!(cluster.node(leader).status().last_log_index, before);
    assert_eq!(cluster.node(leader).metrics().refused_from_read, 200);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_one_call_are_decided_in_their_order() {
    let cluster = Cluster::start().await;
    for node in 1..=3 {
        let name = format!("set-{node}");
        let order = reserve(&name, 5, 600_000);
        let commit = command(
            new_id(),
            Action::Commit {
                reservation_id: order.operation_id,
            },
        );
        let early = reserve(&name, 1, 600_000);
        let calls = vec![early, receive(&name, 5), order, commit];
        let results = cluster.node(node).submit(calls, deadline()).await;
        assert!(
            matches!(results[0], Ok(Err(Refusal::InsufficientStock(_)))),
            "{results:?}"
        );
        assert!(
            results[1..].iter().all(|result| success(result).is_some()),
            "{results:?}"
        );
        assert_eq!(cluster.cell(node, &name).await.committed, 5);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_expires_by_itself_and_its_units_are_sellable_again() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 1)).await;
    let order = reserve("tea", 1, 200);
    cluster.must(order.clone()).await;
    let node = cluster.node(cluster.follower().await);
    // The changes are: received, reserved, expired. A follower that has not heard of the hold yet has no live
    // reservation either.
    eventually("the hold is gone on a follower", || {
        let status = node.status();
        status.last_seq == 3 && status.live_reservations == 0
    })
    .await;
    let commit = command(
        new_id(),
        Action::Commit {
            reservation_id: order.operation_id,
        },
    );
    assert!(matches!(
        cluster.submit(1, commit).await,
        Ok(Err(Refusal::Expired { .. }))
    ));
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_so_and_has_no_effect() {
    let cluster = Cluster::start_with(|options| options.queue_limit_commands = 10).await;
    let leader = cluster.leader().await;
    let commands: Vec<_> = (0..11).map(|_| receive("tea", 1)).collect();
    for node in [leader, cluster.follower().await] {
        let results = cluster.node(node).submit(commands.clone(), deadline()).await;
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Err(SubmitError::Overloaded { .. }))),
            "{results:?}"
        );
    }
    assert!(cluster.submit(leader, receive("tea", 1)).await.is_ok());
    assert_eq!(cluster.cell(leader, "tea").await.free, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_command_is_refused_before_it_is_proposed() {
    let cluster = Cluster::start().await;
    let mut order = reserve("tea", 1, 600_000);
    let Action::Reserve { lines, .. } = &mut order.action else {
        unreachable!()
    };
    *lines = vec![lines[0].clone(); 200_000];
    let result = cluster.submit(1, order).await;
    assert!(
        matches!(result, Ok(Err(Refusal::InvalidRequest(_)))),
        "{result:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_read_says_how_old_it_is() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 3)).await;
    cluster.agree().await;
    for node in 1..=3 {
        let query = cells("tea");
        let answer = cluster
            .node(node)
            .query(query, Freshness::Stale, deadline())
            .await
            .unwrap();
        assert_eq!(one_cell(answer.reply).free, 3);
        assert_eq!(answer.last_seq, 1);
    }
    let cut_off = cluster.follower().await;
    cluster.net.isolate(cut_off);
    let query = holdfast_ledger::Query::Cells {
        sku: sku("tea"),
        warehouse: Some(warehouse()),
    };
    let node = cluster.node(cut_off);
    let give_up = deadline();
    loop {
        let answer = node
            .query(query.clone(), Freshness::Stale, deadline())
            .await
            .unwrap();
        if answer.age_ms > 1_000 {
            break;
        }
        assert!(
            tokio::time::Instant::now() < give_up,
            "it claims to be fresh: {} ms",
            answer.age_ms
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_repeated_while_it_is_in_flight_is_not_refused() {
    // A leader that lost its office forgets what is in flight. Then another leader decides a repeated command
    // by itself.
    let cluster = Cluster::start_with_a_lasting_leader().await;
    for round in 0..10 {
        let name = format!("lamp-{round}");
        cluster.must(receive(&name, 1)).await;
        let first = reserve(&name, 1, 600_000);
        cluster.must(first.clone()).await;
        let leader = cluster.leader().await;
        let node = cluster.node(leader);
        let proposed = node.metrics().commands_proposed;
        cluster.net.isolate(leader);
        // This releases the only unit and takes it again. The SKU is sold out until both are committed.
        let release = command(
            new_id(),
            Action::Release {
                reservation_id: first.operation_id,
            },
        );
        let order = reserve(&name, 1, 600_000);
        let both = node.submit(vec![release, order.clone()], deadline());
        let repeated = async {
            eventually("it is in flight", || {
                node.metrics().commands_proposed >= proposed + 2
            })
            .await;
            let again = node.submit(vec![order], deadline());
            let healing = async {
                tokio::task::yield_now().await;
                cluster.net.heal();
            };
            futures::join!(again, healing).0
        };
        let (both, repeated) = futures::join!(both, repeated);
        assert!(success(&both[1]).is_some(), "{both:?}");
        assert!(success(&repeated[0]).is_some(), "{repeated:?}");
    }
    cluster.agree().await;
    cluster.stop().await;
}
