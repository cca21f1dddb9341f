//! The gRPC servers: one for clients, one for operators, one for the other nodes.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::peer::peer_server::PeerServer;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::intake::{Intake, Shapes};
use crate::peers::{MAX_PEER_MESSAGE_BYTES, PeerService};
use crate::security::incoming::{Connection, Gate, incoming};
use crate::start_error::StartError;
use crate::tasks::Tasks;
use crate::trace::{Sampling, TraceCalls};
use crate::undecodable::TellUndecodable;
use crate::{NodeConfig, services};

/// The interval at which readiness is checked and reported to the health service.
const READINESS_INTERVAL: Duration = Duration::from_millis(50);

/// A server that runs until its node stops.
pub(crate) type ServerTask = JoinHandle<Result<(), tonic::transport::Error>>;

/// The maximum size of the headers of one call, in bytes.
pub(crate) const MAX_HEADER_BYTES: u32 = 16 << 10;

/// The bytes that a caller may send in one call before any are read; `CONNECTION_WINDOW_BYTES` is the limit
/// for one connection. Each connection may take so much memory.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 << 10;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// The maximum number of calls of one connection that their caller gave up before the node saw them. With one
/// more, the connection is closed. If all calls of a caller pass their deadline while the node is paused, at
/// most `limits.connection_calls` of them are pending each time that the caller sends them.
pub(crate) const MAX_PENDING_RESETS: usize = 4_096;
/// The maximum number of frames of one connection for calls that the node has ended and forgotten. With one
/// more, the connection is closed.
pub(crate) const MAX_LATE_FRAMES: usize = 16_384;

fn guarded(
    listener: TcpListener,
    gate: Gate,
    tasks: &Tasks,
) -> Result<ReceiverStream<std::io::Result<Connection>>, StartError> {
    let server = gate.port.as_str();
    incoming(listener, gate, tasks).map_err(|error| StartError::Server {
        server,
        message: error.to_string(),
    })
}

pub(crate) fn serve_peers(
    listener: TcpListener,
    gate: Gate,
    service: PeerService,
    tasks: &Tasks,
    stopping: &CancellationToken,
    sampling: Sampling,
) -> Result<(), StartError> {
    let incoming = guarded(listener, gate, tasks)?;
    let service = PeerServer::new(service)
        .max_decoding_message_size(MAX_PEER_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_PEER_MESSAGE_BYTES);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(32 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .layer(TraceCalls(sampling))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned());
    tasks.spawn("peer server", async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the peer server ended");
        }
    });
    Ok(())
}

pub(crate) fn serve_clients(
    listener: TcpListener,
    gate: Gate,
    config: &NodeConfig,
    api: &Arc<Api>,
    intake: Intake,
    stopping: &CancellationToken,
) -> Result<ServerTask, StartError> {
    let incoming = guarded(listener, gate, &api.tasks)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    report_health(api, reporter, stopping.clone());
    let mut others = tonic::service::Routes::builder();
    others.add_service(health);
    let server = limited(config)
        .layer(TraceCalls(Sampling::of_clients(&config.telemetry)))
        .layer(intake)
        .layer(TellUndecodable)
        .add_routes(services::routes(Arc::clone(api), others))
        .serve_with_incoming_shutdown(incoming, api.stopping.clone().cancelled_owned());
    Ok(tokio::spawn(server))
}

pub(crate) fn serve_admin(
    listener: TcpListener,
    gate: Gate,
    config: &NodeConfig,
    api: &Arc<Api>,
    intake: Intake,
) -> Result<ServerTask, StartError> {
    let incoming = guarded(listener, gate, &api.tasks)?;
    let routes = services::admin_routes(Arc::clone(api), config.security.reflection);
    let routes = routes.map_err(|error| StartError::Server {
        server: "admin",
        message: error.to_string(),
    })?;
    let server = limited(config)
        .layer(intake)
        .layer(TellUndecodable)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, api.stopping.clone().cancelled_owned());
    Ok(tokio::spawn(server))
}

/// Returns a server with the limits of the configuration.
fn limited(config: &NodeConfig) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(config.limits.connection_calls)
        .max_concurrent_streams(u32::try_from(config.limits.connection_calls).unwrap_or(u32::MAX))
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_LATE_FRAMES))
}

/// Returns the layer that bounds the callers of the servers for clients and for operators.
pub(crate) fn intake(api: &Arc<Api>) -> Result<Intake, StartError> {
    let shapes = Shapes::of_the_contract().map_err(|error| StartError::Server {
        server: "client",
        message: error.to_string(),
    })?;
    Ok(Intake {
        api: Arc::clone(api),
        shapes: Arc::new(shapes),
    })
}

/// Keeps the gRPC health service up to date with [`Api::not_ready_because`].
fn report_health(
    api: &Arc<Api>,
    reporter: tonic_health::server::HealthReporter,
    stopping: CancellationToken,
) {
    let task_api = Arc::clone(api);
    api.tasks.spawn("readiness", async move {
        let mut told: Option<Option<String>> = None;
        loop {
            let why = task_api.not_ready_because();
            if told.as_ref() != Some(&why) {
                let status = match &why {
                    None => tonic_health::ServingStatus::Serving,
                    Some(_) => tonic_health::ServingStatus::NotServing,
                };
                for service in services::names().into_iter().chain([""]) {
                    reporter.set_service_status(service, status).await;
                }
                match &why {
                    None => tracing::info!("ready"),
                    Some(why) => tracing::info!(why, "not ready"),
                }
                told = Some(why);
            }
            tokio::select! {
                () = tokio::time::sleep(READINESS_INTERVAL) => {}
                () = stopping.cancelled() => return,
            }
        }
    });
}
