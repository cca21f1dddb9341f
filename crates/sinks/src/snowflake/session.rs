//! Requests to an account, with the tokens that they need.
//!
//! ```text
//!  key ──signs──> token of the user ──> control host: which host takes rows? ──> scope
//!                                  └──> control host: a token for this scope ──> requests to the ingest host
//! ```

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::answers::Failure;
use super::config::{Limits, SnowflakeConfig};
use super::key::{PrivateKey, subject};
use crate::clock::now_ms;
use crate::settings::SettingError;
use crate::sink::SinkError;

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// The largest token that is taken, in bytes.
const TOKEN_MAX: usize = 16 << 10;
/// The longest time that a server may tell us to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A connection to an account. All channels of a sink share it.
pub(super) struct Session {
    http: reqwest::Client,
    /// The URL of the account.
    control: Url,
    subject: String,
    key: PrivateKey,
    token_age: Duration,
    scoped: Mutex<Option<Scoped>>,
}

/// A token for the host that takes rows.
#[derive(Clone)]
struct Scoped {
    ingest: Url,
    authorization: HeaderValue,
    renew_at: Instant,
}

/// A request to the ingest host.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// The parts of the path, without slashes.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Body,
}

/// The body of a request.
#[derive(Clone)]
pub(super) enum Body {
    Json(serde_json::Value),
    /// Lines of JSON, compressed with zstd.
    Rows(bytes::Bytes),
}

/// A request had no success.
#[derive(Debug)]
pub(super) enum RequestError {
    /// Snowflake answered, with something else than success. The request had no effect, unless the status is
    /// of the server's side (5xx) or 408.
    Answered(Failure),
    /// Nobody knows whether the request had an effect.
    Unclear(SinkError),
}

impl RequestError {
    /// Returns the error of the sink.
    pub(super) fn into_sink_error(self, what: &str, session: &Session) -> SinkError {
        match self {
            Self::Answered(failure) => failure.error(what, session.key.fingerprint()),
            Self::Unclear(error) => error,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Hostname {
    Object { hostname: String },
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Object {
        #[serde(alias = "access_token")]
        token: String,
    },
    Text(String),
}

impl Session {
    /// Makes a session. It does not connect yet. `sink` is the name of the sink.
    pub(super) fn new(
        sink: &str,
        config: &SnowflakeConfig,
        http: Option<reqwest::Client>,
    ) -> Result<Self, SettingError> {
        let fault = |reason: String| SettingError::Sink {
            sink: sink.to_owned(),
            reason,
        };
        let control = control_url(config).map_err(&fault)?;
        let pem = config.private_key.read("private_key")?;
        let passphrase = config.passphrase.as_ref();
        let passphrase = passphrase.map(|secret| secret.read("passphrase")).transpose()?;
        let passphrase = passphrase.as_ref().map(crate::settings::Secret::expose);
        let key = PrivateKey::read(pem.expose(), passphrase)
            .map_err(|error| fault(format!("private_key: {error}")))?;
        let http = match http {
            Some(http) => http,
            None => client(&config.limits)
                .map_err(|error| fault(format!("no HTTP client can be made: {}", cause(&error))))?,
        };
        Ok(Self {
            http,
            control,
            subject: subject(&config.account, &config.user),
            key,
            token_age: config.limits.token_age,
            scoped: Mutex::new(None),
        })
    }

    /// Sends a request to the ingest host, and reads the JSON of its answer. When the token is refused, it is
    /// replaced once.
    pub(super) async fn send<A: DeserializeOwned>(
        &self,
        what: &str,
        request: &Request<'_>,
    ) -> Result<A, RequestError> {
        let mut scoped = self.scoped(what, None).await?;
        let answer = match self.send_with(what, request, &scoped).await {
            // A refused request had no effect, so it may be sent again.
            Err(RequestError::Answered(failure)) if failure.status == 401 => {
                scoped = self.scoped(what, Some(&scoped)).await?;
                self.send_with(what, request, &scoped).await?
            }
            answer => answer?,
        };
        serde_json::from_slice(&answer).map_err(|error| {
            RequestError::Unclear(SinkError::Unavailable {
                what: format!("{what}: the answer of Snowflake cannot be read: {error}"),
                retry_after_ms: 0,
            })
        })
    }

    async fn send_with(
        &self,
        what: &str,
        request: &Request<'_>,
        scoped: &Scoped,
    ) -> Result<Vec<u8>, RequestError> {
        let mut url = scoped.ingest.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let builder = self
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, scoped.authorization.clone());
        let builder = match &request.body {
            Body::Json(json) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(json.to_string()),
            Body::Rows(rows) => builder
                .header(CONTENT_TYPE, "application/x-ndjson")
                .header(CONTENT_ENCODING, "zstd")
                .body(rows.clone()),
        };
        self.finish(what, builder).await
    }

    /// Returns a token for the ingest host that is young enough, and another one than a refused one.
    async fn scoped(&self, what: &str, refused: Option<&Scoped>) -> Result<Scoped, RequestError> {
        let mut kept = self.scoped.lock().await;
        if let Some(scoped) = &*kept
            && scoped.renew_at > Instant::now()
            && refused.is_none_or(|refused| refused.authorization != scoped.authorization)
        {
            return Ok(scoped.clone());
        }
        let unusable = |text: &str| {
            RequestError::Unclear(SinkError::Unavailable {
                what: format!("{what}: {text}"),
                retry_after_ms: 0,
            })
        };
        let signed = self.key.sign(&self.subject, Duration::from_millis(now_ms()));
        let signed = signed.map_err(|error| unusable(&format!("no token can be signed: {error}")))?;
        let signed = bearer(&signed).ok_or_else(|| unusable("no token can be signed"))?;
        let renew_at = Instant::now() + self.token_age;

        let asking = format!("{what}: asking {} for the ingest host", self.control_host());
        let builder = self.control_request(Method::GET, &["v2", "streaming", "hostname"], &signed);
        let host = self.finish(&asking, builder).await?;
        let host = text_of(&host, |text| match text {
            Hostname::Object { hostname } | Hostname::Text(hostname) => hostname,
        });
        let ingest = self
            .ingest_url(&host)
            .ok_or_else(|| unusable("Snowflake answered with something that is not a host name for rows"))?;

        let asking = format!("{what}: asking {} for a token", self.control_host());
        let builder = self
            .control_request(Method::POST, &["oauth", "token"], &signed)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(token_form(&scope(&ingest)));
        let token = self.finish(&asking, builder).await?;
        let token = text_of(&token, |text| match text {
            Token::Object { token } | Token::Text(token) => token,
        });
        let authorization = bearer(&token)
            .filter(|_| !token.is_empty() && token.len() <= TOKEN_MAX)
            .ok_or_else(|| unusable("Snowflake answered with something that is not a token"))?;
        let scoped = Scoped {
            ingest,
            authorization,
            renew_at,
        };
        *kept = Some(scoped.clone());
        Ok(scoped)
    }

    fn control_request(
        &self,
        method: Method,
        path: &[&str],
        signed: &HeaderValue,
    ) -> reqwest::RequestBuilder {
        let mut url = self.control.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        self.http
            .request(method, url)
            .header(AUTHORIZATION, signed.clone())
            .header("X-Snowflake-Authorization-Token-Type", "KEYPAIR_JWT")
    }

    async fn finish(&self, what: &str, builder: reqwest::RequestBuilder) -> Result<Vec<u8>, RequestError> {
        let unclear = |error: reqwest::Error| {
            // The URL has a continuation token, which is of no use in a message.
            let error = error.without_url();
            RequestError::Unclear(SinkError::Unavailable {
                what: format!("{what}: Snowflake cannot be reached: {}", cause(&error)),
                retry_after_ms: 0,
            })
        };
        let response = builder.send().await.map_err(unclear)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let clock_ahead_s = clock_ahead_s(&response);
        let mut response = response;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unclear)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(RequestError::Unclear(SinkError::Unavailable {
                    what: format!("{what}: the answer has more than {ANSWER_MAX} bytes"),
                    retry_after_ms: 0,
                }));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        Err(RequestError::Answered(Failure::read(
            status.as_u16(),
            &body,
            retry_after,
            clock_ahead_s,
        )))
    }

    /// Returns the URL of the host for rows. Underscores become dashes: with them Snowflake fails with an
    /// internal error.
    fn ingest_url(&self, host: &str) -> Option<Url> {
        let host = host.trim().replace('_', "-");
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if host.is_empty() || host.len() > 300 || !host.bytes().all(allowed) {
            return None;
        }
        Url::parse(&format!("{}://{host}/", self.control.scheme())).ok()
    }

    fn control_host(&self) -> &str {
        self.control.host_str().unwrap_or_default()
    }
}

fn token_form(scope: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("scope", scope)
        .finish()
}

/// Returns the host of a URL with its port, when that is not the usual one.
fn scope(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn client(limits: &Limits) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
        .timeout(limits.request_patience)
        .connect_timeout(limits.request_patience.min(Duration::from_secs(10)))
        // A redirect would carry the token to another host.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

fn control_url(config: &SnowflakeConfig) -> Result<Url, String> {
    let text = match &config.url {
        Some(url) => url.clone(),
        // Host names have no underscores; Snowflake answers to the name with dashes too.
        None => format!(
            "https://{}.snowflakecomputing.com",
            config.account.to_lowercase().replace('_', "-")
        ),
    };
    let url = Url::parse(&text).map_err(|error| format!("url is {text:?}: {error}"))?;
    let of_this_machine = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if of_this_machine => {}
        _ => return Err(format!("url is {text:?}: it must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("url must be without a user and a password".to_owned());
    }
    Ok(url)
}

/// Returns the text of an answer that is JSON or plain text.
fn text_of<T: DeserializeOwned>(body: &[u8], of_json: impl FnOnce(T) -> String) -> String {
    let text = match serde_json::from_slice::<T>(body) {
        Ok(json) => of_json(json),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().to_owned()
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn retry_after(response: &Response) -> Duration {
    let value = response.headers().get(RETRY_AFTER);
    let Some(text) = value.and_then(|value| value.to_str().ok()) else {
        return Duration::ZERO;
    };
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(Duration::ZERO, |at| {
                at.saturating_sub(Duration::from_millis(now_ms()))
            }),
    };
    wait.min(RETRY_AFTER_MAX)
}

/// Returns how many seconds the clock of the server is ahead of ours.
fn clock_ahead_s(response: &Response) -> Option<i64> {
    let text = response.headers().get(DATE)?.to_str().ok()?;
    let at = httpdate::parse_http_date(text).ok()?;
    let theirs = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(theirs)
        .ok()?
        .checked_sub_unsigned(Duration::from_millis(now_ms()).as_secs())
}

/// Returns an error with its causes, in one line.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(account: &str, url: Option<&str>) -> Result<String, String> {
        let text = format!("account = '{account}'\nuser = 'u'\nprivate_key = {{ env = 'K' }}\n");
        let mut config: SnowflakeConfig = toml::from_str(&text).unwrap();
        config.url = url.map(str::to_owned);
        control_url(&config).map(|url| url.to_string())
    }

    #[test]
    fn the_host_of_an_account_has_no_underscores() {
        let host = |account| url_of(account, None).unwrap();
        assert_eq!(
            host("MyOrg-my_account"),
            "https://myorg-my-account.snowflakecomputing.com/"
        );
        assert_eq!(
            host("ab12345.eu-west-1"),
            "https://ab12345.eu-west-1.snowflakecomputing.com/"
        );
    }

    #[test]
    fn a_token_is_never_sent_without_tls() {
        assert!(url_of("a", Some("http://a.snowflakecomputing.com")).is_err());
        assert!(url_of("a", Some("https://user:secret@a.snowflakecomputing.com")).is_err());
        assert!(url_of("a", Some("https://a.privatelink.snowflakecomputing.com")).is_ok());
        assert!(url_of("a", Some("http://127.0.0.1:1")).is_ok());
    }
}
