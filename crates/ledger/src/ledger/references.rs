//! Unique references: references that only one hold may have.
//!
//! A shop that saves one order twice sends two requests with two ids. A Reserve may ask that no other hold of
//! its storefront has the same reference, among those that asked for this too. One shard knows which hold has
//! the reference: the shard of the document ([`holdfast_api::slots::slot_of_document`]). Requests that ask
//! for this are decided there. If their SKUs live elsewhere, that shard is the home of an order over several
//! shards.

use std::collections::BTreeMap;

use crate::{Reference, Refusal, ReservationId, StorefrontId};

use super::{Ledger, orders::OrderState};

/// The holds and commits with a unique reference. A hold has its reference until it is released, expires or
/// is aborted. A commit has it until it is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct References {
    by_document: BTreeMap<(StorefrontId, Reference), ReservationId>,
    /// Documents by id. Follows from `by_document`.
    by_id: BTreeMap<ReservationId, (StorefrontId, Reference)>,
}

impl References {
    fn of(&self, storefront: &StorefrontId, reference: &Reference) -> Option<ReservationId> {
        let document = (storefront.clone(), reference.clone());
        self.by_document.get(&document).copied()
    }

    /// Returns the unique reference of a hold or commit, with its storefront. None if it asked for none.
    pub(crate) fn document_of(&self, id: &ReservationId) -> Option<&(StorefrontId, Reference)> {
        self.by_id.get(id)
    }

    pub(crate) fn take(&mut self, storefront: StorefrontId, reference: Reference, id: ReservationId) {
        let document = (storefront, reference);
        self.by_id.insert(id, document.clone());
        self.by_document.insert(document, id);
    }

    pub(crate) fn give_up(&mut self, id: &ReservationId) {
        if !self.by_id.is_empty()
            && let Some(document) = self.by_id.remove(id)
        {
            self.by_document.remove(&document);
        }
    }

    pub(crate) fn by_document(&self) -> &BTreeMap<(StorefrontId, Reference), ReservationId> {
        &self.by_document
    }

    /// Reads the references of a snapshot. None when one id has two documents.
    pub(crate) fn from_snapshot(
        by_document: BTreeMap<(StorefrontId, Reference), ReservationId>,
    ) -> Option<Self> {
        let by_id: BTreeMap<_, _> = by_document
            .iter()
            .map(|(document, id)| (*id, document.clone()))
            .collect();
        let one_each = by_id.len() == by_document.len();
        one_each.then_some(Self { by_document, by_id })
    }

    pub(crate) fn check(&self, known: impl Fn(&ReservationId) -> bool) -> Result<(), String> {
        let follows = Self::from_snapshot(self.by_document.clone()).as_ref() == Some(self);
        match self.by_id.keys().find(|id| !known(id)) {
            _ if !follows => Err("the references by id do not follow from those by document".to_owned()),
            Some(id) => Err(format!("a reference belongs to {id}, which is not there")),
            None => Ok(()),
        }
    }
}

impl Ledger {
    /// Refuses a hold whose reference must be unique and belongs to another hold. The hold that it replaces
    /// does not count.
    pub(crate) fn check_reference(
        &self,
        id: &ReservationId,
        storefront: &StorefrontId,
        reference: &Reference,
        replaces: Option<ReservationId>,
    ) -> Result<(), Refusal> {
        if reference.as_str().is_empty() {
            return Err(Refusal::InvalidRequest(
                "reference is empty, unique_reference needs one".to_owned(),
            ));
        }
        let Some(other) = self.references.of(storefront, reference) else {
            return Ok(());
        };
        if other == *id || Some(other) == replaces {
            return Ok(());
        }
        let order = self.orders.get(&other);
        match order.is_some_and(|order| order.state == OrderState::Undecided) {
            true => Err(Refusal::Contended(Vec::new())),
            false => Err(Refusal::ReferenceTaken {
                reservation_id: other,
            }),
        }
    }
}
