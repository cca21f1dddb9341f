//! The client of operators. It speaks to the admin ports of the nodes, which clients do not reach.

use std::time::Duration;

use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient as Service;
use tonic::Request;

use crate::call::Kind;
use crate::client::Client;
use crate::routes::{Route, Routes};
use crate::{ClientError, ClientOptions};

/// A connection to the admin ports of a cluster. Any node takes any call, so one address is enough; with several, the next is
/// tried when one does not answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminClient(Client);

impl AdminClient {
    /// A client for these admin ports. Connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Client::with_routes(options, Routes::fixed()).map(Self)
    }

    /// The same connections with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self(self.0.with_deadline(deadline))
    }

    /// Hands a shard's leadership over. Asking twice for the same node is asking once: the answer says who leads.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn transfer_leader(
        &self,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, ClientError> {
        self.0
            .call(
                Kind::Mutation,
                |_| Route::Any,
                request,
                |channel, request: Request<v1::TransferLeaderRequest>| async move {
                    Service::new(channel).transfer_leader(request).await
                },
            )
            .await
    }
}
