//! Decides which calls are traced, and passes a trace on from one process to the next (W3C `traceparent`).
//!
//! The decision is made once, before any span is made. A call that is not traced has no spans at all.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::Map;
use holdfast_shard::TRACE_TARGET;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::metadata::{MetadataKey, MetadataMap};
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::config::TelemetrySection;

const TRACEPARENT: &str = "traceparent";

/// The rule for which calls of one port are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// Whether any calls are traced. If not, the wishes of callers do not count.
    enabled: bool,
    /// The share of traced calls, of a thousand calls without a `traceparent`.
    per_mille: u32,
}

impl Sampling {
    /// Returns the rule of the client port: traces the calls that their callers trace, and a share of those
    /// without a `traceparent`.
    pub(crate) fn of_clients(config: &TelemetrySection) -> Self {
        Self {
            enabled: config.otlp_endpoint.is_some(),
            per_mille: config.trace_per_mille,
        }
    }

    /// Returns the rule of the peer port: traces only the calls that their callers trace.
    pub(crate) fn of_peers(config: &TelemetrySection) -> Self {
        Self {
            per_mille: 0,
            ..Self::of_clients(config)
        }
    }

    /// Returns the span of a call, or an empty span when it is not traced.
    fn begin<B>(self, request: &Request<B>) -> Span {
        if !self.enabled {
            return Span::none();
        }
        let parent = request.headers().get(TRACEPARENT);
        let traced = match parent {
            Some(parent) => says_sampled(parent.as_bytes()),
            None => self.per_mille > 0 && rand::random_range(0..1_000) < self.per_mille,
        };
        if !traced {
            return Span::none();
        }
        let path = request.uri().path().trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or((path, ""));
        let span = info_span!(
            target: TRACE_TARGET,
            parent: None,
            "call",
            otel.name = path,
            otel.kind = "server",
            otel.status_code = field::Empty,
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = field::Empty,
            holdfast.operation_id = field::Empty,
        );
        if parent.is_some() {
            let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
            // This fails only when nothing records spans, and then there is no trace to continue.
            let _ = span.set_parent(parent);
        }
        span
    }
}

/// Returns whether a `traceparent` (`version-trace-parent-flags`) says that its caller is traced.
fn says_sampled(traceparent: &[u8]) -> bool {
    let flags = traceparent.get(54).copied().map(char::from);
    let flags = flags.and_then(|digit| digit.to_digit(16));
    flags.is_some_and(|flags| flags & 1 == 1)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}

struct Outgoing<'a>(&'a mut MetadataMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

/// Returns whether a span is one of a traced call.
fn is_traced(span: &Span) -> bool {
    let target = span.metadata().map(|metadata| metadata.target());
    target == Some(TRACE_TARGET)
}

/// Adds the trace of the current call to an outgoing message, so that the receiver continues the trace. Does
/// nothing when the call is not traced.
pub(crate) fn pass_on(metadata: &mut MetadataMap) {
    let span = Span::current();
    if is_traced(&span) {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(metadata));
    }
}

/// Records the operation id of the current call, if the call is traced.
pub(crate) fn operation(operation_id: &[u8]) {
    let span = Span::current();
    if is_traced(&span)
        && let Ok(id) = uuid::Uuid::from_slice(operation_id)
    {
        span.record("holdfast.operation_id", field::display(id));
    }
}

/// The layer that puts each traced call into a span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceCalls(pub(crate) Sampling);

impl<S> Layer<S> for TraceCalls {
    type Service = TracedCalls<S>;

    fn layer(&self, inner: S) -> TracedCalls<S> {
        TracedCalls {
            inner,
            sampling: self.0,
        }
    }
}

/// A service whose calls pass through [`TraceCalls`].
#[derive(Debug, Clone)]
pub(crate) struct TracedCalls<S> {
    inner: S,
    sampling: Sampling,
}

type Answered<B, E> = Result<Response<B>, E>;
/// The future of a call. It is a named type, so that a call needs no allocation for its future.
type Noting<F, B, E> = Instrumented<Map<F, Note<B, E>>>;
type Note<B, E> = fn(Answered<B, E>) -> Answered<B, E>;

impl<S, A, B> Service<Request<A>> for TracedCalls<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Noting<S::Future, B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let span = self.sampling.begin(&request);
        let answer = span.in_scope(|| self.inner.call(request));
        let note: Note<B, S::Error> = note_status;
        answer.map(note).instrument(span)
    }
}

/// Records the status of an answer. A refusal has its code in the headers. For a stream, the headers say only
/// whether it began.
fn note_status<B, E>(answer: Answered<B, E>) -> Answered<B, E> {
    let span = Span::current();
    if is_traced(&span)
        && let Ok(response) = &answer
    {
        let code = response.headers().get("grpc-status");
        let code = code.and_then(|code| code.to_str().ok()?.parse::<i64>().ok());
        let code = code.unwrap_or(0);
        span.record("rpc.grpc.status_code", code);
        // A caller's mistake is not an error of the server.
        if is_own_failure(tonic::Code::from(i32::try_from(code).unwrap_or(2))) {
            span.record("otel.status_code", "error");
        }
    }
    answer
}

/// Returns whether a code is an error of the server, by OpenTelemetry's conventions for gRPC servers.
fn is_own_failure(code: tonic::Code) -> bool {
    use tonic::Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(
        code,
        Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_caller_that_is_traced_itself_is_followed() {
        let with_flags =
            |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        for (flags, sampled) in [
            ("01", true),
            ("03", true),
            ("ff", true),
            ("00", false),
            ("02", false),
        ] {
            assert_eq!(says_sampled(with_flags(flags).as_bytes()), sampled, "{flags}");
        }
        for malformed in ["", "00-1", "x", &with_flags("0"), &with_flags("0g")] {
            assert!(!says_sampled(malformed.as_bytes()), "{malformed}");
        }
    }

    #[test]
    fn without_an_endpoint_nothing_is_traced_and_peers_never_begin_a_trace() {
        let all = TelemetrySection {
            trace_per_mille: 1_000,
            ..TelemetrySection::default()
        };
        assert!(!Sampling::of_clients(&all).enabled);
        let on = TelemetrySection {
            otlp_endpoint: Some("http://127.0.0.1:4317".to_owned()),
            ..all
        };
        assert_eq!(Sampling::of_clients(&on).per_mille, 1_000);
        let peers = Sampling::of_peers(&on);
        assert_eq!((peers.enabled, peers.per_mille), (true, 0));
    }
}
