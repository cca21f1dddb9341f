//! Corrects the status of requests that cannot be decoded. Such a request is the caller's fault, so its
//! status must be `INVALID_ARGUMENT`. The gRPC library says `INTERNAL`.
//!
//! When a service itself refuses a request, the status details have a refusal. So an `INTERNAL` without one,
//! sent before any answer, was made by the library while it read the request.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::Map;
use holdfast_api::reasons;
use holdfast_api::v1::Refusal;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The header with the details of a status.
const DETAILS: &str = "grpc-status-details-bin";

/// The layer that reports a request that cannot be decoded as the caller's fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TellUndecodable;

impl<S> Layer<S> for TellUndecodable {
    type Service = ToldUndecodable<S>;

    fn layer(&self, inner: S) -> ToldUndecodable<S> {
        ToldUndecodable { inner }
    }
}

/// A service whose answers pass through [`TellUndecodable`].
#[derive(Debug, Clone)]
pub(crate) struct ToldUndecodable<S> {
    inner: S,
}

type Answered<B, E> = Result<Response<B>, E>;
type Judge<B, E> = fn(Answered<B, E>) -> Answered<B, E>;

impl<S, A, B> Service<Request<A>> for ToldUndecodable<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Map<S::Future, Judge<B, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let judge: Judge<B, S::Error> = judge;
        self.inner.call(request).map(judge)
    }
}

fn judge<B, E>(answer: Answered<B, E>) -> Answered<B, E> {
    let mut response = answer?;
    if let Some(told) = told(response.headers()) {
        // The text is short and the details are base64, so they fit into headers.
        let _ = told.add_header(response.headers_mut());
    }
    Ok(response)
}

/// Returns the status to send instead, when these headers say that a request was not decoded.
fn told(headers: &HeaderMap) -> Option<Status> {
    let is_internal = headers.get("grpc-status").is_some_and(|code| code == "13");
    if !is_internal || headers.contains_key(DETAILS) {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    Some(reasons::status(refusal(&status)))
}

/// Returns the refusal of a stream of requests that broke because a message could not be decoded. Returns
/// None when it broke for another reason.
pub(crate) fn of_stream(status: &Status) -> Option<Refusal> {
    let is_unread = status.code() == Code::Internal && status.details().is_empty();
    is_unread.then(|| refusal(status))
}

fn refusal(status: &Status) -> Refusal {
    Refusal {
        // Such a request takes effect on no node, whenever it arrives.
        settled: true,
        ..reasons::invalid(format!("the request cannot be read: {}", status.message()))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::v1::Reason;

    use super::*;

    fn headers_of(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers
    }

    #[test]
    fn an_internal_error_without_a_refusal_is_the_callers_and_one_with_a_refusal_is_ours() {
        let unread = Status::internal("failed to decode Protobuf message: invalid varint");
        let told = told(&headers_of(&unread)).unwrap();
        assert_eq!(told.code(), Code::InvalidArgument);
        let refusal = reasons::refusal_in(&told).unwrap();
        assert!(refusal.message.contains("invalid varint"), "{}", refusal.message);
        let ours = reasons::status(reasons::refusal(Reason::Internal, "a defect"));
        assert!(super::told(&headers_of(&ours)).is_none());
        assert!(super::told(&headers_of(&Status::unimplemented("no such method"))).is_none());
        assert!(super::told(&HeaderMap::new()).is_none());
    }
}
