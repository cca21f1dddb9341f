//! Hold on the proposer: for a short while nothing new goes to the log, and what waits keeps waiting.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::Proposer;

/// Holds back all proposals, until the hold is lifted or the lease is over.
#[derive(Message)]
#[rtype(result = "Result<u64, AlreadyHeld>")]
pub(crate) struct Hold {
    pub(crate) lease: Duration,
    /// Notifies the caller when every proposal is answered; dropped when the hold ends before that.
    pub(crate) drained: oneshot::Sender<()>,
}

/// Lifts the hold with this number, so that the proposer proposes again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Lift(pub(crate) u64);

/// Another hold is in place.
#[derive(Debug)]
pub(crate) struct AlreadyHeld;

/// The hold in place.
pub(super) struct Held {
    number: u64,
    drained: Option<oneshot::Sender<()>>,
}

impl Proposer {
    pub(super) fn is_held(&self) -> bool {
        self.work.held.is_some()
    }

    pub(super) fn tell_when_drained(&mut self) {
        if self.work.in_flight.is_empty()
            && let Some(held) = &mut self.work.held
            && let Some(drained) = held.drained.take()
        {
            drained.send(()).ok();
        }
    }

    fn lift(&mut self, number: u64, ctx: &mut Context<Self>) {
        if self.work.held.as_ref().is_some_and(|held| held.number == number) {
            self.work.held = None;
            self.schedule_pump(ctx);
        }
    }
}

impl Handler<Hold> for Proposer {
    type Result = Result<u64, AlreadyHeld>;

    fn handle(&mut self, hold: Hold, ctx: &mut Context<Self>) -> Self::Result {
        if self.is_held() {
            return Err(AlreadyHeld);
        }
        self.work.last_hold += 1;
        let number = self.work.last_hold;
        self.work.held = Some(Held {
            number,
            drained: Some(hold.drained),
        });
        self.tell_when_drained();
        ctx.run_later(hold.lease, move |actor, ctx| actor.lift(number, ctx));
        Ok(number)
    }
}

impl Handler<Lift> for Proposer {
    type Result = ();

    fn handle(&mut self, Lift(number): Lift, ctx: &mut Context<Self>) {
        self.lift(number, ctx);
    }
}
