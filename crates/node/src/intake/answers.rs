//! The answers of a call, sent in small pieces. An answer that the caller does not read stays in this
//! process, where it is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::budget::Charge;
use super::call::{Call, Why, refused};
use super::session::Waiting;

/// The bytes that the HTTP/2 library gets at a time. It asks for more when the caller has read enough.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

/// An answer in memory, kept until its last piece is sent.
struct Unsent {
    data: Bytes,
    call: Arc<Call>,
    _charge: Charge,
    _waiting: Waiting,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.call.session.read();
    }
}

/// The answers of one call.
pub(super) struct Answers {
    inner: Body,
    call: Arc<Call>,
    /// The part of the current answer that the library has not taken yet.
    rest: Bytes,
    has_ended: bool,
}

impl Answers {
    pub(super) fn new<B>(inner: B, call: Arc<Call>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self {
            inner: Body::new(inner),
            call,
            rest: Bytes::new(),
            has_ended: false,
        }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(PIECE_BYTES.min(self.rest.len())))
    }
}

impl http_body::Body for Answers {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        if !this.rest.is_empty() {
            // The library asks again when the caller has taken the previous piece.
            this.call.session.read();
            return Poll::Ready(Some(Ok(this.next_piece())));
        }
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        match this.call.session.charge(data.len()) {
            Ok(charge) => {
                this.rest = Bytes::from_owner(Unsent {
                    data,
                    call: Arc::clone(&this.call),
                    _charge: charge,
                    _waiting: this.call.session.waits(),
                });
                Poll::Ready(Some(Ok(this.next_piece())))
            }
            Err(limit) => {
                this.has_ended = true;
                let message = format!("{limit}: read the answers that wait");
                let status = refused(&this.call.api, &this.call.path, Why::Unanswered(limit), message);
                let mut trailers = HeaderMap::new();
                // The text is short and the details are base64, so they fit into headers.
                let _ = status.add_header(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.rest.is_empty() && http_body::Body::is_end_stream(&self.inner))
    }
}
