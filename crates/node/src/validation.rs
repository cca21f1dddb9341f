//! The rules for single fields. Each names the field it refuses, says which rule is broken, and panics on nothing.

use holdfast_api::limits::{MAX_POSITIONS, MAX_TTL_MS};
use holdfast_api::v1;
use holdfast_ledger::{
    Disposition, IdError, OperationId, Principal, Reason, Reference, ReservationId, Sku, StorefrontId,
    SupplyId, TransferId, WarehouseId,
};
use holdfast_orders::AsOf;
use holdfast_shard::Freshness;

use holdfast_api::names::lookalikes;

/// The latest time that log time can reach: it has 48 bits.
pub const MAX_TIME_MS: u64 = holdfast_ledger::limits::MAX_48_BITS;

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// Which field, as in the proto, with indexes: `lines[3].sku`.
    pub field: String,
    /// Which rule is broken.
    pub message: String,
}

impl Invalid {
    /// A broken rule.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl From<Invalid> for v1::Refusal {
    fn from(invalid: Invalid) -> Self {
        v1::Refusal {
            // It takes effect on no node, whenever it arrives.
            settled: true,
            ..holdfast_api::reasons::invalid(invalid.to_string())
        }
    }
}

/// What every mutating request carries, checked.
pub struct CheckedOperation {
    /// Its id.
    pub operation_id: OperationId,
    /// The caller's document.
    pub reference: Reference,
    /// The caller's reason.
    pub reason: Reason,
    /// An earlier attempt with the id has no answer.
    pub repeats: bool,
    /// Business time.
    pub occurred_at_ms: Option<u64>,
    /// After which changes its goods moved.
    pub as_of: AsOf,
}

fn named(field: &str) -> impl Fn(IdError) -> Invalid + '_ {
    // The error names the kind of thing; the field says which one.
    move |error| Invalid::new(field, error.to_string())
}

/// A message that must be there.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// The operation of a mutating request.
pub fn operation(operation: Option<v1::Operation>) -> Result<CheckedOperation, Invalid> {
    let operation = required("operation", operation)?;
    Ok(CheckedOperation {
        operation_id: OperationId::from_slice(&operation.operation_id)
            .map_err(named("operation.operation_id"))?,
        reference: Reference::new(operation.reference).map_err(named("operation.reference"))?,
        reason: Reason::new(operation.reason).map_err(named("operation.reason"))?,
        repeats: operation.repeats,
        occurred_at_ms: operation
            .occurred_at_ms
            .map(|at| time_ms("operation.occurred_at_ms", at))
            .transpose()?,
        as_of: as_of("operation.as_of", &operation.as_of)?,
    })
}

/// Positions in the histories of shards, each named once.
pub fn as_of(field: &str, positions: &[v1::AsOfChange]) -> Result<AsOf, Invalid> {
    count(field, positions.len(), 0, MAX_POSITIONS)?;
    let mut named: Vec<(Option<u32>, u64)> = positions.iter().map(|one| (one.shard, one.seq)).collect();
    named.sort_unstable();
    if let Some(twice) = named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let shard = twice[0]
            .0
            .map_or("no shard".to_owned(), |shard| format!("shard {shard}"));
        return Err(Invalid::new(field, format!("names {shard} twice")));
    }
    if named.len() > 1 && named[0].0.is_none() {
        return Err(Invalid::new(
            field,
            "leaves the shard out, which is for one position alone",
        ));
    }
    Ok(AsOf(named))
}

/// Which reservation, and which shard has it, if the caller knows.
pub fn reservation_key(
    field: &str,
    key: Option<v1::ReservationKey>,
) -> Result<(ReservationId, Option<u32>), Invalid> {
    let key = required(field, key)?;
    Ok((
        reservation_id(&format!("{field}.reservation_id"), &key.reservation_id)?,
        key.shard,
    ))
}

/// The id of a reservation.
pub fn reservation_id(field: &str, bytes: &[u8]) -> Result<ReservationId, Invalid> {
    ReservationId::from_slice(bytes)
        .map_err(|_| Invalid::new(field, "must be 16 bytes holding a UUID of version 7 or 8"))
}

/// Which transfer, and which shard has it, if the caller knows.
pub fn transfer_key(field: &str, key: Option<v1::TransferKey>) -> Result<(TransferId, Option<u32>), Invalid> {
    let key = required(field, key)?;
    Ok((
        reservation_id(&format!("{field}.transfer_id"), &key.transfer_id)?,
        key.shard,
    ))
}

/// A supply.
pub fn supply_id(field: &str, text: String) -> Result<SupplyId, Invalid> {
    SupplyId::new(text).map_err(named(field))
}

/// What happens to goods that come in.
pub fn disposition(field: &str, value: i32) -> Result<Disposition, Invalid> {
    match v1::Disposition::try_from(value) {
        Ok(v1::Disposition::Unspecified | v1::Disposition::Restock) => Ok(Disposition::Restock),
        Ok(v1::Disposition::Damaged) => Ok(Disposition::Damaged),
        Ok(v1::Disposition::QualityHold) => Ok(Disposition::QualityHold),
        Err(_) => Err(unknown_value(field, value)),
    }
}

/// A time of a plan.
pub fn time_ms(field: &str, value: u64) -> Result<u64, Invalid> {
    if value <= MAX_TIME_MS {
        Ok(value)
    } else {
        Err(Invalid::new(
            field,
            format!("is {value}, it must be at most {MAX_TIME_MS} milliseconds"),
        ))
    }
}

/// A stock keeping unit that the request cannot make known: it reads, or takes from what is there.
pub fn sku(field: &str, text: String) -> Result<Sku, Invalid> {
    Sku::new(text).map_err(named(field))
}

/// A stock keeping unit that the request can make known, so it must not look like another one.
pub fn new_sku(field: &str, text: String) -> Result<Sku, Invalid> {
    let sku = sku(field, text)?;
    lookalikes::check(&sku).map_err(|error| Invalid::new(field, error.to_string()))?;
    Ok(sku)
}

/// A warehouse.
pub fn warehouse(field: &str, text: String) -> Result<WarehouseId, Invalid> {
    WarehouseId::new(text).map_err(named(field))
}

/// A warehouse, where empty means none in particular.
pub fn optional_warehouse(field: &str, text: String) -> Result<Option<WarehouseId>, Invalid> {
    if text.is_empty() {
        Ok(None)
    } else {
        warehouse(field, text).map(Some)
    }
}

/// A storefront.
pub fn storefront(field: &str, text: String) -> Result<StorefrontId, Invalid> {
    let storefront = StorefrontId::new(text).map_err(named(field))?;
    if storefront.is_reserved() {
        return Err(Invalid::new(
            field,
            "begins with `holdfast:`, which is kept for the ledger's own use",
        ));
    }
    Ok(storefront)
}

/// Units to move.
pub fn quantity(field: &str, value: i64) -> Result<i64, Invalid> {
    if value >= 1 {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}, it must be at least 1")))
    }
}

/// Units to have.
pub fn not_negative(field: &str, value: i64) -> Result<i64, Invalid> {
    if value >= 0 {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}, it must be at least 0")))
    }
}

/// A time to live.
pub fn ttl_ms(field: &str, value: u64) -> Result<u64, Invalid> {
    if (1..=MAX_TTL_MS).contains(&value) {
        Ok(value)
    } else {
        Err(Invalid::new(
            field,
            format!("is {value}, it must be from 1 to {MAX_TTL_MS} milliseconds"),
        ))
    }
}

/// A list's length.
pub fn count(field: &str, count: usize, least: usize, most: usize) -> Result<(), Invalid> {
    if (least..=most).contains(&count) {
        Ok(())
    } else {
        Err(Invalid::new(
            field,
            format!("has {count} entries, {least} to {most} are allowed"),
        ))
    }
}

/// How fresh a read must be.
pub fn freshness(field: &str, value: i32) -> Result<Freshness, Invalid> {
    match v1::Consistency::try_from(value) {
        Ok(v1::Consistency::Unspecified | v1::Consistency::Linearizable) => Ok(Freshness::Linearizable),
        Ok(v1::Consistency::Stale) => Ok(Freshness::Stale),
        Err(_) => Err(unknown_value(field, value)),
    }
}

/// A value that the enum does not have.
pub fn unknown_value(field: &str, value: i32) -> Invalid {
    Invalid::new(field, format!("is {value}, which is none of the known values"))
}

/// Whoever asked: nobody is authenticated yet.
pub fn anonymous() -> Principal {
    static ANONYMOUS: std::sync::LazyLock<Option<Principal>> =
        std::sync::LazyLock::new(|| Principal::new("anonymous").ok());
    match ANONYMOUS.as_ref() {
        Some(principal) => principal.clone(),
        None => unreachable!("`anonymous` keeps the rules of a principal"),
    }
}
