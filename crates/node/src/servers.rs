//! The gRPC servers: one for clients, one for operators, one for the other nodes.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::peer::peer_server::PeerServer;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::directory::Membership;
use crate::peers::{Identity, MAX_PEER_MESSAGE_BYTES, PeerService};
use crate::security::incoming::{Connection, Gate, incoming};
use crate::tasks::Tasks;
use crate::trace::{Sampling, TraceCalls};
use crate::{NodeConfig, StartError, services};

/// How often readiness is looked at, to tell the health service.
const READINESS_INTERVAL: Duration = Duration::from_millis(50);

/// A server that runs until its node stops.
pub(crate) type ServerTask = JoinHandle<Result<(), tonic::transport::Error>>;

/// The largest headers of one call.
const MAX_HEADER_BYTES: u32 = 16 << 10;

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
    identity: Identity,
    membership: &Arc<Membership>,
    tasks: &Tasks,
    stopping: &CancellationToken,
    sampling: Sampling,
) -> Result<(), StartError> {
    let incoming = guarded(listener, gate, tasks)?;
    let service = PeerService::new(identity, Arc::clone(membership), tasks.clone(), stopping.clone());
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
    stopping: &CancellationToken,
) -> Result<ServerTask, StartError> {
    let incoming = guarded(listener, gate, &api.tasks)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    report_health(api, reporter, stopping.clone());
    let mut others = tonic::service::Routes::builder();
    others.add_service(health);
    let server = limited(config)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .layer(TraceCalls(Sampling::of_clients(&config.telemetry)))
        .add_routes(services::routes(Arc::clone(api), others))
        .serve_with_incoming_shutdown(incoming, api.stopping.clone().cancelled_owned());
    Ok(tokio::spawn(server))
}

pub(crate) fn serve_admin(
    listener: TcpListener,
    gate: Gate,
    config: &NodeConfig,
    api: &Arc<Api>,
) -> Result<ServerTask, StartError> {
    let incoming = guarded(listener, gate, &api.tasks)?;
    let routes = services::admin_routes(Arc::clone(api), config.security.reflection);
    let routes = routes.map_err(|error| StartError::Server {
        server: "admin",
        message: error.to_string(),
    })?;
    let server = limited(config)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, api.stopping.clone().cancelled_owned());
    Ok(tokio::spawn(server))
}

/// A server that lets nobody take more than the configuration says.
fn limited(config: &NodeConfig) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(config.limits.connection_calls)
        .max_concurrent_streams(u32::try_from(config.limits.connection_calls).unwrap_or(u32::MAX))
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
}

/// Keeps the gRPC health service saying what [`Api::not_ready_because`] says.
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
