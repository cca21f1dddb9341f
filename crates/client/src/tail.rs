//! Streams of answers: the change stream, which goes on after a failure, and the listing of all stock.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use holdfast_api::v1;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::stock_client::StockClient;
use tokio::time::Instant;
use tonic::{Request, Status, Streaming};

use crate::ClientError;
use crate::attempts::{Backoff, Untrusted, give_up};
use crate::client::{Client, MAX_ANSWER_BYTES};
use crate::error::{Attempt, Effect};
use crate::routes::Route;

impl Client {
    /// Streams the changes of a shard from `from_seq` on (0 and 1: from the beginning), in order. With
    /// `follow` it waits for new changes; without, it ends after the last one.
    ///
    /// When a node fails, the stream goes on at another node, after the last change delivered. So no change
    /// is missed or delivered twice. Entries are delivered whole: an entry that the node spreads over several
    /// messages is put together here. The stream ends with an error when no node could be reached for as long
    /// as the deadline.
    pub fn tail_changes(
        &self,
        shard: u32,
        from_seq: u64,
        follow: bool,
    ) -> impl Stream<Item = Result<v1::TailChangesResponse, ClientError>> + Send + 'static {
        self.tail_changes_matching(v1::TailChangesRequest {
            shard,
            from_seq,
            follow,
            ..Default::default()
        })
    }

    /// Streams changes like [`Client::tail_changes`], with the filters of the request. Filtered streams have
    /// gaps in their numbers.
    pub fn tail_changes_matching(
        &self,
        request: v1::TailChangesRequest,
    ) -> impl Stream<Item = Result<v1::TailChangesResponse, ClientError>> + Send + 'static {
        let client = self.clone();
        async_stream::stream! {
            let mut request = request;
            let mut patience = Patience::new(&client);
            loop {
                let address = patience.address(Route::Any).await;
                let attempt = match client.open_tail(&address, request.clone()).await {
                    Ok(mut answers) => loop {
                        match next_entries(&mut answers).await {
                            Some(Ok(answer)) => {
                                patience.refill();
                                request.from_seq = request.from_seq.max(answer.through_seq.saturating_add(1));
                                // If the address leads to another cluster one day, that cluster refuses the
                                // stream.
                                request.cluster_id = answer.cluster_id.clone();
                                yield Ok(answer);
                            }
                            Some(Err(status)) => break Attempt::from_status(&status, &address),
                            None if request.follow => break Attempt::Retry {
                                effect: Effect::None,
                                retry_after_ms: 0,
                                message: format!("{address} ended the stream"),
                            },
                            None => return,
                        }
                    },
                    Err(attempt) => attempt,
                };
                if let Err(error) = patience.pause(attempt, address).await {
                    yield Err(error);
                    return;
                }
            }
        }
    }

    async fn open_tail(
        &self,
        address: &str,
        request: v1::TailChangesRequest,
    ) -> Result<Streaming<v1::TailChangesResponse>, Attempt> {
        self.look_at_certificates();
        let channel = self.channels().to(address).map_err(Attempt::Final)?;
        let mut client = ChangesClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let opened = tokio::time::timeout(
            self.options().attempt_timeout,
            client.tail_changes(Request::new(request)),
        );
        match opened.await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Attempt::from_status(&status, address)),
            Err(_) => Err(Attempt::timed_out(address)),
        }
    }

    /// Streams every cell of one shard or of all shards. It is retried only while nothing has come yet. A
    /// later failure ends it with an error, because the rest would be at another position of the shard.
    pub fn list_stock(
        &self,
        request: v1::ListStockRequest,
    ) -> impl Stream<Item = Result<v1::ListStockResponse, ClientError>> + Send + 'static {
        let client = self.clone();
        async_stream::stream! {
            let route = request.shard.map_or(Route::Any, Route::Shard);
            let mut patience = Patience::new(&client);
            loop {
                let address = patience.address(route).await;
                let mut begun = false;
                let attempt = match client.open_list(&address, request).await {
                    Ok(mut answers) => loop {
                        match answers.next().await {
                            Some(Ok(answer)) => {
                                begun = true;
                                yield Ok(answer);
                            }
                            Some(Err(status)) => break Attempt::from_status(&status, &address),
                            None => return,
                        }
                    },
                    Err(attempt) => attempt,
                };
                if begun {
                    yield Err(broken_off(attempt));
                    return;
                }
                if let Err(error) = patience.pause(attempt, address).await {
                    yield Err(error);
                    return;
                }
            }
        }
    }

    async fn open_list(
        &self,
        address: &str,
        request: v1::ListStockRequest,
    ) -> Result<Streaming<v1::ListStockResponse>, Attempt> {
        self.look_at_certificates();
        let channel = self.channels().to(address).map_err(Attempt::Final)?;
        let mut client = StockClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let opened = tokio::time::timeout(
            self.options().attempt_timeout,
            client.list_stock(Request::new(request)),
        );
        match opened.await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Attempt::from_status(&status, address)),
            Err(_) => Err(Attempt::timed_out(address)),
        }
    }
}

/// Returns the next message of whole entries. An entry that is spread over several messages is put together.
/// Returns None when the stream has ended.
async fn next_entries(
    answers: &mut Streaming<v1::TailChangesResponse>,
) -> Option<Result<v1::TailChangesResponse, Status>> {
    let mut begun = Vec::new();
    while let Some(next) = answers.next().await {
        match next {
            Ok(mut answer) => {
                begun.append(&mut answer.changes);
                if !answer.continues {
                    answer.changes = begun;
                    return Some(Ok(answer));
                }
            }
            Err(status) => return Some(Err(status)),
        }
    }
    (!begun.is_empty()).then(|| Err(Status::unavailable("the stream ended in the middle of an entry")))
}

fn broken_off(attempt: Attempt) -> ClientError {
    match attempt {
        Attempt::Final(error) => error,
        Attempt::Untrusted { message } | Attempt::Retry { message, .. } => ClientError::Unavailable {
            message: format!("the listing broke off: {message}"),
        },
    }
}

/// The limit on how long a stream tries without an answer.
struct Patience<'a> {
    client: &'a Client,
    until: Instant,
    backoff: Backoff,
    failed: Option<String>,
    untrusted: Untrusted,
}

impl<'a> Patience<'a> {
    fn new(client: &'a Client) -> Self {
        let options = client.options();
        Self {
            client,
            until: Instant::now() + options.deadline,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            failed: None,
            untrusted: Untrusted::default(),
        }
    }

    fn refill(&mut self) {
        *self = Self::new(self.client);
    }

    async fn address(&self, route: Route<'_>) -> String {
        self.client.ask_topology_if_needed(self.until).await;
        self.client.choose(route, self.failed.as_deref())
    }

    async fn pause(&mut self, attempt: Attempt, address: String) -> Result<(), ClientError> {
        if let Some(error) = self
            .untrusted
            .note(|| self.client.known_nodes(), &address, &attempt)
        {
            return Err(error);
        }
        let (retry_after_ms, message) = match attempt {
            Attempt::Final(error) => return Err(error),
            Attempt::Untrusted { message } => (0, message),
            Attempt::Retry {
                retry_after_ms,
                message,
                ..
            } => (retry_after_ms, message),
        };
        // A stream that was quiet for long and has just broken gets its full patience from this moment on.
        if self.failed.is_none() {
            self.until = Instant::now() + self.client.options().deadline;
        }
        tracing::debug!(%address, %message, "a stream broke, so it goes on at another node");
        self.client.routes().doubt();
        self.failed = Some(address);
        let pause = self.backoff.next(Duration::from_millis(retry_after_ms));
        if Instant::now() + pause >= self.until {
            return Err(give_up(Effect::None, message));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
