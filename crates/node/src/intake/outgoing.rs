//! Streams of answers. If a caller does not read, its stream ends, and the caller learns the reason when it
//! reads again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use holdfast_api::reasons;
use holdfast_api::v1::Reason;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::api::Api;

/// The reason why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    /// The caller has ended its call, or the stream has ended.
    #[error("the caller has ended its call")]
    Gone,
    /// The caller does not read.
    #[error("the caller reads nothing")]
    Unread,
}

/// The sending end of a stream, for the service. Cheap to clone.
pub(crate) struct Outgoing<T> {
    queue: mpsc::Sender<T>,
    last: Arc<Mutex<Option<Status>>>,
    patience: Duration,
}

impl<T> Clone for Outgoing<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            last: Arc::clone(&self.last),
            patience: self.patience,
        }
    }
}

/// The receiving end of a stream, for the gRPC library.
pub(crate) struct Delivered<T> {
    queue: mpsc::Receiver<T>,
    last: Arc<Mutex<Option<Status>>>,
    /// A value that is kept until the caller has read the stream, or has gone away.
    _kept: Box<dyn Send>,
}

/// Returns the two ends of a stream. At most `messages` messages wait in it, and a sender waits for room for
/// at most `patience`. `kept` is dropped when the caller has read the stream, or has gone away.
pub(crate) fn stream<T>(
    messages: usize,
    patience: Duration,
    kept: impl Send + 'static,
) -> (Outgoing<T>, Delivered<T>) {
    let (queue, waiting) = mpsc::channel(messages);
    let last = Arc::default();
    let delivered = Delivered {
        queue: waiting,
        last: Arc::clone(&last),
        _kept: Box::new(kept),
    };
    (
        Outgoing {
            queue,
            last,
            patience,
        },
        delivered,
    )
}

impl<T> Outgoing<T> {
    /// Queues a message when there is room.
    ///
    /// # Errors
    /// [`Undelivered`] when there is no room for too long, or when the caller has gone away.
    pub(crate) async fn send(&self, message: T) -> Result<(), Undelivered> {
        match tokio::time::timeout(self.patience, self.queue.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Undelivered::Gone),
            Err(_) => Err(Undelivered::Unread),
        }
    }

    /// Sets the status that follows the queued messages, once all clones are dropped. The first status set
    /// counts.
    pub(crate) fn end(&self, status: Status) {
        self.last.lock().get_or_insert(status);
    }

    /// Returns when the caller has gone away.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Ends the stream of a caller that does not read. `reason` is `OUTCOME_UNKNOWN` when an unread answer
    /// may belong to a request that took effect.
    pub(crate) fn end_unread(&self, api: &Api, method: &str, reason: Reason) {
        let message = format!(
            "nothing of this stream was read for {} ms: continue after the last message that you read, and read faster",
            self.patience.as_millis()
        );
        api.metrics.intake_refused("unread");
        self.end(api.refused(method, reasons::refusal(reason, message)));
    }
}

impl<T> Stream for Delivered<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.queue.poll_recv(context));
        Poll::Ready(match next {
            Some(message) => Some(Ok(message)),
            None => self.last.lock().take().map(Err),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_ends_and_says_so_after_what_waits() {
        let kept = Arc::new(());
        let (outgoing, mut delivered) = stream(1, PATIENCE, Arc::clone(&kept));
        outgoing.send(1).await.unwrap();
        assert_eq!(outgoing.send(2).await, Err(Undelivered::Unread));
        outgoing.end(Status::resource_exhausted("read faster"));
        drop(outgoing);
        assert_eq!(delivered.next().await.unwrap().unwrap(), 1);
        let told = delivered.next().await.unwrap().unwrap_err();
        assert_eq!(told.message(), "read faster");
        assert!(delivered.next().await.is_none());
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(delivered);
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_served_and_one_that_left_is_noticed() {
        let (outgoing, mut delivered) = stream(1, PATIENCE, ());
        let reading = tokio::spawn(async move {
            for number in 0..10 {
                tokio::time::sleep(PATIENCE / 2).await;
                assert_eq!(delivered.next().await.unwrap().unwrap(), number);
            }
        });
        for number in 0..10 {
            outgoing.send(number).await.unwrap();
        }
        reading.await.unwrap();
        assert_eq!(outgoing.send(10).await, Err(Undelivered::Gone));
    }
}
