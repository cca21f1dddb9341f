//! Checks and converts the requests of the warehouse.

use holdfast_api::v1;
use holdfast_ledger::{Action, Bucket};

use super::taken::Taken;
use crate::validation::{self as check, Invalid};

/// Checks and converts a Receive.
///
/// # Errors
/// [`Invalid`] names the field and the rule. The same holds for all functions of this module.
pub fn receive(request: v1::ReceiveRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let sku = check::new_sku("sku", request.sku)?;
    let warehouse = check::warehouse("warehouse", request.warehouse)?;
    let quantity = check::quantity("quantity", request.quantity)?;
    let supply_id = if request.supply_id.is_empty() {
        None
    } else {
        Some(check::supply_id("supply_id", request.supply_id)?)
    };
    Ok(Taken::new(
        operation,
        Action::Receive {
            sku,
            warehouse,
            quantity,
            supply_id,
        },
    ))
}

/// Checks and converts an ExpectSupply.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn expect_supply(request: v1::ExpectSupplyRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    Ok(Taken::new(
        operation,
        Action::ExpectSupply {
            sku: check::new_sku("sku", request.sku)?,
            warehouse: check::warehouse("warehouse", request.warehouse)?,
            supply_id: check::supply_id("supply_id", request.supply_id)?,
            quantity: check::not_negative("quantity", request.quantity)?,
            expected_at_ms: check::time_ms("expected_at_ms", request.expected_at_ms)?,
        },
    ))
}

/// Checks and converts an Adjust.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn adjust(request: v1::AdjustRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    if operation.reason.as_str().is_empty() {
        return Err(Invalid::new(
            "operation.reason",
            "is empty, a correction needs a reason",
        ));
    }
    let sku = match request.delta > 0 {
        true => check::new_sku("sku", request.sku)?,
        false => check::sku("sku", request.sku)?,
    };
    let warehouse = check::warehouse("warehouse", request.warehouse)?;
    if request.delta == 0 {
        return Err(Invalid::new(
            "delta",
            "is 0, a correction adds or takes something",
        ));
    }
    Ok(Taken::new(
        operation,
        Action::Adjust {
            sku,
            warehouse,
            delta: request.delta,
        },
    ))
}

/// Checks and converts a Count.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn count(request: v1::CountRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let sku = check::new_sku("sku", request.sku)?;
    let warehouse = check::warehouse("warehouse", request.warehouse)?;
    let counted = check::not_negative("counted", request.counted)?;
    Ok(Taken::new(
        operation,
        Action::Count {
            sku,
            warehouse,
            counted,
            as_of_seq: request.as_of_seq,
        },
    ))
}

/// Checks and converts a MoveBucket.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn move_bucket(request: v1::MoveBucketRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let sku = check::sku("sku", request.sku)?;
    let warehouse = check::warehouse("warehouse", request.warehouse)?;
    let from = movable_bucket("from_bucket", request.from_bucket)?;
    let to = movable_bucket("to_bucket", request.to_bucket)?;
    if from == to {
        return Err(Invalid::new("to_bucket", "is the same bucket as from_bucket"));
    }
    let quantity = check::quantity("quantity", request.quantity)?;
    Ok(Taken::new(
        operation,
        Action::MoveBucket {
            sku,
            warehouse,
            from,
            to,
            quantity,
        },
    ))
}

fn movable_bucket(field: &str, value: i32) -> Result<Bucket, Invalid> {
    match v1::Bucket::try_from(value) {
        Ok(v1::Bucket::Free) => Ok(Bucket::Free),
        Ok(v1::Bucket::Safety) => Ok(Bucket::Safety),
        Ok(v1::Bucket::Damaged) => Ok(Bucket::Damaged),
        Ok(v1::Bucket::QualityHold) => Ok(Bucket::QualityHold),
        Ok(other) => Err(Invalid::new(
            field,
            format!(
                "is {}, it must be FREE, SAFETY, DAMAGED or QUALITY_HOLD",
                other.as_str_name()
            ),
        )),
        Err(_) => Err(check::unknown_value(field, value)),
    }
}

/// Checks and converts a SetPolicy.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn set_policy(request: v1::SetPolicyRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let sku = check::new_sku("sku", request.sku)?;
    let storefront = check::storefront("storefront", request.storefront)?;
    let max_per_reservation = check::not_negative("max_per_reservation", request.max_per_reservation)?;
    let backorder_limit = check::not_negative("backorder_limit", request.backorder_limit)?;
    let preorder_limit = check::not_negative("preorder_limit", request.preorder_limit)?;
    let preorder_until_ms = check::time_ms("preorder_until_ms", request.preorder_until_ms)?;
    let may_borrow = request.may_borrow;
    Ok(Taken::new(
        operation,
        Action::SetPolicy {
            sku,
            storefront,
            may_borrow,
            max_per_reservation,
            backorder_limit,
            preorder_limit,
            preorder_until_ms,
        },
    ))
}

/// Checks and converts an AllocatePool.
#[allow(clippy::missing_errors_doc, reason = "said once, at `receive`")]
pub fn allocate_pool(request: v1::AllocatePoolRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let sku = check::new_sku("sku", request.sku)?;
    let warehouse = check::warehouse("warehouse", request.warehouse)?;
    let storefront = check::storefront("storefront", request.storefront)?;
    let target = check::not_negative("target", request.target)?;
    Ok(Taken::new(
        operation,
        Action::AllocatePool {
            sku,
            warehouse,
            storefront,
            target,
        },
    ))
}
