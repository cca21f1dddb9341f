//! The name in the certificate of a handshake in progress. rustls does not report which certificate it
//! refused, and an audit line without a name helps nobody.

use std::cell::RefCell;
use std::future::Future;

use holdfast_api::names::Principal;

tokio::task_local! {
    /// The principal that the certificate of the current handshake names.
    static CLAIMED: RefCell<Option<Principal>>;
}

/// Remembers the principal that a certificate names, before the certificate is checked.
pub fn claims_to_be(principal: &Principal) {
    // Outside of a handshake the name is not needed.
    let _ = CLAIMED.try_with(|claimed| *claimed.borrow_mut() = Some(principal.clone()));
}

/// Runs a handshake. Returns its outcome, and the principal that the peer's certificate names if the
/// handshake got that far.
pub async fn with_claim<T>(handshake: impl Future<Output = T>) -> (T, Option<Principal>) {
    CLAIMED
        .scope(RefCell::new(None), async {
            let done = handshake.await;
            (done, CLAIMED.with(|claimed| claimed.borrow().clone()))
        })
        .await
}
