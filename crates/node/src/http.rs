//! `/metrics`, `/livez` and `/readyz`. They have a thread of their own, so that a busy node still answers
//! them.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::oneshot;

use holdfast_guard::tls::Tls;

use crate::api::Api;
use crate::descriptors::HTTP_CONNECTIONS;
use crate::metrics::classic;

/// The time in which a connection must send a request, and the time that it may be idle between two requests.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// The running HTTP server.
pub(crate) struct HttpHandle {
    server: actix_web::dev::ServerHandle,
    thread: std::thread::JoinHandle<()>,
}

/// Serves on a bound listener until it is stopped. Uses TLS when it is configured.
///
/// # Errors
/// The listener or the thread cannot be used.
pub(crate) async fn start(
    listener: TcpListener,
    tls: Option<&Arc<Tls>>,
    api: Arc<Api>,
) -> std::io::Result<HttpHandle> {
    let tls = tls.map(Tls::accepting_http).transpose();
    let tls = tls.map_err(std::io::Error::other)?;
    let (started, starting) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(web::Data::from(Arc::clone(&api)))
                        .route("/metrics", web::get().to(metrics))
                        .route("/livez", web::get().to(livez))
                        .route("/readyz", web::get().to(readyz))
                })
                .workers(1)
                .max_connections(HTTP_CONNECTIONS)
                .client_request_timeout(REQUEST_PATIENCE)
                .keep_alive(REQUEST_PATIENCE)
                .disable_signals()
                .shutdown_timeout(1);
                let server = match tls {
                    Some(tls) => server.listen_rustls_0_23(listener, tls),
                    None => server.listen(listener),
                }
                .map(HttpServer::run);
                match server {
                    Ok(server) => {
                        // If the code that started this server has given up, nobody could stop the server, so
                        // it does not serve.
                        if started.send(Ok(server.handle())).is_ok()
                            && let Err(error) = server.await
                        {
                            tracing::error!(%error, "the http server ended");
                        }
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            });
        })?;
    let server = starting
        .await
        .map_err(|_| std::io::Error::other("the http thread ended"))??;
    Ok(HttpHandle { server, thread })
}

impl HttpHandle {
    /// Stops serving and waits for the thread.
    pub(crate) async fn stop(self) {
        self.server.stop(true).await;
        // A join blocks for a moment, so it runs outside this runtime's threads.
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("the http thread did not end cleanly");
        }
    }
}

async fn metrics(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let accept = request.headers().get(header::ACCEPT);
    let wants_classic = classic::is_wanted(accept.and_then(|accept| accept.to_str().ok()));
    match api.metrics.print(api.not_ready_because().is_none()) {
        Ok(text) if wants_classic => HttpResponse::Ok()
            .content_type(classic::CONTENT_TYPE)
            .body(classic::classic(&text)),
        Ok(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// Reports that the process answers. A node without a quorum is alive too, because a restart would not help
/// it.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("alive\n")
}

async fn readyz(api: web::Data<Api>) -> HttpResponse {
    match api.not_ready_because() {
        None => {
            let lines: String = std::iter::once("ready".to_owned())
                .chain(api.warnings())
                .map(|line| line + "\n")
                .collect();
            HttpResponse::Ok().content_type("text/plain").body(lines)
        }
        Some(why) => HttpResponse::ServiceUnavailable()
            .content_type("text/plain")
            .body(format!("{why}\n")),
    }
}
