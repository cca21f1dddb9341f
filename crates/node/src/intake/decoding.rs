//! Decides when a large message may be decoded: as it arrives, or only when its service has a thread for it.

use std::task::{Context, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Decides when the large messages of one call may be decoded.
#[derive(Debug, Default)]
pub(crate) struct Decoding {
    state: Mutex<State>,
    /// The notice that a large message has begun to wait.
    waits: Notify,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    AsTheyCome,
    WhenAllowed,
    Waiting(Waker),
    Allowed,
}

impl Decoding {
    /// Returns whether the library may have a large message now. If not, the task that asks is woken when it
    /// may.
    pub(crate) fn may_decode(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        match *state {
            State::AsTheyCome => true,
            State::Allowed => {
                *state = State::WhenAllowed;
                true
            }
            State::WhenAllowed | State::Waiting(_) => {
                *state = State::Waiting(context.waker().clone());
                self.waits.notify_one();
                false
            }
        }
    }

    /// Makes each later large message wait until [`Decoding::allow`] is called.
    pub(crate) fn only_when_allowed(&self) {
        *self.state.lock() = State::WhenAllowed;
    }

    /// Returns when a large message waits.
    pub(crate) async fn large_waits(&self) {
        loop {
            self.waits.notified().await;
            // If the library asked twice for the same message, a second notice is left over.
            if matches!(*self.state.lock(), State::Waiting(_)) {
                return;
            }
        }
    }

    /// Allows the waiting message to be decoded, by the next task that asks for it.
    pub(crate) fn allow(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Allowed);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_large_message_waits_for_its_own_leave_however_often_it_was_asked_for() {
        let decoding = Decoding::default();
        let context = Context::from_waker(Waker::noop());
        assert!(decoding.may_decode(&context));
        decoding.only_when_allowed();
        assert!(!decoding.may_decode(&context));
        decoding.large_waits().await;
        // The library asks once more when it is woken for another reason.
        assert!(!decoding.may_decode(&context));
        decoding.allow();
        assert!(decoding.may_decode(&context));
        // Nothing waits at this point, so a left-over notice must not count as a waiting message.
        assert!(decoding.large_waits().now_or_never().is_none());
        assert!(!decoding.may_decode(&context));
        assert!(decoding.large_waits().now_or_never().is_some());
    }
}
