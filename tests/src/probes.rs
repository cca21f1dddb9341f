//! Clients that fight over little stock and read it. Their answers are enough to find a stale read, a lost
//! grant or a unit that was sold twice, without any log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use holdfast_api::v1;
use holdfast_client::Client;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use crate::history::{At, History, Operation, Read, Told, What, told};
use crate::requests;

/// Number of SKUs that are fought over at a time.
const SKUS: usize = 2;

/// Number of clients for each of them. The judge's search grows with the number of requests under way at the
/// same time.
const CLIENTS_PER_SKU: usize = 3;

/// Pause between two calls of one client, so that a SKU's history stays short enough to be searched.
const PAUSE: Duration = Duration::from_millis(10);

/// The running probes.
#[derive(Debug)]
pub struct Probes {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    history: Arc<History>,
    stop: AtomicBool,
    /// Number of the period, which is in the names of SKUs. Each period has SKUs of its own, so that each
    /// history is short.
    period: AtomicUsize,
}

impl Probes {
    /// Starts the probes. Their calls should give up after some seconds; otherwise a partition holds them.
    pub fn start(client: &Client, history: &Arc<History>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            history: Arc::clone(history),
            stop: AtomicBool::new(false),
            period: AtomicUsize::new(0),
        });
        let mut clients = JoinSet::new();
        for number in 0..SKUS * CLIENTS_PER_SKU {
            let probe = Probe {
                shared: Arc::clone(&shared),
                sku: number % SKUS,
                random: SmallRng::seed_from_u64(seed.wrapping_mul(64).wrapping_add(number as u64)),
                held: Vec::new(),
            };
            clients.spawn(probe.run());
        }
        Self { shared, clients }
    }

    /// Makes the probes fight over other SKUs from this call on.
    pub fn next_period(&self) {
        self.shared.period.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets each probe finish its current call.
    ///
    /// # Errors
    /// When one panicked.
    pub async fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        Ok(())
    }
}

struct Probe {
    shared: Arc<Shared>,
    sku: usize,
    random: SmallRng,
    /// Reservations of this period that this client was granted.
    held: Vec<(Bytes, i64)>,
}

impl Probe {
    async fn run(mut self) {
        let mut period = usize::MAX;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.shared.period.load(Ordering::Relaxed);
            let sku = format!("PROBE-{now}-{}", self.sku);
            if now != period {
                period = now;
                self.held.clear();
                self.receive(&sku, 3).await;
            }
            match self.random.random_range(0..100) {
                0..30 => self.read(&sku).await,
                30..40 => {
                    let quantity = self.random.random_range(1..=2);
                    self.receive(&sku, quantity).await;
                }
                40..60 if !self.held.is_empty() => self.release(&sku).await,
                _ => self.reserve(&sku).await,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn receive(&self, sku: &str, quantity: i64) {
        let request = requests::receive(sku, quantity);
        let id = requests::id_of(request.operation.as_ref());
        let invoked_us = self.shared.history.now_us();
        let answer = self.shared.client.receive(request).await;
        let told = told(answer.as_ref().map(|answer| answer.receipt.as_ref()));
        let sku = sku.to_owned();
        self.over(id, What::Receive { sku, quantity }, invoked_us, told);
    }

    async fn reserve(&mut self, sku: &str) {
        let quantity = self.random.random_range(1..=3);
        let request = requests::reserve(sku, quantity);
        let id = requests::id_of(request.operation.as_ref());
        let invoked_us = self.shared.history.now_us();
        let answer = self.shared.client.reserve(request).await;
        let told = told(answer.as_ref().map(|answer| answer.receipt.as_ref()));
        if matches!(told, Told::Granted(_)) {
            self.held.push((id.clone(), quantity));
        }
        let sku = sku.to_owned();
        self.over(id, What::Reserve { sku, quantity }, invoked_us, told);
    }

    async fn release(&mut self, sku: &str) {
        let number = self.random.random_range(0..self.held.len());
        let (reservation_id, quantity) = self.held.swap_remove(number);
        let request = v1::ReleaseRequest {
            operation: Some(requests::operation()),
            reservation: requests::key(&reservation_id),
        };
        let id = requests::id_of(request.operation.as_ref());
        let invoked_us = self.shared.history.now_us();
        let answer = self.shared.client.release(request).await;
        let told = told(answer.as_ref().map(|answer| answer.receipt.as_ref()));
        let sku = sku.to_owned();
        self.over(id, What::Release { sku, quantity }, invoked_us, told);
    }

    async fn read(&self, sku: &str) {
        let request = v1::GetStockRequest {
            sku: sku.to_owned(),
            consistency: v1::Consistency::Linearizable.into(),
            ..Default::default()
        };
        let invoked_us = self.shared.history.now_us();
        let Ok(answer) = self.shared.client.get_stock(request).await else {
            return;
        };
        let position = answer.read.and_then(|read| read.position).unwrap_or_default();
        self.shared.history.read(Read {
            sku: sku.to_owned(),
            invoked_us,
            answered_us: self.shared.history.now_us(),
            at: At {
                shard: position.shard,
                log_index: position.log_index,
            },
            free: answer.cells.iter().map(|cell| cell.free).sum(),
        });
    }

    fn over(&self, id: Bytes, what: What, invoked_us: u64, told: Told) {
        self.shared.history.operation(Operation {
            id,
            what,
            invoked_us,
            answered_us: self.shared.history.now_us(),
            told,
        });
    }
}
