//! Checks and converts the requests of the checkout.

use holdfast_api::limits::{MAX_LINES, MAX_PREFERENCES};
use holdfast_api::v1;
use holdfast_ledger::{
    Action, LineQuantity, ReserveLine, ReserveMode, ReturnOf, Source, Sourcing, WarehouseId,
};

use super::taken::Taken;
use crate::validation::{self as check, Invalid};

/// Checks and converts a Reserve.
///
/// # Errors
/// [`Invalid`] names the field and the rule. The same holds for all functions of this module.
pub fn reserve(request: v1::ReserveRequest) -> Result<Taken, Invalid> {
    let mode = match v1::ReserveMode::try_from(request.mode) {
        Ok(v1::ReserveMode::Unspecified | v1::ReserveMode::AllOrNothing) => ReserveMode::AllOrNothing,
        Ok(v1::ReserveMode::BestEffort) => ReserveMode::BestEffort,
        Err(_) => return Err(check::unknown_value("mode", request.mode)),
    };
    let sourcing = match v1::Sourcing::try_from(request.sourcing) {
        Ok(v1::Sourcing::Unspecified | v1::Sourcing::AsGiven) => Sourcing::AsGiven,
        Ok(v1::Sourcing::FewestShipments) => Sourcing::FewestShipments,
        Ok(v1::Sourcing::Balance) => Sourcing::Balance,
        Err(_) => return Err(check::unknown_value("sourcing", request.sourcing)),
    };
    let operation = check::operation(request.operation)?;
    let storefront = check::storefront("storefront", request.storefront)?;
    let ttl_ms = check::ttl_ms("ttl_ms", request.ttl_ms)?;
    check::count("lines", request.lines.len(), 1, MAX_LINES)?;
    let lines = request
        .lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| reserve_line(line).map_err(|e| inside(&format!("lines[{index}]"), e)))
        .collect::<Result<_, _>>()?;
    if request.unique_reference && operation.reference.as_str().is_empty() {
        return Err(Invalid::new(
            "operation.reference",
            "is empty, unique_reference needs one",
        ));
    }
    if !operation.as_of.0.is_empty() {
        return Err(Invalid::new(
            "operation.as_of",
            "is not taken by a Reserve: it is for goods that move, and a hold moves none",
        ));
    }
    let replaces = match request.replaces {
        Some(key) => Some(check::reservation_key("replaces", Some(key))?),
        None => None,
    };
    let mut taken = Taken::new(
        operation,
        Action::Reserve {
            storefront,
            lines,
            ttl_ms,
            mode,
            sourcing,
        },
    );
    if let Some((reservation_id, shard)) = replaces {
        if reservation_id == taken.command.operation_id {
            return Err(Invalid::new(
                "replaces.reservation_id",
                "is the operation's own id",
            ));
        }
        taken.command.details.replaces = Some(reservation_id);
        taken.replaced_shard_hint = shard;
    }
    taken.command.details.unique_reference = request.unique_reference;
    Ok(taken)
}

pub(super) fn inside(outer: &str, invalid: Invalid) -> Invalid {
    Invalid {
        field: format!("{outer}.{}", invalid.field),
        ..invalid
    }
}

fn reserve_line(line: v1::ReserveLine) -> Result<ReserveLine, Invalid> {
    Ok(ReserveLine {
        sku: check::sku("sku", line.sku)?,
        quantity: check::quantity("quantity", line.quantity)?,
        source: source(line.source)?,
    })
}

fn source(source: Option<v1::Source>) -> Result<Source, Invalid> {
    match source.and_then(|source| source.kind) {
        None => Ok(Source::Any),
        Some(v1::source::Kind::Warehouse(name)) => {
            Ok(Source::Warehouse(check::warehouse("source.warehouse", name)?))
        }
        Some(v1::source::Kind::Preference(list)) => {
            const FIELD: &str = "source.preference.warehouses";
            check::count(FIELD, list.warehouses.len(), 1, MAX_PREFERENCES)?;
            let named = list.warehouses.into_iter();
            let warehouses: Vec<WarehouseId> = named
                .map(|name| check::warehouse(FIELD, name))
                .collect::<Result<_, _>>()?;
            let mut sorted: Vec<&WarehouseId> = warehouses.iter().collect();
            sorted.sort_unstable();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Invalid::new(FIELD, format!("lists `{}` twice", twice[0])));
            }
            Ok(Source::Preference(warehouses))
        }
    }
}

/// Checks and converts an Extend.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn extend(request: v1::ExtendRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (reservation_id, shard) = check::reservation_key("reservation", request.reservation)?;
    let ttl_ms = check::ttl_ms("ttl_ms", request.ttl_ms)?;
    Ok(Taken::new(
        operation,
        Action::Extend {
            reservation_id,
            ttl_ms,
        },
    )
    .in_shard(shard))
}

/// Checks and converts a Commit.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn commit(request: v1::CommitRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (reservation_id, shard) = check::reservation_key("reservation", request.reservation)?;
    Ok(Taken::new(operation, Action::Commit { reservation_id }).in_shard(shard))
}

/// Checks and converts a Release.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn release(request: v1::ReleaseRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (reservation_id, shard) = check::reservation_key("reservation", request.reservation)?;
    Ok(Taken::new(operation, Action::Release { reservation_id }).in_shard(shard))
}

/// Checks and converts a Ship.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn ship(request: v1::ShipRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (reservation_id, shard) = check::reservation_key("reservation", request.reservation)?;
    let lines = line_quantities("lines", request.lines)?;
    Ok(Taken::new(
        operation,
        Action::Ship {
            reservation_id,
            lines,
        },
    )
    .in_shard(shard))
}

/// Checks and converts a Cancel.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn cancel(request: v1::CancelRequest) -> Result<Taken, Invalid> {
    let operation = check::operation(request.operation)?;
    let (reservation_id, shard) = check::reservation_key("reservation", request.reservation)?;
    let lines = line_quantities("lines", request.lines)?;
    Ok(Taken::new(
        operation,
        Action::Cancel {
            reservation_id,
            lines,
        },
    )
    .in_shard(shard))
}

/// Checks and converts a Return.
#[allow(clippy::missing_errors_doc, reason = "said once, at `reserve`")]
pub fn take_back(request: v1::ReturnRequest) -> Result<Taken, Invalid> {
    let disposition = check::disposition("disposition", request.disposition)?;
    let operation = check::operation(request.operation)?;
    match check::required("what", request.what)? {
        v1::return_request::What::Reservation(what) => {
            let (reservation_id, shard) =
                check::reservation_key("reservation.reservation", what.reservation)?;
            let lines = line_quantities("reservation.lines", what.lines)?;
            let of = ReturnOf::Reservation {
                reservation_id,
                lines,
            };
            Ok(Taken::new(operation, Action::Return { of, disposition }).in_shard(shard))
        }
        v1::return_request::What::Unreferenced(what) => {
            let of = ReturnOf::Unreferenced {
                sku: check::new_sku("unreferenced.sku", what.sku)?,
                warehouse: check::warehouse("unreferenced.warehouse", what.warehouse)?,
                quantity: check::quantity("unreferenced.quantity", what.quantity)?,
            };
            Ok(Taken::new(operation, Action::Return { of, disposition }))
        }
    }
}

fn line_quantities(field: &str, lines: Vec<v1::LineQuantity>) -> Result<Vec<LineQuantity>, Invalid> {
    check::count(field, lines.len(), 0, MAX_LINES)?;
    let take = |line: v1::LineQuantity| {
        Ok(LineQuantity {
            line: line.line,
            quantity: check::quantity("quantity", line.quantity)?,
            warehouse: check::optional_warehouse("warehouse", line.warehouse)?,
        })
    };
    lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| take(line).map_err(|e| inside(&format!("{field}[{index}]"), e)))
        .collect()
}
