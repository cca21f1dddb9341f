//! The columns of stock policies, transfers, supplies and business time, in the order in which they were
//! added to the schema.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, StringArray};
use bytes::Bytes;
use holdfast_api::v1::{Change, PolicyEffect, SupplyEffect, TransferEffect};

use super::columns::{DecodeError, column, text};
use super::row::{EncodeError, Row};
use super::schema::timestamp;

/// Builders of these columns.
pub(super) struct EffectBuilders {
    backorder_limit: Int64Builder,
    preorder_limit: Int64Builder,
    preorder_until: TimestampMillisecondBuilder,
    transfer_id: StringBuilder,
    transfer_from: StringBuilder,
    transfer_to: StringBuilder,
    transfer_expected_at: TimestampMillisecondBuilder,
    transfer_quantity: Int64Builder,
    transfer_in_transit: Int64Builder,
    supply_id: StringBuilder,
    supply_quantity: Int64Builder,
    supply_expected_at: TimestampMillisecondBuilder,
    occurred_at: TimestampMillisecondBuilder,
}

impl Default for EffectBuilders {
    fn default() -> Self {
        let times = || TimestampMillisecondBuilder::new().with_data_type(timestamp());
        Self {
            backorder_limit: Int64Builder::new(),
            preorder_limit: Int64Builder::new(),
            preorder_until: times(),
            transfer_id: StringBuilder::new(),
            transfer_from: StringBuilder::new(),
            transfer_to: StringBuilder::new(),
            transfer_expected_at: times(),
            transfer_quantity: Int64Builder::new(),
            transfer_in_transit: Int64Builder::new(),
            supply_id: StringBuilder::new(),
            supply_quantity: Int64Builder::new(),
            supply_expected_at: times(),
            occurred_at: times(),
        }
    }
}

impl EffectBuilders {
    pub(super) fn push(&mut self, row: Row, change: &Change) -> Result<(), EncodeError> {
        let policy = change.policy.as_ref();
        self.backorder_limit
            .append_option(policy.map(|policy| policy.backorder_limit));
        self.preorder_limit
            .append_option(policy.map(|policy| policy.preorder_limit));
        let until = policy.map(|policy| row.int64("policy_preorder_until", policy.preorder_until_ms));
        self.preorder_until.append_option(until.transpose()?);
        let transfer = change.transfer.as_ref();
        let id = transfer.map(|transfer| row.uuid("transfer_id", &transfer.transfer_id));
        self.transfer_id.append_option(id.transpose()?);
        self.transfer_from
            .append_option(transfer.map(|transfer| &transfer.from_warehouse));
        self.transfer_to
            .append_option(transfer.map(|transfer| &transfer.to_warehouse));
        let at = transfer.map(|transfer| row.int64("transfer_expected_at", transfer.expected_at_ms));
        self.transfer_expected_at.append_option(at.transpose()?);
        self.transfer_quantity
            .append_option(transfer.map(|transfer| transfer.quantity));
        self.transfer_in_transit
            .append_option(transfer.map(|transfer| transfer.in_transit));
        let supply = change.supply.as_ref();
        self.supply_id
            .append_option(supply.map(|supply| &supply.supply_id));
        self.supply_quantity
            .append_option(supply.map(|supply| supply.quantity));
        let at = supply.map(|supply| row.int64("supply_expected_at", supply.expected_at_ms));
        self.supply_expected_at.append_option(at.transpose()?);
        let occurred_at_ms = change.cause.as_ref().and_then(|cause| cause.occurred_at_ms);
        let at = occurred_at_ms.map(|at| row.int64("occurred_at", at));
        self.occurred_at.append_option(at.transpose()?);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.backorder_limit.finish()),
            Arc::new(self.preorder_limit.finish()),
            Arc::new(self.preorder_until.finish()),
            Arc::new(self.transfer_id.finish()),
            Arc::new(self.transfer_from.finish()),
            Arc::new(self.transfer_to.finish()),
            Arc::new(self.transfer_expected_at.finish()),
            Arc::new(self.transfer_quantity.finish()),
            Arc::new(self.transfer_in_transit.finish()),
            Arc::new(self.supply_id.finish()),
            Arc::new(self.supply_quantity.finish()),
            Arc::new(self.supply_expected_at.finish()),
            Arc::new(self.occurred_at.finish()),
        ]
    }
}

/// Readers of these columns.
pub(super) struct EffectColumns<'a> {
    backorder_limit: &'a PrimitiveArray<Int64Type>,
    preorder_limit: &'a PrimitiveArray<Int64Type>,
    preorder_until: &'a PrimitiveArray<TimestampMillisecondType>,
    transfer_id: &'a StringArray,
    transfer_from: &'a StringArray,
    transfer_to: &'a StringArray,
    transfer_expected_at: &'a PrimitiveArray<TimestampMillisecondType>,
    transfer_quantity: &'a PrimitiveArray<Int64Type>,
    transfer_in_transit: &'a PrimitiveArray<Int64Type>,
    supply_id: &'a StringArray,
    supply_quantity: &'a PrimitiveArray<Int64Type>,
    supply_expected_at: &'a PrimitiveArray<TimestampMillisecondType>,
    /// Absent in files that were archived before there was business time.
    occurred_at: Option<&'a PrimitiveArray<TimestampMillisecondType>>,
}

impl<'a> EffectColumns<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, DecodeError> {
        let int64 = |name: &str| column(batch, name, |array| array.as_primitive_opt::<Int64Type>());
        let time = |name: &str| {
            column(batch, name, |array| {
                array.as_primitive_opt::<TimestampMillisecondType>()
            })
        };
        let string = |name: &str| column(batch, name, |array| array.as_string_opt::<i32>());
        Ok(Self {
            backorder_limit: int64("policy_backorder_limit")?,
            preorder_limit: int64("policy_preorder_limit")?,
            preorder_until: time("policy_preorder_until")?,
            transfer_id: string("transfer_id")?,
            transfer_from: string("transfer_from")?,
            transfer_to: string("transfer_to")?,
            transfer_expected_at: time("transfer_expected_at")?,
            transfer_quantity: int64("transfer_quantity")?,
            transfer_in_transit: int64("transfer_in_transit")?,
            supply_id: string("supply_id")?,
            supply_quantity: int64("supply_quantity")?,
            supply_expected_at: time("supply_expected_at")?,
            occurred_at: match batch.column_by_name("occurred_at") {
                Some(_) => Some(time("occurred_at")?),
                None => None,
            },
        })
    }

    /// Adds the newer fields to a stock policy. `bad` makes the error for a column whose value is not
    /// allowed.
    pub(super) fn policy(
        &self,
        at: usize,
        policy: PolicyEffect,
        bad: impl Fn(&'static str) -> DecodeError,
    ) -> Result<PolicyEffect, DecodeError> {
        let until = u64::try_from(self.preorder_until.value(at));
        Ok(PolicyEffect {
            backorder_limit: self.backorder_limit.value(at),
            preorder_limit: self.preorder_limit.value(at),
            preorder_until_ms: until.map_err(|_| bad("policy_preorder_until"))?,
            ..policy
        })
    }

    pub(super) fn transfer(
        &self,
        at: usize,
        bad: impl Fn(&'static str) -> DecodeError,
    ) -> Result<Option<TransferEffect>, DecodeError> {
        if self.transfer_id.is_null(at) {
            return Ok(None);
        }
        let id = uuid::Uuid::try_parse(self.transfer_id.value(at)).map_err(|_| bad("transfer_id"))?;
        let expected_at_ms = u64::try_from(self.transfer_expected_at.value(at));
        Ok(Some(TransferEffect {
            transfer_id: Bytes::copy_from_slice(id.as_bytes()),
            from_warehouse: text(self.transfer_from, at),
            to_warehouse: text(self.transfer_to, at),
            expected_at_ms: expected_at_ms.map_err(|_| bad("transfer_expected_at"))?,
            quantity: self.transfer_quantity.value(at),
            in_transit: self.transfer_in_transit.value(at),
        }))
    }

    pub(super) fn occurred_at_ms(
        &self,
        at: usize,
        bad: impl Fn(&'static str) -> DecodeError,
    ) -> Result<Option<u64>, DecodeError> {
        match self.occurred_at.filter(|times| !times.is_null(at)) {
            Some(times) => u64::try_from(times.value(at))
                .map(Some)
                .map_err(|_| bad("occurred_at")),
            None => Ok(None),
        }
    }

    pub(super) fn supply(
        &self,
        at: usize,
        bad: impl Fn(&'static str) -> DecodeError,
    ) -> Result<Option<SupplyEffect>, DecodeError> {
        if self.supply_id.is_null(at) {
            return Ok(None);
        }
        let expected_at_ms = u64::try_from(self.supply_expected_at.value(at));
        Ok(Some(SupplyEffect {
            supply_id: text(self.supply_id, at),
            quantity: self.supply_quantity.value(at),
            expected_at_ms: expected_at_ms.map_err(|_| bad("supply_expected_at"))?,
        }))
    }
}
