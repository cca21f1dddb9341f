//! The messages of a call, as they arrive. The gRPC library reserves memory for a whole message as soon as
//! the prefix of the message has arrived. This module takes memory only for bytes that have arrived, and
//! passes a message on when it is whole.

use holdfast_api::limits::{MAX_MESSAGE_BYTES, MAX_MESSAGE_FIELDS};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::budget::{Charge, Exhausted};
use super::call::{Call, Why, refused};
use super::count::Count;
use super::pace::TooFast;
use super::shapes::{Method, Shapes};

/// The number of bytes before each gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The bytes charged for each byte that has arrived. A buffer grows by doubling, and the library copies a
/// message before it decodes it.
pub(crate) const HELD_FACTOR: usize = 2;
/// The bytes charged for each field: for its decoded value, and for its copy in the ledger's own type.
pub(crate) const FIELD_BYTES: usize = 64;
/// The size in bytes above which a message is large; `LARGE_FIELDS` is the limit in fields. A large message
/// is decoded apart from the threads that all calls share.
pub(crate) const LARGE_BYTES: usize = 64 << 10;
pub(crate) const LARGE_FIELDS: usize = 4_096;

/// The messages of one call.
pub(super) struct Messages {
    inner: Body,
    call: Arc<Call>,
    shapes: Arc<Shapes>,
    method: Method,
    /// The time that a message may take from its first byte to its last. For a call with only one message,
    /// the time of the whole request.
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// The pause before the newest bytes are processed; None when there is no pause.
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether the message that is arriving has had to wait for the pace of large messages.
    was_paced: bool,
    /// The bytes of a message that is not whole yet, with its prefix. They are charged to `charge`.
    begun: BytesMut,
    charge: Charge,
    /// The count of that message's fields. None while its length is unknown, and for a compressed message.
    count: Option<Count>,
    /// The bytes that have arrived after that message.
    rest: Bytes,
    /// The pieces that go to the library next.
    whole: VecDeque<Bytes>,
    /// Whether the message in `whole` is large.
    is_large: bool,
    /// Whether bytes are passed on unchecked, because the library refuses the message that they belong to.
    passes: bool,
    trailers: Option<Frame<Bytes>>,
    has_ended: bool,
}

impl Messages {
    pub(super) fn new(
        inner: Body,
        call: Arc<Call>,
        shapes: Arc<Shapes>,
        method: Method,
        patience: Duration,
    ) -> Result<Self, Exhausted> {
        Ok(Self {
            charge: call.session.charge(0)?,
            inner,
            call,
            shapes,
            method,
            patience,
            timer: Box::pin(tokio::time::sleep(patience)),
            pause: None,
            was_paced: false,
            begun: BytesMut::new(),
            count: None,
            rest: Bytes::new(),
            whole: VecDeque::new(),
            is_large: false,
            passes: false,
            trailers: None,
            has_ended: false,
        })
    }

    /// Waits until the first message is whole, or the call has ended without one. Returns whether the message
    /// is large.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        while self.whole.is_empty() && !self.has_ended && self.trailers.is_none() {
            ready!(self.poll_more(cx))?;
        }
        Poll::Ready(Ok(self.is_large))
    }

    /// Reads more bytes until there is a piece to pass on, or the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        loop {
            ready!(self.poll_pause(cx))?;
            self.sort()?;
            if !self.whole.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => {
                    // Only a caller that streams messages may be silent between two of them.
                    if !self.method.streams || !self.begun.is_empty() {
                        ready!(self.timer.as_mut().poll(cx));
                        return Poll::Ready(Err(self.unfinished()));
                    }
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    // The library reports a message that is not whole.
                    self.flush();
                    self.has_ended = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => {
                        // All earlier bytes are sorted.
                        self.rest = data;
                        self.pace()?;
                    }
                    Err(frame) => {
                        self.flush();
                        self.trailers = Some(frame);
                        return Poll::Ready(Ok(()));
                    }
                },
            }
        }
    }

    /// Makes the newest bytes wait if they belong to a large message and large messages arrive too fast.
    fn pace(&mut self) -> Result<(), Status> {
        if self.passes {
            return Ok(());
        }
        let length = announced(&self.begun).or_else(|| announced(&self.rest));
        if !length.is_some_and(|length| (LARGE_BYTES + 1..=MAX_MESSAGE_BYTES).contains(&length)) {
            return Ok(());
        }
        if self.begun.is_empty() {
            // A stream may have been silent for long. The time of its next message begins here.
            self.begin();
        }
        let bytes = self.rest.len();
        let moment = self.call.session.pace(bytes).map_err(|TooFast| self.too_fast())?;
        if moment > Instant::now() {
            self.was_paced = true;
            self.pause = Some(Box::pin(tokio::time::sleep_until(moment)));
        }
        Ok(())
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                ready!(self.timer.as_mut().poll(cx));
                return Poll::Ready(Err(self.too_fast()));
            }
            self.pause = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the time of a message in a stream.
    fn begin(&mut self) {
        if self.method.streams {
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
    }

    fn flush(&mut self) {
        if !self.begun.is_empty() {
            self.whole.push_back(self.begun.split().freeze());
        }
    }

    /// Sorts the bytes that have arrived, until a message is whole.
    fn sort(&mut self) -> Result<(), Status> {
        while self.whole.is_empty() && !self.rest.is_empty() {
            if self.passes {
                self.whole.push_back(std::mem::take(&mut self.rest));
                return Ok(());
            }
            if self.begun.is_empty() {
                if let Some(length) = announced(&self.rest)
                    && length <= MAX_MESSAGE_BYTES
                    && self.rest.len() - PREFIX_BYTES >= length
                {
                    let message = self.rest.split_to(PREFIX_BYTES + length);
                    self.take(message)?;
                    continue;
                }
                self.begin();
            }
            let missing = match announced(&self.begun) {
                None => PREFIX_BYTES - self.begun.len(),
                Some(length) if length > MAX_MESSAGE_BYTES => {
                    // The library refuses the message because of its prefix.
                    self.passes = true;
                    self.flush();
                    return Ok(());
                }
                Some(length) => PREFIX_BYTES + length - self.begun.len(),
            };
            let part = self.rest.split_to(missing.min(self.rest.len()));
            let held = (self.begun.len() + part.len()) * HELD_FACTOR;
            self.charge.set(held).map_err(|limit| self.exhausted(limit))?;
            self.begun.extend_from_slice(&part);
            if announced(&self.begun).is_some_and(|length| self.begun.len() == PREFIX_BYTES + length) {
                let message = self.begun.split().freeze();
                self.take(message)?;
            } else {
                let begun = std::mem::take(&mut self.begun);
                let counted = self.count(&begun);
                self.begun = begun;
                counted?;
            }
        }
        Ok(())
    }

    /// Counts the fields of a message so far, and returns their number.
    fn count(&mut self, begun: &[u8]) -> Result<usize, Status> {
        // The library refuses every compressed message.
        let (Some(length), Some(0), Some(payload)) =
            (announced(begun), begun.first(), begun.get(PREFIX_BYTES..))
        else {
            return Ok(0);
        };
        let count = self
            .count
            .get_or_insert_with(|| Count::new(self.method.takes, length, MAX_MESSAGE_FIELDS));
        count.read(&self.shapes, payload).map_err(|error| {
            let message = format!("the request cannot be read: {error}");
            refused(&self.call.api, &self.call.path, Why::Uncounted, message)
        })
    }

    /// Counts and charges a message that is whole, and passes it on.
    fn take(&mut self, mut message: Bytes) -> Result<(), Status> {
        let fields = self.count(&message)?;
        self.count = None;
        self.was_paced = false;
        let bytes = message.len() * HELD_FACTOR + fields * FIELD_BYTES;
        self.charge.set(bytes).map_err(|limit| self.exhausted(limit))?;
        self.call.pass(self.charge.split_off());
        self.is_large = message.len() > LARGE_BYTES || fields > LARGE_FIELDS;
        if message.len() > LARGE_BYTES {
            // The prefix goes first. So the library reserves the room for the rest before it gets the rest,
            // and only once.
            self.whole.push_back(message.split_to(PREFIX_BYTES));
        }
        self.whole.push_back(message);
        Ok(())
    }

    fn exhausted(&self, limit: Exhausted) -> Status {
        let message = format!("{limit}: wait for the answers to earlier requests");
        refused(&self.call.api, &self.call.path, Why::Exhausted(limit), message)
    }

    fn too_fast(&self) -> Status {
        let message = "large messages come faster than limits.large_messages_per_second allows: wait, and send smaller ones";
        refused(&self.call.api, &self.call.path, Why::TooFast, message.to_owned())
    }

    fn unfinished(&self) -> Status {
        if self.was_paced {
            return self.too_fast();
        }
        let message = format!(
            "the request did not arrive completely within {} ms",
            self.patience.as_millis()
        );
        refused(&self.call.api, &self.call.path, Why::Unfinished, message)
    }
}

/// Returns the length that the prefix announces, or None when the prefix has not arrived.
fn announced(bytes: &[u8]) -> Option<usize> {
    let mut length = bytes.get(1..PREFIX_BYTES)?;
    usize::try_from(length.get_u32()).ok()
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if !this.whole.is_empty() {
                if this.is_large && !this.call.decoding.may_decode(cx) {
                    return Poll::Pending;
                }
                this.is_large = false;
                if let Some(bytes) = this.whole.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            if this.has_ended {
                return Poll::Ready(None);
            }
            if let Err(status) = ready!(this.poll_more(cx)) {
                this.has_ended = true;
                return Poll::Ready(Some(Err(status)));
            }
        }
    }
}
