//! What systems can be asked for, and what one buyer asks them for.

use std::future::Future;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use uuid::Uuid;

use crate::latencies::Latencies;
use crate::workload::Workload;

/// What takes reservations. Each caller has a number; a system may give each a connection of its own.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    /// Reserves one unit under this id: whether it was granted.
    fn reserve(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;
}

/// What takes a reservation further: whether it was in the state that this needs.
pub(crate) trait Fulfilment: Target {
    /// It was paid.
    fn commit(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;

    /// Its unit left the warehouse.
    fn ship(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;
}

/// What one caller does again and again.
pub(crate) trait Buyer: Clone + Send + Sync + 'static {
    /// Makes its calls one after another and records how long each took.
    fn buy(
        &self,
        caller: usize,
        sku: usize,
        latencies: &Latencies,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// Only reserves.
#[derive(Clone)]
pub(crate) struct Reserving<T> {
    pub(crate) target: T,
    pub(crate) workload: Workload,
}

impl<T: Target> Buyer for Reserving<T> {
    async fn buy(&self, caller: usize, sku: usize, latencies: &Latencies) -> Result<()> {
        let began = Instant::now();
        let granted = self.target.reserve(caller, Uuid::now_v7(), sku).await?;
        latencies.record(caller, began.elapsed());
        expect(self.workload, granted)
    }
}

/// Reserves, commits what was reserved, and ships it where that is wanted: each a call of its own.
#[derive(Clone)]
pub(crate) struct Fulfilling<T> {
    pub(crate) target: T,
    pub(crate) ships: bool,
}

impl<T: Fulfilment> Buyer for Fulfilling<T> {
    async fn buy(&self, caller: usize, sku: usize, latencies: &Latencies) -> Result<()> {
        let id = Uuid::now_v7();
        let began = Instant::now();
        ensure!(
            self.target.reserve(caller, id, sku).await?,
            "nothing was reserved"
        );
        latencies.record(caller, began.elapsed());
        let began = Instant::now();
        ensure!(
            self.target.commit(caller, id, sku).await?,
            "nothing was committed"
        );
        latencies.record(caller, began.elapsed());
        if self.ships {
            let began = Instant::now();
            ensure!(self.target.ship(caller, id, sku).await?, "nothing was shipped");
            latencies.record(caller, began.elapsed());
        }
        Ok(())
    }
}

/// Whether an answer is what the workload has to bring about.
pub(crate) fn expect(workload: Workload, granted: bool) -> Result<()> {
    if granted == (workload == Workload::SoldOut) {
        bail!("a reservation of {} was granted: {granted}", workload.name());
    }
    Ok(())
}
