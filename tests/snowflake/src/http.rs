//! The addresses of the interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::faults::{Endpoint, Fault};
use crate::snowflake::{AnswerForm, Append, Refusal, Snowflake};

pub(crate) type Shared = Arc<Mutex<Snowflake>>;

/// The largest body that is read: far above every limit, to answer to it.
const BODY_MAX: usize = 64 << 20;

pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Snowflake> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    const PIPE: &str = "/v2/streaming/databases/{database}/schemas/{schema}/pipes/{pipe}";
    const ROWS: &str =
        "/v2/streaming/data/databases/{database}/schemas/{schema}/pipes/{pipe}/channels/{channel}/rows";
    config
        .route("/v2/streaming/hostname", web::get().to(hostname))
        .route("/oauth/token", web::post().to(token))
        .route(&format!("{PIPE}/channels/{{channel}}"), web::put().to(open))
        .route(ROWS, web::post().to(append))
        .route(&format!("{PIPE}:bulk-channel-status"), web::post().to(status));
}

/// An append that has begun to arrive and is not answered yet, however it ends.
struct InFlight {
    shared: Shared,
    channel: String,
}

impl InFlight {
    fn new(shared: &Shared, channel: &str) -> Self {
        lock(shared).arriving(channel);
        Self {
            shared: Arc::clone(shared),
            channel: channel.to_owned(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.shared).arrived(&self.channel);
    }
}

async fn hostname(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let mut snowflake = lock(&shared);
    let fault = snowflake.begin(Endpoint::Hostname);
    let answer = check_user(&mut snowflake, &request).map(|()| {
        let host = snowflake.ingest_host(request.app_config().local_addr().port());
        in_form(&snowflake, "hostname", host)
    });
    respond(&mut snowflake, fault, answer)
}

async fn token(request: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let mut snowflake = lock(&shared);
    let fault = snowflake.begin(Endpoint::Token);
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let port = request.app_config().local_addr().port();
    let answer = check_user(&mut snowflake, &request)
        .and_then(|()| snowflake.exchange(&form, port))
        .map(|token| in_form(&snowflake, "token", token));
    respond(&mut snowflake, fault, answer)
}

async fn open(
    request: HttpRequest,
    path: web::Path<(String, String, String, String)>,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let mut snowflake = lock(&shared);
    let fault = snowflake.begin(Endpoint::Open);
    let (database, schema, pipe, channel) = &*path;
    let answer =
        check_scoped(&mut snowflake, &request).and_then(|()| snowflake.check_pipe([database, schema, pipe]));
    let answer = match &fault {
        Some(Fault::LoseRequest | Fault::Answer { .. }) => answer.map(|()| Value::Null),
        fault => answer.and_then(|()| {
            snowflake.disturb(fault.as_ref(), channel);
            snowflake.open(channel, &body)
        }),
    };
    respond(&mut snowflake, fault, answer)
}

async fn append(
    request: HttpRequest,
    path: web::Path<(String, String, String, String)>,
    mut payload: web::Payload,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let (database, schema, pipe, channel) = path.into_inner();
    let _in_flight = InFlight::new(&shared, &channel);
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = payload.next().await {
        if body.len() + chunk.len() <= BODY_MAX {
            body.extend_from_slice(&chunk);
        }
    }
    let mut snowflake = lock(&shared);
    let fault = snowflake.begin(Endpoint::Append);
    let query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let query: BTreeMap<String, String> = query.into_owned().collect();
    let text_of = |name: header::HeaderName| {
        let value = request.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let arrived = Append {
        channel: &channel,
        query: &query,
        content_type: text_of(header::CONTENT_TYPE),
        encoding: text_of(header::CONTENT_ENCODING),
        body: &body,
    };
    let answer = check_scoped(&mut snowflake, &request)
        .and_then(|()| snowflake.check_pipe([&database, &schema, &pipe]));
    let answer = match &fault {
        Some(Fault::LoseRequest | Fault::Answer { .. }) => answer.map(|()| Value::Null),
        fault => answer.and_then(|()| {
            snowflake.disturb(fault.as_ref(), &channel);
            snowflake.append(&arrived, fault.as_ref())
        }),
    };
    respond(&mut snowflake, fault, answer)
}

async fn status(
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let mut snowflake = lock(&shared);
    let fault = snowflake.begin(Endpoint::Status);
    let (database, schema, pipe) = &*path;
    let answer = check_scoped(&mut snowflake, &request)
        .and_then(|()| snowflake.check_pipe([database, schema, pipe]))
        .and_then(|()| snowflake.statuses(&body));
    respond(&mut snowflake, fault, answer)
}

fn bearer(request: &HttpRequest) -> &str {
    let value = request.headers().get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default()
}

fn check_user(snowflake: &mut Snowflake, request: &HttpRequest) -> Result<(), Refusal> {
    let kind = request.headers().get("X-Snowflake-Authorization-Token-Type");
    let kind = kind.and_then(|kind| kind.to_str().ok());
    snowflake.check_user(bearer(request), kind)
}

fn check_scoped(snowflake: &mut Snowflake, request: &HttpRequest) -> Result<(), Refusal> {
    let host = request.connection_info().host().to_owned();
    let port = request.app_config().local_addr().port();
    snowflake.check_scoped(bearer(request), &host, port)
}

fn in_form(snowflake: &Snowflake, field: &str, text: String) -> Value {
    match snowflake.options.answers {
        AnswerForm::Json => json!({ field: text }),
        AnswerForm::Text => Value::String(text),
    }
}

fn respond(snowflake: &mut Snowflake, fault: Option<Fault>, answer: Result<Value, Refusal>) -> HttpResponse {
    if matches!(fault, Some(Fault::LoseRequest | Fault::LoseAnswer)) {
        // An answer that breaks off: the client sees no more than that the connection is gone.
        let broken = futures::stream::iter([Err::<web::Bytes, _>(std::io::Error::other("broken"))]);
        return HttpResponse::Ok().streaming(broken);
    }
    let answer = match fault {
        Some(Fault::Answer {
            status,
            code,
            retry_after,
        }) => Err(Refusal {
            status,
            message: "ordered by the test".to_owned(),
            code,
            retry_after,
        }),
        _ => answer,
    };
    let now = u64::try_from(snowflake.now_s()).unwrap_or_default();
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(now));
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, |_| 200);
    snowflake.answered(status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::DATE, date));
    match answer {
        Ok(Value::String(text)) => response.content_type("text/plain").body(text),
        Ok(json) => response.json(json),
        Err(refusal) => {
            if let Some(wait) = refusal.retry_after {
                response.insert_header((header::RETRY_AFTER, wait));
            }
            response.json(json!({ "code": refusal.code, "message": refusal.message }))
        }
    }
}
