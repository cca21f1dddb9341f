//! A crowd of buyers that remembers what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use holdfast_client::Client;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::requests;

/// What the crowd saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Reservations that were granted: id and units.
    pub granted: Vec<Bytes>,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests without an answer before their deadline, to be settled with the same id.
    pub unknown: Vec<holdfast_proto::v1::ReserveRequest>,
    /// The longest time between two grants.
    pub longest_gap: Duration,
}

/// Buyers that reserve one unit after the other until they are told to stop.
#[derive(Debug)]
pub struct Crowd {
    stop: Arc<AtomicBool>,
    grants: Arc<AtomicU64>,
    gap: Arc<Mutex<Gap>>,
    buyers: JoinSet<Seen>,
}

/// How long nobody was granted anything.
#[derive(Debug)]
struct Gap {
    since: Instant,
    longest: Duration,
}

impl Gap {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    fn granted(&mut self) {
        self.longest = self.longest.max(self.since.elapsed());
        self.since = Instant::now();
    }
}

impl Crowd {
    /// Starts `buyers` buyers of orders with `lines` lines, one unit each of `skus`, in turn.
    pub fn start(client: &Client, buyers: usize, skus: &[String], lines: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let grants = Arc::new(AtomicU64::new(0));
        let gap = Arc::new(Mutex::new(Gap::new()));
        let skus: Arc<[String]> = skus.into();
        let mut set = JoinSet::new();
        for buyer in 0..buyers {
            let (client, skus) = (client.clone(), skus.clone());
            let (stop, grants, gap) = (stop.clone(), grants.clone(), gap.clone());
            set.spawn(async move { buy(&client, &skus, (buyer, lines), &stop, (&grants, &gap)).await });
        }
        Self {
            stop,
            grants,
            gap,
            buyers: set,
        }
    }

    /// The longest time in which no buyer was granted anything, since the last [`Self::forget_longest_gap`].
    pub fn longest_gap(&self) -> Duration {
        let gap = self.gap.lock();
        gap.longest.max(gap.since.elapsed())
    }

    /// Begins to measure anew.
    pub fn forget_longest_gap(&self) {
        *self.gap.lock() = Gap::new();
    }

    /// How many reservations have been granted so far.
    pub fn grants(&self) -> u64 {
        self.grants.load(Ordering::Relaxed)
    }

    /// Lets every buyer finish what it is at, and takes together what they saw.
    ///
    /// # Errors
    /// When a buyer panicked.
    pub async fn stop(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
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

async fn buy(
    client: &Client,
    skus: &[String],
    (buyer, lines): (usize, usize),
    stop: &AtomicBool,
    (grants, gap): (&AtomicU64, &Mutex<Gap>),
) -> Seen {
    let mut seen = Seen::default();
    let mut last_grant = Instant::now();
    let mut turn = buyer;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let wanted: Vec<&str> = (0..lines)
            .map(|line| skus[(turn + line) % skus.len()].as_str())
            .collect();
        let request = requests::order(&wanted);
        match client.reserve(request.clone()).await {
            Ok(_) => {
                seen.granted.push(requests::id_of(request.operation.as_ref()));
                seen.longest_gap = seen.longest_gap.max(last_grant.elapsed());
                last_grant = Instant::now();
                grants.fetch_add(1, Ordering::Relaxed);
                gap.lock().granted();
            }
            Err(error) if error.is_unknown() => seen.unknown.push(request),
            Err(_) => seen.refused += 1,
        }
    }
    seen
}
