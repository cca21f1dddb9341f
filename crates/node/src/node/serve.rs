//! The third step of a start: lets callers and other nodes in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_guard::Port;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::begun::Begun;
use super::join::Joined;
use super::open::no_thread;
use crate::api::{Api, CUT_OFF_TIMEOUTS};
use crate::directory;
use crate::intake::Permits;
use crate::metrics::{Metrics, Resources};
use crate::own_thread::OwnThread;
use crate::peers::PeerService;
use crate::router::Router;
use crate::servers::{intake, serve_admin, serve_clients, serve_peers};
use crate::start_error::StartError;
use crate::trace::Sampling;

/// Starts the servers, and the tasks that carry out what the servers take.
pub(super) async fn serve(joined: Joined, begun: &Begun) -> Result<Node, StartError> {
    let large_calls = Arc::new(OwnThread::start_behind("large calls").map_err(no_thread)?);
    // A child token, so that a start that fails later also ends what was started here.
    let stopping = begun.peers_stopping.child_token();
    let api = Arc::new(api_of(&joined, Arc::clone(&large_calls), stopping));
    let Joined {
        config,
        identity,
        listeners,
        security,
        log,
        space,
        membership,
        threads,
        tasks,
        fatal,
        heard_on,
        peers_thread,
        ..
    } = joined;
    let client_address = listeners.client_address()?;
    let admin_address = listeners.admin_address()?;
    let peer_address = listeners.peer_address()?;
    let http_address = listeners.http_address()?;
    tasks.spawn("space on the disk", space.clone().watch(api.stopping.clone()));
    if config.raft.spread_leaders {
        let spread = crate::leaders::spread(Arc::clone(&api));
        tasks.spawn_until(&api.stopping, "spread of leaders", spread);
    }
    let entered = heard_on.enter();
    serve_peers(
        listeners.peer,
        security.gate(Port::Peer),
        PeerService::new(
            identity,
            Arc::clone(&membership),
            space,
            large_calls,
            tasks.clone(),
            begun.peers_stopping.clone(),
        ),
        &tasks,
        &begun.peers_stopping,
        Sampling::of_peers(&config.telemetry),
    )?;
    drop(entered);
    // From here on other nodes can ask what this node knows.
    let (keeping, stopping) = (Arc::clone(&membership), begun.peers_stopping.clone());
    tasks.spawn_beside_replicas(threads, "replicas of this node", async move {
        tokio::select! {
            () = directory::keep_seats(keeping) => {}
            () = stopping.cancelled() => {}
        }
    });
    tasks.spawn_until(&api.stopping, "leaders of this node", directory::lead(membership));
    let intake = intake(&api)?;
    let client_server = serve_clients(
        listeners.client,
        security.gate(Port::Client),
        &config,
        &api,
        intake.clone(),
        &begun.peers_stopping,
    )?;
    let admin_server = serve_admin(listeners.admin, security.gate(Port::Admin), &config, &api, intake)?;
    let http_tls = security.tls.as_ref().filter(|_| config.tls.http);
    let http = crate::http::start(listeners.http, http_tls, Arc::clone(&api))
        .await
        .map_err(|error| StartError::Server {
            server: "http",
            message: error.to_string(),
        })?;
    tracing::info!(node_id = identity.node_id, %client_address, %admin_address, %peer_address, %http_address, "listening");
    Ok(Node {
        api,
        client_address,
        admin_address,
        peer_address,
        http_address,
        log,
        http,
        client_server,
        admin_server,
        fatal,
        reload: security.reload,
        peers_stopping: begun.peers_stopping.clone(),
        _peers_thread: peers_thread,
    })
}

/// Returns the state that all services share.
fn api_of(joined: &Joined, large_calls: Arc<OwnThread>, stopping: CancellationToken) -> Api {
    let config = &joined.config;
    let shards = joined.membership.shards();
    let resources = Resources {
        budget: joined.security.budget(),
        data_dir: config.node.data_dir.clone(),
        space: joined.space.clone(),
        log: joined.log.clone(),
        peers: joined.peers.clone(),
    };
    Api {
        identity: joined.identity,
        membership: Arc::clone(&joined.membership),
        limits: config.limits.clone(),
        router: Router::new(Arc::clone(shards)),
        orders: joined.orders.clone(),
        peers: joined.peers.clone(),
        space: joined.space.clone(),
        access: joined.security.access(),
        metrics: Metrics::new(
            joined.identity.node_id,
            Arc::clone(shards),
            resources,
            &joined.security.metrics,
        ),
        tasks: joined.tasks.clone(),
        started: Instant::now(),
        cut_off_after_ms: config.raft.election_timeout_max.as_millis() * CUT_OFF_TIMEOUTS,
        backups: Arc::new(Semaphore::new(1)),
        change_streams: Permits::new(
            "change streams, listings and as-of reads",
            config.limits.change_streams,
        ),
        batch_streams: Permits::new("batch streams", config.limits.batch_streams),
        large_calls,
        leaving: AtomicBool::new(false),
        stopping,
    }
}
