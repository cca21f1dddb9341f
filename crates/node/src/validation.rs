//! The rules for single fields. Each error names the field and the rule that it breaks. None of the checks
//! panics.

use holdfast_api::limits::{MAX_POSITIONS, MAX_TTL_MS};
use holdfast_api::v1;
use holdfast_ledger::{
    CallerReason, Disposition, IdError, OperationId, Principal, Reference, ReservationId, Sku, StorefrontId,
    SupplyId, TransferId, WarehouseId,
};
use holdfast_orders::AsOf;
use holdfast_shard::Freshness;

use holdfast_api::names::lookalikes;

/// The latest log time, in milliseconds: log time has 48 bits.
pub const MAX_TIME_MS: u64 = holdfast_ledger::limits::MAX_48_BITS;

/// The error of a field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field's name in the proto, with indexes: `lines[3].sku`.
    pub field: String,
    /// The rule that is broken.
    pub message: String,
}

impl Invalid {
    /// Returns the error for a field and the rule that it breaks.
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
            // Such a request takes effect on no node, whenever it arrives.
            settled: true,
            ..holdfast_api::reasons::invalid(invalid.to_string())
        }
    }
}

/// The checked fields that every mutating request carries.
pub struct CheckedOperation {
    /// The operation id.
    pub operation_id: OperationId,
    /// The caller's document for the operation.
    pub reference: Reference,
    /// The caller's reason.
    pub reason: CallerReason,
    /// Whether an earlier attempt with the id has no answer.
    pub repeats: bool,
    /// The business time, in milliseconds since the Unix epoch.
    pub occurred_at_ms: Option<u64>,
    /// The changes right after which the operation's goods moved.
    pub as_of: AsOf,
}

fn named(field: &str) -> impl Fn(IdError) -> Invalid + '_ {
    // The error names the kind of thing; the field says which one.
    move |error| Invalid::new(field, error.to_string())
}

/// Checks that a message is not missing.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// Checks the operation of a mutating request.
pub fn operation(operation: Option<v1::Operation>) -> Result<CheckedOperation, Invalid> {
    let operation = required("operation", operation)?;
    Ok(CheckedOperation {
        operation_id: OperationId::from_slice(&operation.operation_id)
            .map_err(named("operation.operation_id"))?,
        reference: Reference::new(operation.reference).map_err(named("operation.reference"))?,
        reason: CallerReason::new(operation.reason).map_err(named("operation.reason"))?,
        repeats: operation.repeats,
        occurred_at_ms: operation
            .occurred_at_ms
            .map(|at| time_ms("operation.occurred_at_ms", at))
            .transpose()?,
        as_of: as_of("operation.as_of", &operation.as_of)?,
    })
}

/// Checks positions in the histories of shards. Each shard may be named only once.
pub fn as_of(field: &str, positions: &[v1::AsOfPosition]) -> Result<AsOf, Invalid> {
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

/// Checks a reservation's id, and returns it with its shard if the caller knows the shard.
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

/// Checks the id of a reservation.
pub fn reservation_id(field: &str, bytes: &[u8]) -> Result<ReservationId, Invalid> {
    ReservationId::from_slice(bytes)
        .map_err(|_| Invalid::new(field, "must be 16 bytes holding a UUID of version 7 or 8"))
}

/// Checks a transfer's id, and returns it with its shard if the caller knows the shard.
pub fn transfer_key(field: &str, key: Option<v1::TransferKey>) -> Result<(TransferId, Option<u32>), Invalid> {
    let key = required(field, key)?;
    Ok((
        reservation_id(&format!("{field}.transfer_id"), &key.transfer_id)?,
        key.shard,
    ))
}

/// Checks the id of a supply.
pub fn supply_id(field: &str, text: String) -> Result<SupplyId, Invalid> {
    SupplyId::new(text).map_err(named(field))
}

/// Checks what happens to goods that arrive. The default is to restock them.
pub fn disposition(field: &str, value: i32) -> Result<Disposition, Invalid> {
    match v1::Disposition::try_from(value) {
        Ok(v1::Disposition::Unspecified | v1::Disposition::Restock) => Ok(Disposition::Restock),
        Ok(v1::Disposition::Damaged) => Ok(Disposition::Damaged),
        Ok(v1::Disposition::QualityHold) => Ok(Disposition::QualityHold),
        Err(_) => Err(unknown_value(field, value)),
    }
}

/// Checks a time in milliseconds since the Unix epoch.
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

/// Checks the name of a SKU in a request that cannot make it known: the request reads, or takes existing
/// units.
pub fn sku(field: &str, text: String) -> Result<Sku, Invalid> {
    Sku::new(text).map_err(named(field))
}

/// Checks the name of a SKU in a request that can make it known. Such a name must not look like another one.
pub fn new_sku(field: &str, text: String) -> Result<Sku, Invalid> {
    let sku = sku(field, text)?;
    lookalikes::check(&sku).map_err(|error| Invalid::new(field, error.to_string()))?;
    Ok(sku)
}

/// Checks the id of a warehouse.
pub fn warehouse(field: &str, text: String) -> Result<WarehouseId, Invalid> {
    WarehouseId::new(text).map_err(named(field))
}

/// Checks the id of a warehouse. An empty text means no particular warehouse.
pub fn optional_warehouse(field: &str, text: String) -> Result<Option<WarehouseId>, Invalid> {
    if text.is_empty() {
        Ok(None)
    } else {
        warehouse(field, text).map(Some)
    }
}

/// Checks the id of a storefront. Names that begin with `holdfast:` are refused.
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

/// Checks a number of units to move, at least 1.
pub fn quantity(field: &str, value: i64) -> Result<i64, Invalid> {
    if value >= 1 {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}, it must be at least 1")))
    }
}

/// Checks a number of units that may be 0.
pub fn not_negative(field: &str, value: i64) -> Result<i64, Invalid> {
    if value >= 0 {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}, it must be at least 0")))
    }
}

/// Checks a time to live, from 1 to [`MAX_TTL_MS`] milliseconds.
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

/// Checks the length of a list.
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

/// Checks how fresh a read must be. The default is linearizable.
pub fn freshness(field: &str, value: i32) -> Result<Freshness, Invalid> {
    match v1::Consistency::try_from(value) {
        Ok(v1::Consistency::Unspecified | v1::Consistency::Linearizable) => Ok(Freshness::Linearizable),
        Ok(v1::Consistency::Stale) => Ok(Freshness::Stale),
        Err(_) => Err(unknown_value(field, value)),
    }
}

/// Returns the error for a value that the enum does not have.
pub fn unknown_value(field: &str, value: i32) -> Invalid {
    Invalid::new(field, format!("is {value}, which is none of the known values"))
}

/// Returns the principal `anonymous`. It stands for callers without a certificate, and for the caller of a
/// command before admission sets it.
pub fn anonymous() -> Principal {
    static ANONYMOUS: std::sync::LazyLock<Option<Principal>> =
        std::sync::LazyLock::new(|| Principal::new("anonymous").ok());
    match ANONYMOUS.as_ref() {
        Some(principal) => principal.clone(),
        None => unreachable!("`anonymous` keeps the rules of a principal"),
    }
}
