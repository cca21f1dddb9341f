//! Converts public requests to commands of the ledger.

use holdfast_api::v1;
use v1::batch_item::Request;

use crate::validation::{self, Invalid};

pub use super::reserve::*;
pub use super::stock::*;
pub use super::taken::Taken;
pub use super::transfers::*;

/// Checks and converts one item of a batch.
///
/// # Errors
/// [`Invalid`] names the field and the rule.
pub fn batch_item(request: Option<Request>) -> Result<Taken, Invalid> {
    match validation::required("request", request)? {
        Request::Reserve(request) => reserve(request),
        Request::Extend(request) => extend(request),
        Request::Commit(request) => commit(request),
        Request::Release(request) => release(request),
        Request::Ship(request) => ship(request),
        Request::Cancel(request) => cancel(request),
        Request::ReturnGoods(request) => take_back(request),
        Request::Receive(request) => receive(request),
    }
}
