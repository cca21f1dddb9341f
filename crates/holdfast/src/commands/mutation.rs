//! The last part of every command that changes stock or a reservation: sends the operation, and prints the
//! answer.

use holdfast_client::{Client, ClientError, v1};
use serde_json::json;

use crate::arguments::Operation;
use crate::context::Context;
use crate::render;

/// An answer to a mutation.
pub(super) trait Answer {
    /// Prints the answer for people, or as JSON.
    ///
    /// # Errors
    /// When stdout is closed.
    fn print(&self, operation: &Operation, context: &Context) -> anyhow::Result<()>;
}

/// Sends an operation with `send`, and prints its answer.
///
/// # Errors
/// When there is no client, when the operation failed, or when stdout is closed.
pub(super) async fn carry_out<A: Answer>(
    operation: &Operation,
    context: &Context,
    send: impl AsyncFnOnce(&Client, Option<v1::Operation>) -> Result<A, ClientError>,
) -> anyhow::Result<()> {
    send(context.client()?, operation.message())
        .await
        .map_err(|error| operation.failed(error))?
        .print(operation, context)
}

impl Answer for v1::TransitionResponse {
    fn print(&self, operation: &Operation, context: &Context) -> anyhow::Result<()> {
        if context.json {
            context.output.json(&json!({
                "operation_id": operation.id.to_string(),
                "receipt": render::receipt(self.receipt.as_ref()),
                "state": render::state(self.state()),
                "expires_at_ms": self.expires_at_ms,
            }))?;
            return Ok(());
        }
        let state = match (self.state(), self.expires_at_ms) {
            (v1::ReservationState::Unspecified, _) => "done".to_owned(),
            (state, 0) => render::state(state).to_owned(),
            (state, expires_at_ms) => {
                format!("{} until {}", render::state(state), render::time(expires_at_ms))
            }
        };
        let note = render::receipt_note(self.receipt.as_ref());
        context
            .output
            .line(format!("{state}: {note}, operation {}", operation.id))?;
        Ok(())
    }
}

impl Answer for v1::StockResponse {
    fn print(&self, operation: &Operation, context: &Context) -> anyhow::Result<()> {
        if context.json {
            context.output.json(&json!({
                "operation_id": operation.id.to_string(),
                "receipt": render::receipt(self.receipt.as_ref()),
                "cell": self.cell.as_ref().map(render::cell),
            }))?;
            return Ok(());
        }
        context.output.line(format!(
            "done: {}, operation {}",
            render::receipt_note(self.receipt.as_ref()),
            operation.id
        ))?;
        if let Some(cell) = &self.cell {
            context
                .output
                .table(&render::CELL_HEADERS, &[render::cell_row(cell)])?;
        }
        Ok(())
    }
}
