//! The moment at which a large message may be decoded: as it comes, or once its service has a thread for it.

use std::task::{Context, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Says when the large messages of one call may be decoded.
#[derive(Debug, Default)]
pub(crate) struct Decoding {
    state: Mutex<State>,
    /// A large message waits until it may be decoded.
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
    /// Returns whether the library may have a large message now. If not, whoever asks is woken when it may.
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

    /// From now on each large message waits until [`Decoding::allow`] is called.
    pub(crate) fn only_when_allowed(&self) {
        *self.state.lock() = State::WhenAllowed;
    }

    /// Waits until a large message waits.
    pub(crate) async fn large_waits(&self) {
        loop {
            self.waits.notified().await;
            // A message that was asked for twice has left a second notice behind.
            if matches!(*self.state.lock(), State::Waiting(_)) {
                return;
            }
        }
    }

    /// Lets the message that waits be decoded by whoever asks for it next.
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
        // Woken for another reason, the library asks once more.
        assert!(!decoding.may_decode(&context));
        decoding.allow();
        assert!(decoding.may_decode(&context));
        // Nothing waits now, so nobody may take the next one for one that does.
        assert!(decoding.large_waits().now_or_never().is_none());
        assert!(!decoding.may_decode(&context));
        assert!(decoding.large_waits().now_or_never().is_some());
    }
}
