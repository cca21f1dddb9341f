//! Tests of the order of the commands in one batch.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor as _, Arbiter};
use tokio::sync::{oneshot, watch};
use tracing::Span;

use super::cluster::{Cluster, deadline, eventually};
use super::commands::{receive, reserve};
use crate::proposer::{CommandReply, Freeze, Proposer, ProposerOptions, ProposerParts, Submit, Thaw};
use crate::raft_types::EncodedCommand;
use crate::replica::Replica;

/// Makes a proposer over a replica's Raft that has not heard yet that the replica did not lead for a while.
/// It proposes one command at a time.
fn unaware(replica: &Replica) -> ProposerParts {
    let own_id = replica.options.raft_id();
    ProposerParts {
        options: ProposerOptions {
            raft_id: own_id,
            founds: false,
            max_entry_commands: 1,
            max_entry_bytes: 1 << 20,
            max_entries_in_flight: 1,
            queue_limit_commands: 100,
            clock_patience: Duration::ZERO,
        },
        raft: replica.raft.clone(),
        gate: replica.gate.clone(),
        state: Arc::clone(&replica.state),
        view: replica.view.clone(),
        leader: watch::channel(Some(own_id)).1,
        clock: replica.clock.clone(),
        health: replica.health.clone(),
        counters: Arc::default(),
        transport: Arc::clone(&replica.transport),
        waiting: Arc::default(),
    }
}

#[test]
fn the_commands_of_one_batch_keep_their_order_over_a_change_of_leader() {
    actix::System::new().block_on(async {
        let cluster = Cluster::start().await;
        cluster.must(receive("tea", 5)).await;
        let leader = cluster.leader().await;
        let replica = cluster.node(leader).replica_for_tests();
        let parts = unaware(&replica);
        let counters = Arc::clone(&parts.counters);
        let proposer = Proposer::start_in_arbiter(&Arbiter::current(), |_| Proposer::new(parts));

        // Only the leader's log has the first command.
        cluster.net.isolate(leader);
        let commands = [reserve("tea", 1, 600_000), reserve("tea", 2, 600_000)];
        let (reply, replies) = oneshot::channel();
        let batch = Submit {
            commands: Arc::new(commands.into_iter().map(EncodedCommand::new).collect()),
            open: vec![0, 1],
            deadline: deadline(),
            reply,
            span: Span::none(),
        };
        proposer.send(batch).await.unwrap();
        let proposed = || counters.snapshot().entries_proposed;
        eventually("the first command is proposed", || proposed() == 1).await;
        // Nothing more is proposed, until this node leads again.
        let hold = Freeze {
            lease: Duration::from_secs(600),
            drained: oneshot::channel().0,
        };
        let Ok(number) = proposer.send(hold).await.unwrap() else {
            panic!("somebody else holds it")
        };
        eventually("another one leads", || {
            let others = (1..=3).filter(|node| *node != leader);
            others
                .filter_map(|node| cluster.node(node).leader())
                .any(|heir| heir != leader)
        })
        .await;
        cluster.net.heal();
        cluster.must(receive("tea", 1)).await;
        cluster.agree().await;
        let heir = cluster.leader().await;
        assert_ne!(heir, leader, "the first command was overwritten");
        assert_eq!(cluster.node(heir).transfer_leader(Some(leader)).await, Ok(leader));
        proposer.send(Thaw(number)).await.unwrap();

        let replies = replies.await.unwrap();
        assert_eq!(replies.len(), 2);
        for (index, reply) in replies {
            let is_decided = matches!(reply, CommandReply::Decided(_));
            assert!(
                !is_decided,
                "command {index} was decided without the first: {reply:?}"
            );
        }
        cluster.stop().await;
    });
}
