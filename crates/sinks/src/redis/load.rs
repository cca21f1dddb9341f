//! Writes whole cells and stock policies into a view that is being built.

use redis::Script;

use super::connection::Connection;
use super::keys::Keys;
use super::view::Batch;
use super::writer::{APPLY, run};
use crate::sink::{Position, SinkError};
use holdfast_api::v1::{Cell, StockPolicy};

/// The cells, or the policies, of one call of the script.
const ROWS_A_CALL: usize = 200;

/// Fills one shard of a view with the state of the ledger at a position. Until [`Loader::finish`], the shard
/// is at change 0.
pub(crate) struct Loader<'a> {
    connection: &'a mut Connection,
    keys: &'a Keys,
    script: Script,
    shard: u32,
    cluster: String,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(connection: &'a mut Connection, keys: &'a Keys, shard: u32, cluster: String) -> Self {
        Self {
            connection,
            keys,
            script: Script::new(APPLY),
            shard,
            cluster,
        }
    }

    /// Writes cells as they were at a position.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn cells(&mut self, cells: &[Cell], at: Position) -> Result<(), SinkError> {
        for part in cells.chunks(ROWS_A_CALL) {
            self.write(&Batch::of_cells(part, at)).await?;
        }
        Ok(())
    }

    /// Writes stock policies.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn policies(&mut self, policies: &[StockPolicy]) -> Result<(), SinkError> {
        for part in policies.chunks(ROWS_A_CALL) {
            self.write(&Batch::of_policies(part)).await?;
        }
        Ok(())
    }

    /// Moves the shard to the position of what was written.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn finish(mut self, at: Position) -> Result<(), SinkError> {
        self.write(&Batch::of_position(at)).await
    }

    async fn write(&mut self, batch: &Batch<'_>) -> Result<(), SinkError> {
        let call = batch.call(self.keys, self.shard, &self.cluster, 0);
        run(self.connection, &self.script, &call).await?;
        Ok(())
    }
}
