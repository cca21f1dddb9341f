//! Checks and converts the requests about transfers.

use holdfast_api::limits::MAX_LINES;
use holdfast_api::v1;
use holdfast_ledger::{Action, TransferLine};

use super::reserve::inside;
use super::taken::Taken;
use crate::validation::{self as check, Invalid};

/// Checks and converts a TransferOut.
///
/// # Errors
/// [`Invalid`] names the field and the rule. The same holds for all functions of this module.
pub fn transfer_out(request: v1::TransferOutRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    check::count("lines", request.lines.len(), 1, MAX_LINES)?;
    let lines = transfer_lines(request.lines)?;
    let from = check::warehouse("from_warehouse", request.from_warehouse)?;
    let to = check::warehouse("to_warehouse", request.to_warehouse)?;
    if from == to {
        return Err(Invalid::new(
            "to_warehouse",
            "is the warehouse that the transfer leaves",
        ));
    }
    let expected_at_ms = check::time_ms("expected_at_ms", request.expected_at_ms)?;
    Ok(Taken::new(
        operation,
        Action::TransferOut {
            lines,
            from,
            to,
            expected_at_ms,
        },
    ))
}

/// Checks and converts a TransferIn.
#[allow(clippy::missing_errors_doc, reason = "said once, at `transfer_out`")]
pub fn transfer_in(request: v1::TransferInRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (transfer_id, shard) = check::transfer_key("transfer", request.transfer)?;
    check::count("lines", request.lines.len(), 0, MAX_LINES)?;
    let lines = transfer_lines(request.lines)?;
    let disposition = check::disposition("disposition", request.disposition)?;
    Ok(Taken::new(
        operation,
        Action::TransferIn {
            transfer_id,
            lines,
            disposition,
        },
    )
    .in_shard(shard))
}

/// Checks and converts a CloseTransfer.
#[allow(clippy::missing_errors_doc, reason = "said once, at `transfer_out`")]
pub fn close_transfer(request: v1::CloseTransferRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (transfer_id, shard) = check::transfer_key("transfer", request.transfer)?;
    Ok(Taken::new(operation, Action::CloseTransfer { transfer_id }).in_shard(shard))
}

fn transfer_lines(lines: Vec<v1::TransferLine>) -> Result<Vec<TransferLine>, Invalid> {
    let take = |line: v1::TransferLine| {
        Ok(TransferLine {
            sku: check::sku("sku", line.sku)?,
            quantity: check::quantity("quantity", line.quantity)?,
        })
    };
    lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| take(line).map_err(|error| inside(&format!("lines[{index}]"), error)))
        .collect()
}
