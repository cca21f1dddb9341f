//! Which calls are traced, and how a trace goes on from one process to the next (W3C `traceparent`).
//!
//! Whether a call is traced is decided here, once, before any span is made: a call that is not traced has none at all.

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

/// Which of the calls that come in on one port are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// False: none, whatever their callers say.
    enabled: bool,
    /// Of a thousand calls whose callers say nothing, so many.
    per_mille: u32,
}

impl Sampling {
    /// Of the client port: those that their callers trace, and a share of the others.
    pub(crate) fn of_clients(config: &TelemetrySection) -> Self {
        Self {
            enabled: config.otlp_endpoint.is_some(),
            per_mille: config.trace_per_mille,
        }
    }

    /// Of the peer port: those that their callers trace.
    pub(crate) fn of_peers(config: &TelemetrySection) -> Self {
        Self {
            per_mille: 0,
            ..Self::of_clients(config)
        }
    }

    /// The span of a call, or none when it is not traced.
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
            // It fails only where nothing takes spans, and then there is nothing to continue.
            let _ = span.set_parent(parent);
        }
        span
    }
}

/// Does this `traceparent` (`version-trace-parent-flags`) say that its caller is traced?
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

/// Is the current call traced?
fn is_traced(span: &Span) -> bool {
    let target = span.metadata().map(|metadata| metadata.target());
    target == Some(TRACE_TARGET)
}

/// Has the trace of the current call, if it has one, go on where this message is sent to.
pub(crate) fn pass_on(metadata: &mut MetadataMap) {
    let span = Span::current();
    if is_traced(&span) {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(metadata));
    }
}

/// Notes the operation of the current call, if that is traced.
pub(crate) fn operation(operation_id: &[u8]) {
    let span = Span::current();
    if is_traced(&span)
        && let Ok(id) = uuid::Uuid::from_slice(operation_id)
    {
        span.record("holdfast.operation_id", field::display(id));
    }
}

/// Puts each call that is traced into a span.
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

/// See [`TraceCalls`].
#[derive(Debug, Clone)]
pub(crate) struct TracedCalls<S> {
    inner: S,
    sampling: Sampling,
}

type Answered<B, E> = Result<Response<B>, E>;
/// Named, so that a call needs no memory of its own for its future.
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

/// A refusal has its code in the headers. Of a stream this is only whether it began.
fn note_status<B, E>(answer: Answered<B, E>) -> Answered<B, E> {
    let span = Span::current();
    if is_traced(&span)
        && let Ok(response) = &answer
    {
        let code = response.headers().get("grpc-status");
        let code = code.and_then(|code| code.to_str().ok()?.parse::<i64>().ok());
        let code = code.unwrap_or(0);
        span.record("rpc.grpc.status_code", code);
        // What the caller did wrong is no error of the server's: only these are.
        if is_own_failure(tonic::Code::from(i32::try_from(code).unwrap_or(2))) {
            span.record("otel.status_code", "error");
        }
    }
    answer
}

/// As OpenTelemetry's conventions for gRPC servers have it.
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
