//! Freeze of the proposer: for a short while nothing new goes to the log, and what waits keeps waiting.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::Proposer;

/// Holds back all proposals, until it thaws or the lease is over.
#[derive(Message)]
#[rtype(result = "Result<u64, AlreadyFrozen>")]
pub(crate) struct Freeze {
    pub(crate) lease: Duration,
    /// Notifies the caller when every proposal is answered; dropped when the freeze ends before that.
    pub(crate) drained: oneshot::Sender<()>,
}

/// Ends the freeze with this number, so that the proposer proposes again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Thaw(pub(crate) u64);

/// Another freeze is in place.
#[derive(Debug)]
pub(crate) struct AlreadyFrozen;

/// The freeze in place.
pub(super) struct Frozen {
    number: u64,
    drained: Option<oneshot::Sender<()>>,
}

impl Proposer {
    pub(super) fn is_frozen(&self) -> bool {
        self.work.frozen.is_some()
    }

    pub(super) fn tell_when_drained(&mut self) {
        if self.work.in_flight.is_empty()
            && let Some(frozen) = &mut self.work.frozen
            && let Some(drained) = frozen.drained.take()
        {
            drained.send(()).ok();
        }
    }

    fn thaw(&mut self, number: u64, ctx: &mut Context<Self>) {
        if self
            .work
            .frozen
            .as_ref()
            .is_some_and(|frozen| frozen.number == number)
        {
            self.work.frozen = None;
            self.schedule_pump(ctx);
        }
    }
}

impl Handler<Freeze> for Proposer {
    type Result = Result<u64, AlreadyFrozen>;

    fn handle(&mut self, freeze: Freeze, ctx: &mut Context<Self>) -> Self::Result {
        if self.is_frozen() {
            return Err(AlreadyFrozen);
        }
        self.work.last_freeze += 1;
        let number = self.work.last_freeze;
        self.work.frozen = Some(Frozen {
            number,
            drained: Some(freeze.drained),
        });
        self.tell_when_drained();
        ctx.run_later(freeze.lease, move |actor, ctx| actor.thaw(number, ctx));
        Ok(number)
    }
}

impl Handler<Thaw> for Proposer {
    type Result = ();

    fn handle(&mut self, Thaw(number): Thaw, ctx: &mut Context<Self>) {
        self.thaw(number, ctx);
    }
}
