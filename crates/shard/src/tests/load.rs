//! Load of buyers that keep buying while things break, and the checks that must hold afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use holdfast_ledger::Command;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cluster::{Cluster, Net, eventually};
use super::commands::{SubmitResult, receive, reserve, success, was_replayed};

const STOCK: i64 = 1_000_000;

/// Buyers that take one unit each, through whichever nodes are up.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    granted: Arc<AtomicUsize>,
    buyers: Vec<JoinHandle<Vec<(Command, SubmitResult)>>>,
}

impl Load {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        cluster.must(receive("tea", STOCK)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let granted = Arc::new(AtomicUsize::new(0));
        let buyer = |number| {
            tokio::spawn(buy(
                Arc::clone(&cluster.net),
                number,
                Arc::clone(&stop),
                Arc::clone(&granted),
            ))
        };
        let buyers = (0..12).map(buyer).collect();
        let load = Self {
            stop,
            granted,
            buyers,
        };
        load.goes_on().await;
        load
    }

    /// Waits until some more requests were granted.
    pub(super) async fn goes_on(&self) {
        let before = self.granted.load(Ordering::SeqCst);
        eventually("buyers are served", || {
            self.granted.load(Ordering::SeqCst) > before + 50
        })
        .await;
    }

    /// Ends the load. Everything granted must still be there. Every request with an unknown outcome must be
    /// settled, exactly once, by asking again with the same id.
    pub(super) async fn settle(self, cluster: &Cluster) {
        self.stop.store(true, Ordering::SeqCst);
        let bought: Vec<_> = join_all(self.buyers)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
        let node = cluster.leader().await;
        let again: Vec<Command> = bought.iter().map(|(command, _)| command.clone()).collect();
        let again = cluster.node(node).submit(again, super::cluster::deadline()).await;
        for ((command, first), again) in bought.iter().zip(&again) {
            let again = success(again).unwrap_or_else(|| panic!("{command:?} is refused now: {again:?}"));
            if success(first).is_some() {
                assert!(was_replayed(again), "{command:?} was granted and then lost");
            }
        }
        let cell = cluster.cell(node, "tea").await;
        assert_eq!(cell.held, bought.len() as i64);
        assert_eq!(cell.free + cell.held, STOCK);
    }
}

async fn buy(
    net: Arc<Net>,
    number: usize,
    stop: Arc<AtomicBool>,
    granted: Arc<AtomicUsize>,
) -> Vec<(Command, SubmitResult)> {
    let mut bought = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let Some(node) = net.any(number) else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let command = reserve("tea", 1, 600_000);
        let deadline = Instant::now() + Duration::from_millis(700);
        let result = node.submit(vec![command.clone()], deadline).await.pop().unwrap();
        if success(&result).is_some() {
            granted.fetch_add(1, Ordering::SeqCst);
        }
        bought.push((command, result));
    }
    bought
}
