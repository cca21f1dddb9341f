//! Arguments that several commands take, and the parsers of their values.

use std::time::Duration;

use holdfast_client::{ClientError, id_bytes, v1};
use uuid::Uuid;

use crate::failure::FailedOperation;

/// The place of goods that come in.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Disposition {
    /// Stock that can be sold again
    Restock,
    /// Present, but not sellable
    Damaged,
    /// Present, but not sellable until it is inspected
    QualityHold,
}

impl Disposition {
    /// Returns the value that is sent.
    pub(crate) fn message(self) -> i32 {
        match self {
            Self::Restock => v1::Disposition::Restock,
            Self::Damaged => v1::Disposition::Damaged,
            Self::QualityHold => v1::Disposition::QualityHold,
        }
        .into()
    }
}

/// Options that every mutation takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Operation")]
pub(crate) struct OperationArgs {
    /// The operation's id, a UUID of version 7 or 8; generated when left out. Give it again to repeat an
    /// operation safely
    #[arg(long, value_name = "UUID")]
    operation_id: Option<Uuid>,
    /// The outcome of an earlier command with this id is unknown. If this one is refused, the id is sealed,
    /// so that the earlier one cannot take effect later
    #[arg(long, requires = "operation_id")]
    repeats: bool,
    /// Your own document: order number, delivery note. Never a name, an address or an e-mail
    #[arg(long, default_value = "", hide_default_value = true)]
    reference: String,
    /// The reason, as a code of yours, such as damaged
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Time when it happened, if not now: a UTC time such as 2026-11-30T14:05:00Z, or milliseconds since the
    /// Unix epoch; at most 40 years ago
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    occurred_at: Option<u64>,
}

/// The change after which goods moved, for goods that are booked late: one change for each shard.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AsOfArgs {
    /// For goods that are booked only after a count has included them: the change after which they moved, as
    /// SEQ or SHARD:SEQ (see `holdfast changes positions`). Give it once for each shard
    #[arg(long, value_name = "[SHARD:]SEQ", value_parser = as_of)]
    as_of: Vec<v1::AsOfPosition>,
}

fn as_of(text: &str) -> Result<v1::AsOfPosition, String> {
    let (shard, seq) = match text.split_once(':') {
        Some((shard, seq)) => (Some(shard), seq),
        None => (None, text),
    };
    let bad = || format!("`{text}` is not a change: write SEQ, or SHARD:SEQ if several shards are concerned");
    Ok(v1::AsOfPosition {
        shard: shard.map(|shard| shard.parse().map_err(|_| bad())).transpose()?,
        seq: seq.parse().map_err(|_| bad())?,
    })
}

impl OperationArgs {
    /// Fixes the operation's id.
    pub(crate) fn start(self) -> Operation {
        Operation {
            id: self.operation_id.unwrap_or_else(Uuid::now_v7),
            reference: self.reference,
            reason: self.reason,
            repeats: self.repeats,
            occurred_at_ms: self.occurred_at,
            as_of: Vec::new(),
        }
    }

    /// Fixes the operation's id, for goods that may be booked late.
    pub(crate) fn start_as_of(self, as_of: AsOfArgs) -> Operation {
        Operation {
            as_of: as_of.as_of,
            ..self.start()
        }
    }

    pub(crate) fn has_reason(&self) -> bool {
        !self.reason.is_empty()
    }
}

/// An operation whose id is fixed.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// The id that makes a repeat safe.
    pub(crate) id: Uuid,
    reference: String,
    reason: String,
    repeats: bool,
    occurred_at_ms: Option<u64>,
    as_of: Vec<v1::AsOfPosition>,
}

impl Operation {
    /// Returns the message that is sent.
    pub(crate) fn message(&self) -> Option<v1::Operation> {
        Some(v1::Operation {
            operation_id: id_bytes(self.id),
            reference: self.reference.clone(),
            reason: self.reason.clone(),
            repeats: self.repeats,
            occurred_at_ms: self.occurred_at_ms,
            as_of: self.as_of.clone(),
        })
    }

    /// Returns the error of this operation, which names the id.
    pub(crate) fn failed(&self, source: ClientError) -> FailedOperation {
        FailedOperation {
            operation_id: self.id,
            source,
        }
    }
}

/// Arguments that name a reservation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReservationArgs {
    /// The reservation's id: the operation id of its reserve
    #[arg(value_name = "RESERVATION")]
    pub(crate) reservation: Uuid,
    /// The shard that has it, when you know it; otherwise every shard is asked
    #[arg(long)]
    pub(crate) shard: Option<u32>,
}

impl ReservationArgs {
    /// Returns the key that is sent.
    pub(crate) fn key(&self) -> Option<v1::ReservationKey> {
        Some(v1::ReservationKey {
            reservation_id: id_bytes(self.reservation),
            shard: self.shard,
        })
    }
}

/// Parses a time to live such as 15m, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let duration = duration(text)?;
    u64::try_from(duration.as_millis()).map_err(|_| "is too long".to_owned())
}

/// Parses a duration such as 90s, 15m or 1h30m.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a number and a unit, such as 90s, 15m or 1h30m"))
}

/// Parses a time into milliseconds since the Unix epoch: a UTC time, or such a number.
pub(crate) fn time_ms(text: &str) -> Result<u64, String> {
    const HOW: &str = "write a UTC time such as 2026-11-21T09:30:00Z, or milliseconds since the Unix epoch";
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|error| format!("{error}: {HOW}"));
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| format!("{error}: {HOW}"))?;
    let since_epoch = time
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| HOW.to_owned())?;
    u64::try_from(since_epoch.as_millis()).map_err(|_| HOW.to_owned())
}

/// Parses a whole number of at least 1.
pub(crate) fn units(text: &str) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(units) if units >= 1 => Ok(units),
        Ok(units) => Err(format!(
            "{units} is not allowed: quantities are whole base units, at least 1"
        )),
        Err(error) => Err(format!("{error}: quantities are whole base units, at least 1")),
    }
}

/// One line of an order: SKU=QTY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderLine {
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}

/// Parses SKU=QTY.
pub(crate) fn order_line(text: &str) -> Result<OrderLine, String> {
    let (sku, quantity) = text.rsplit_once('=').ok_or("write SKU=QTY, such as SHIRT-1=2")?;
    if sku.is_empty() {
        return Err("the SKU is missing: write SKU=QTY, such as SHIRT-1=2".to_owned());
    }
    Ok(OrderLine {
        sku: sku.to_owned(),
        quantity: units(quantity)?,
    })
}

/// Parses LINE=QTY or LINE=QTY@WAREHOUSE.
pub(crate) fn line_quantity(text: &str) -> Result<v1::LineQuantity, String> {
    const HOW: &str = "write LINE=QTY or LINE=QTY@WAREHOUSE, such as 0=2@LONDON; lines are counted from 0";
    let (line, rest) = text.split_once('=').ok_or(HOW)?;
    let (quantity, warehouse) = rest
        .split_once('@')
        .map_or((rest, ""), |(quantity, warehouse)| (quantity, warehouse));
    if rest.ends_with('@') {
        return Err(format!("the warehouse is missing: {HOW}"));
    }
    Ok(v1::LineQuantity {
        line: line.parse().map_err(|error| format!("{error}: {HOW}"))?,
        quantity: units(quantity)?,
        warehouse: warehouse.to_owned(),
    })
}

/// Returns the consistency of a read: stale, or linearizable.
pub(crate) fn consistency(stale: bool) -> i32 {
    if stale {
        v1::Consistency::Stale
    } else {
        v1::Consistency::Linearizable
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_lines_are_read_and_malformed_ones_refused() {
        assert_eq!(
            order_line("A=B=2"),
            Ok(OrderLine {
                sku: "A=B".to_owned(),
                quantity: 2
            })
        );
        for bad in [
            "A",
            "=1",
            "A=",
            "A=0",
            "A=-1",
            "A=1.5",
            "A=9223372036854775808",
            "A=x",
        ] {
            assert!(order_line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn line_quantities_are_read_and_malformed_ones_refused() {
        let line = |line, quantity, warehouse: &str| v1::LineQuantity {
            line,
            quantity,
            warehouse: warehouse.to_owned(),
        };
        assert_eq!(line_quantity("0=2"), Ok(line(0, 2, "")));
        assert_eq!(line_quantity("3=2@LONDON"), Ok(line(3, 2, "LONDON")));
        for bad in ["", "0", "x=1", "0=0", "0=1@", "-1=1", "0=@A"] {
            assert!(line_quantity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_and_malformed_ones_refused() {
        assert_eq!(duration_ms("15m"), Ok(900_000));
        assert_eq!(duration_ms("1h30m"), Ok(5_400_000));
        for bad in ["", "15", "m", "-1s", "1e30 days"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
