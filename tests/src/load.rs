//! A crowd of buyers that remembers what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use holdfast_client::{Client, ClientError};
use tokio::task::JoinSet;

use crate::history::{History, Operation, What, told};
use crate::meter::Meter;
use crate::{requests, wait_for};

/// The answers that the crowd got.
#[derive(Debug, Default)]
pub struct Seen {
    /// Ids of the reservations that were granted.
    pub granted: Vec<Bytes>,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests without an answer before their deadline. They are settled with the same id.
    pub unknown: Vec<holdfast_api::v1::ReserveRequest>,
    /// The longest time between two grants.
    pub longest_gap: Duration,
}

/// Buyers that reserve one unit after the other until they are asked to stop.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    buyers: JoinSet<Seen>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    grants: AtomicU64,
    meter: Meter,
    history: Arc<History>,
}

impl Crowd {
    /// Starts `buyers` buyers, who record their answers. Their orders have `lines` lines with one unit each
    /// of `skus`, in turn.
    ///
    /// # Errors
    /// Never, except for a defect of the meter.
    pub fn start_recording(
        client: &Client,
        buyers: usize,
        skus: &[String],
        lines: usize,
        history: &Arc<History>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            grants: AtomicU64::new(0),
            meter: Meter::new()?,
            history: Arc::clone(history),
        });
        let skus: Arc<[String]> = skus.into();
        let mut set = JoinSet::new();
        for buyer in 0..buyers {
            let (client, skus, shared) = (client.clone(), skus.clone(), shared.clone());
            set.spawn(async move { buy(&client, &skus, (buyer, lines), &shared).await });
        }
        Ok(Self { shared, buyers: set })
    }

    /// Does the same as [`Self::start_recording`], without recording the answers.
    ///
    /// # Errors
    /// The same as for [`Self::start_recording`].
    pub fn start(client: &Client, buyers: usize, skus: &[String], lines: usize) -> Result<Self> {
        Self::start_recording(client, buyers, skus, lines, &Arc::default())
    }

    /// Returns the meter of the buyers' service.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Returns how many reservations have been granted so far.
    pub fn grants(&self) -> u64 {
        self.shared.grants.load(Ordering::Relaxed)
    }

    /// Waits until this many more are granted.
    ///
    /// # Errors
    /// When they are not granted within a minute.
    pub async fn more_grants(&self, grants: u64) -> Result<()> {
        let before = self.grants();
        wait_for(&format!("{grants} more grants"), || async {
            (self.grants() >= before + grants).then_some(())
        })
        .await
    }

    /// Lets every buyer finish the current order. Returns all their answers together.
    ///
    /// # Errors
    /// When a buyer panicked.
    pub async fn stop(mut self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.buyers.join_next().await {
            let seen = seen?;
            all.granted.extend(seen.granted);
            all.refused += seen.refused;
            all.unknown.extend(seen.unknown);
            all.longest_gap = all.longest_gap.max(seen.longest_gap);
        }
        Ok(all)
    }
}

async fn buy(client: &Client, skus: &[String], (buyer, lines): (usize, usize), shared: &Shared) -> Seen {
    let mut seen = Seen::default();
    let mut last_grant = Instant::now();
    let mut turn = buyer;
    while !shared.stop.load(Ordering::Relaxed) {
        turn += 1;
        let wanted: Vec<&str> = (0..lines)
            .map(|line| skus[(turn + line) % skus.len()].as_str())
            .collect();
        let request = requests::order(&wanted);
        let id = requests::id_of(request.operation.as_ref());
        let (sent, invoked_us) = (Instant::now(), shared.history.now_us());
        let answer = client.reserve(request.clone()).await;
        shared.history.operation(Operation {
            id: id.clone(),
            what: What::Order,
            invoked_us,
            answered_us: shared.history.now_us(),
            told: told(answer.as_ref().map(|answer| answer.receipt.as_ref())),
        });
        match answer {
            Ok(_) => {
                shared.meter.granted(sent);
                seen.granted.push(id);
                seen.longest_gap = seen.longest_gap.max(last_grant.elapsed());
                last_grant = Instant::now();
                shared.grants.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.is_unknown() => {
                shared.meter.unanswered();
                seen.unknown.push(request);
            }
            Err(ClientError::Unavailable { .. }) => {
                shared.meter.unanswered();
                seen.refused += 1;
            }
            Err(_) => {
                shared.meter.refused(sent);
                seen.refused += 1;
            }
        }
    }
    seen
}
