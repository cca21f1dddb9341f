//! The intake: bounds how many bytes and fields of callers the node keeps, and for how long.
//!
//! ```text
//! HTTP/2 ──> Messages: whole messages only, counted ──> gRPC library: decodes ──> services
//!            │ a charge on node, caller, connection      (large ones on a thread of their own)
//! HTTP/2 <── Answers: small pieces, charged until they are sent <───────────────────┘
//! ```
//!
//! - [`budget`] has the limits of bytes: for all callers, for each caller, for each connection.
//! - [`session`] is one connection; it also decides whether the connection is of any use.
//! - [`call`] is one call with its charges; [`messages`] and [`answers`] are its two directions.
//! - [`decoding`] holds a large message back until there is a thread for it.
//! - [`pace`] limits how fast large messages are read.
//! - [`shapes`] and [`count`] measure a message before it is decoded.
//! - [`outgoing`] ends long streams that are not read.
//! - [`permits`] shares the permits for long streams among callers.

mod answers;
mod budget;
mod call;
mod count;
mod decoding;
mod messages;
pub(crate) mod outgoing;
mod pace;
mod permits;
mod session;
mod shapes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use holdfast_api::reasons;
use holdfast_api::v1::Reason;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

pub(crate) use budget::{Budget, CALLER_PART, CONNECTION_PART, Charge, Party};
pub(crate) use call::{CALL_BYTES, Call};
pub(crate) use messages::{FIELD_BYTES, HELD_FACTOR, LARGE_BYTES, LARGE_FIELDS};
pub(crate) use permits::{Permit, Permits};
pub(crate) use session::{Patience, Session, Useless};
pub(crate) use shapes::Shapes;

use answers::Answers;
use call::{Why, refused};
use messages::Messages;

use crate::api::Api;
use crate::security::Caller;

/// The layer that bounds what the callers of one port send.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) api: Arc<Api>,
    pub(crate) shapes: Arc<Shapes>,
}

impl<S> Layer<S> for Intake {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            intake: self.clone(),
        }
    }
}

/// A service whose calls pass through an [`Intake`].
#[derive(Clone)]
pub(crate) struct Bounded<S> {
    inner: S,
    intake: Intake,
}

type Answered<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answered<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone may not be ready. The call goes to the service that `poll_ready` asked.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(serve(self.intake.clone(), inner, request))
    }
}

async fn serve<S, B>(intake: Intake, mut inner: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut parts, body) = request.into_parts();
    let (call, mut messages) = match intake.begin(&parts.extensions, parts.uri.path(), &parts.headers, body) {
        Ok(begun) => begun,
        Err(status) => return Ok(status.into_http()),
    };
    parts.extensions.insert(Arc::clone(&call));
    // A stream may be answered before its first message, so it is not waited for.
    let is_large = match intake.shapes.method(parts.uri.path()).streams {
        true => false,
        false => match std::future::poll_fn(|context| messages.poll_first(context)).await {
            Ok(is_large) => is_large,
            Err(status) => return Ok(status.into_http()),
        },
    };
    let request = Request::from_parts(parts, Body::new(messages));
    let answer = if is_large {
        let large = Arc::clone(&intake.api.large_calls);
        let done = large.run(async move { inner.call(request).await.map(|answer| answer.map(Body::new)) });
        match done.await {
            Ok(answer) => answer?,
            Err(error) => {
                // Nobody knows how far the request came.
                let message = format!("a large request ended before it was complete: {error}");
                let refusal = reasons::refusal(Reason::OutcomeUnknown, message);
                return Ok(intake.api.refused(&call.path, refusal).into_http());
            }
        }
    } else {
        inner.call(request).await?.map(Body::new)
    };
    Ok(answer.map(|body| Body::new(Answers::new(body, call))))
}

impl Intake {
    fn begin(
        &self,
        extensions: &tonic::codegen::http::Extensions,
        path: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Arc<Call>, Messages), Status> {
        let session = extensions.get::<Caller>().map(|caller| &caller.session);
        let session = session.ok_or_else(|| {
            let message = "the node does not know who is at the other end of a connection";
            reasons::status(reasons::refusal(Reason::Internal, message))
        })?;
        let sent: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let exhausted = |limit| {
            let message = format!("{limit}: wait for the answers to earlier requests");
            refused(&self.api, path, Why::Exhausted(limit), message)
        };
        let call = Call::new(Arc::clone(session), Arc::clone(&self.api), path, sent).map_err(exhausted)?;
        let method = self.shapes.method(path);
        let patience = self.api.limits.receive.duration();
        let messages = Messages::new(
            body,
            Arc::clone(&call),
            Arc::clone(&self.shapes),
            method,
            patience,
        );
        Ok((call, messages.map_err(exhausted)?))
    }
}

/// Returns the call that a request belongs to.
pub(crate) fn call_of<T>(request: &tonic::Request<T>) -> Option<Arc<Call>> {
    request.extensions().get::<Arc<Call>>().cloned()
}
