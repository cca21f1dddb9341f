//! As-of reads. They read a long history, so one attempt gets the whole time of the call.

use holdfast_api::v1;
use holdfast_api::v1::history_client::HistoryClient;
use tonic::Request;

use crate::ClientError;
use crate::attempts::Kind;
use crate::client::{Client, MAX_ANSWER_BYTES};
use crate::routes::Route;

impl Client {
    /// Returns the cells of one SKU as they were at a position or a time. The node adds up all changes of the
    /// SKU's shard until then. If the history is long, give the call a longer deadline
    /// ([`Client::with_deadline`]).
    ///
    /// # Errors
    /// [`ClientError`]. The call is refused when the moment lies in the future, or before the first change
    /// that a node still has.
    pub async fn get_stock_as_of(
        &self,
        request: v1::GetStockAsOfRequest,
    ) -> Result<v1::GetStockAsOfResponse, ClientError> {
        let send = |channel, request: Request<v1::GetStockAsOfRequest>| async move {
            let mut client = HistoryClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            client.get_stock_as_of(request).await
        };
        self.with_one_attempt()
            .call(Kind::Read, |_| Route::Any, request, send)
            .await
    }

    /// Returns one reservation as it was at a position or a time, one part for each shard that had lines of
    /// it. It costs as much as [`Client::get_stock_as_of`], in every shard when its key names none.
    ///
    /// # Errors
    /// [`ClientError`]. The call is refused when the moment lies in the future, or when there was no such
    /// reservation by then.
    pub async fn get_reservation_as_of(
        &self,
        request: v1::GetReservationAsOfRequest,
    ) -> Result<v1::GetReservationAsOfResponse, ClientError> {
        let send = |channel, request: Request<v1::GetReservationAsOfRequest>| async move {
            let mut client = HistoryClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            client.get_reservation_as_of(request).await
        };
        self.with_one_attempt()
            .call(Kind::Read, |_| Route::Any, request, send)
            .await
    }
}
