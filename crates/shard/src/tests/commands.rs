//! Short forms of commands, and of checks of their outcomes.

use holdfast_ledger::{
    Action, CellView, Command, Details, OperationId, Outcome, Principal, Query, QueryReply, ReserveLine,
    ReserveMode, Sku, Source, Sourcing, StorefrontId, Success, WarehouseId,
};

use crate::SubmitError;

pub(super) type SubmitResult = Result<Outcome, SubmitError>;

pub(super) fn new_id() -> OperationId {
    OperationId::from_slice(uuid::Uuid::now_v7().as_bytes()).unwrap()
}

pub(super) fn sku(name: &str) -> Sku {
    Sku::new(name).unwrap()
}

pub(super) fn warehouse() -> WarehouseId {
    WarehouseId::new("north").unwrap()
}

pub(super) fn command(operation_id: OperationId, action: Action) -> Command {
    Command {
        operation_id,
        principal: Principal::new("test").unwrap(),
        reference: Default::default(),
        reason: Default::default(),
        details: Details::default(),
        action,
    }
}

pub(super) fn receive(name: &str, quantity: i64) -> Command {
    command(
        new_id(),
        Action::Receive {
            sku: sku(name),
            warehouse: warehouse(),
            quantity,
            supply_id: None,
        },
    )
}

pub(super) fn reserve(name: &str, quantity: i64, ttl_ms: u64) -> Command {
    let line = ReserveLine {
        sku: sku(name),
        quantity,
        source: Source::Any,
    };
    let action = Action::Reserve {
        storefront: StorefrontId::new("web").unwrap(),
        lines: vec![line],
        ttl_ms,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    };
    command(new_id(), action)
}

pub(super) fn cells(name: &str) -> Query {
    Query::Cells {
        sku: sku(name),
        warehouse: None,
    }
}

pub(super) fn one_cell(reply: QueryReply) -> CellView {
    match reply {
        QueryReply::Cells(mut cells) => cells.pop().expect("a cell"),
        other => panic!("not cells: {other:?}"),
    }
}

pub(super) fn success(result: &SubmitResult) -> Option<&Success> {
    result.as_ref().ok().and_then(|outcome| outcome.as_ref().ok())
}

pub(super) fn was_replayed(success: &Success) -> bool {
    match success {
        Success::Order { .. } => false,
        Success::Reserved { replayed, .. }
        | Success::Transitioned { replayed, .. }
        | Success::Stocked { replayed, .. } => *replayed,
    }
}
