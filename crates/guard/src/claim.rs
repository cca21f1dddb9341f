//! The name in the certificate of a handshake that is under way. rustls does not say what it refused, and an audit
//! line without a name helps nobody.

use std::cell::RefCell;
use std::future::Future;

use holdfast_api::names::Principal;

tokio::task_local! {
    /// The principal that the certificate of the handshake under way names.
    static CLAIMED: RefCell<Option<Principal>>;
}

/// Remembers the principal that a certificate names, before it is known to be genuine.
pub fn claims_to_be(principal: &Principal) {
    // Outside of a handshake nobody asks.
    let _ = CLAIMED.try_with(|claimed| *claimed.borrow_mut() = Some(principal.clone()));
}

/// Runs a handshake. Returns its outcome, and the principal that the other's certificate named if it got that far.
pub async fn with_claim<T>(handshake: impl Future<Output = T>) -> (T, Option<Principal>) {
    CLAIMED
        .scope(RefCell::new(None), async {
            let done = handshake.await;
            (done, CLAIMED.with(|claimed| claimed.borrow().clone()))
        })
        .await
}
