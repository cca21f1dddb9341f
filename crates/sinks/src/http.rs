//! `/metrics`, `/livez` and `/readyz` of a runner.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::status::{Board, State};

/// The connections that are served at a time.
const CONNECTIONS: usize = 64;
/// The time in which a connection must send a request, and the time that it may be idle between two requests.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until `stopping` is cancelled, on a thread of its own. Returns the address that it listens on.
///
/// # Errors
/// The address or the thread cannot be used.
pub fn serve(listen: SocketAddr, board: Board, stopping: CancellationToken) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(web::Data::new(board.clone()))
                        .route("/metrics", web::get().to(print))
                        .route("/livez", web::get().to(livez))
                        .route("/readyz", web::get().to(readyz))
                })
                .workers(1)
                .max_connections(CONNECTIONS)
                .client_request_timeout(REQUEST_PATIENCE)
                .keep_alive(REQUEST_PATIENCE)
                .disable_signals()
                .shutdown_timeout(1)
                .listen(listener);
                let server = match server {
                    Ok(server) => server.run(),
                    Err(error) => {
                        tracing::error!(%error, "the metrics cannot be served");
                        return;
                    }
                };
                let handle = server.handle();
                actix_web::rt::spawn(async move {
                    stopping.cancelled().await;
                    handle.stop(true).await;
                });
                if let Err(error) = server.await {
                    tracing::error!(%error, "the http server ended");
                }
            });
        })?;
    Ok(address)
}

async fn print(board: web::Data<Board>) -> HttpResponse {
    match metrics::print(&board) {
        Ok(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("alive\n")
}

/// A runner is ready when it does its work for at least one sink, or stands by for another runner. Its
/// targets have alerts of their own: to start it again would not help them.
async fn readyz(board: web::Data<Board>) -> HttpResponse {
    let all = board.all();
    let works = |state| matches!(state, State::Delivering | State::Standby);
    if all.iter().any(|report| works(report.status.state)) {
        return HttpResponse::Ok().content_type("text/plain").body("ready\n");
    }
    let lines: String = all
        .iter()
        .map(|report| {
            let error = report.status.error.as_deref().unwrap_or("it has just begun");
            format!("sink {} shard {}: {error}\n", report.sink, report.shard)
        })
        .collect();
    HttpResponse::ServiceUnavailable()
        .content_type("text/plain")
        .body(lines)
}
