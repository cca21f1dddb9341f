//! The requests that systems take, and the requests of one buyer.

use std::future::Future;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use uuid::Uuid;

use crate::latencies::Latencies;
use crate::workload::Workload;

/// A system that takes reservations. Each caller has a number; a system may give each a connection of its
/// own.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    /// Reserves one unit under this id. Returns whether it was granted.
    fn reserve(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;
}

/// A system that takes a reservation further. Each call returns whether the reservation was in the state that
/// it needs.
pub(crate) trait Fulfilment: Target {
    /// Commits a reservation that was paid.
    fn commit(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;

    /// Ships the unit of a reservation.
    fn ship(&self, caller: usize, id: Uuid, sku: usize) -> impl Future<Output = Result<bool>> + Send;
}

/// The behaviour of one caller, which is repeated.
pub(crate) trait Buyer: Clone + Send + Sync + 'static {
    /// Makes the calls one after another, and records how long each took.
    fn buy(
        &self,
        caller: usize,
        sku: usize,
        latencies: &Latencies,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// A buyer that only reserves.
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

/// A buyer that reserves and commits, and ships too if `ships` is set. Each is a call of its own.
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

/// Fails unless the answer is what the workload has to bring about.
pub(crate) fn expect(workload: Workload, granted: bool) -> Result<()> {
    if granted == (workload == Workload::SoldOut) {
        bail!("a reservation of {} was granted: {granted}", workload.name());
    }
    Ok(())
}
