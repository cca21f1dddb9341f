//! Connections to nodes: one for each address, made when it is first needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::connect::connect;
use crate::routes::Scheme;
use crate::{ClientError, ClientOptions, ClientTls};

/// The bytes that one stream may have on their way. The default of 64 KiB would throttle batches.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How often a peer is pinged. A peer that does not answer within `KEEP_ALIVE_TIMEOUT` is gone: its streams
/// end, and the call goes elsewhere.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the certificate files are checked while calls are made.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Channels {
    endpoints: Vec<String>,
    scheme: Scheme,
    connect_timeout: Duration,
    open: Mutex<Open>,
    /// When the certificate files were last checked.
    looked: Mutex<Instant>,
    turn: AtomicUsize,
}

/// The open connections, and the certificates with which they were made.
#[derive(Debug)]
struct Open {
    tls: Option<ClientTls>,
    channels: BTreeMap<String, Channel>,
}

impl Channels {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let endpoints: Vec<String> = options
            .endpoints
            .iter()
            .map(|endpoint| endpoint.trim().trim_end_matches('/').to_owned())
            .filter(|endpoint| !endpoint.is_empty())
            .collect();
        if endpoints.is_empty() {
            return Err(ClientError::Options(
                "no endpoint is given: name at least one node, as http://host:port".to_owned(),
            ));
        }
        let first_turn = rand::random_range(0..endpoints.len());
        let channels = Self {
            endpoints,
            scheme: Scheme::of(options),
            looked: Mutex::new(Instant::now()),
            connect_timeout: options.connect_timeout,
            open: Mutex::new(Open {
                tls: options.tls.clone(),
                channels: BTreeMap::new(),
            }),
            turn: AtomicUsize::new(first_turn),
        };
        for endpoint in &channels.endpoints {
            parse(endpoint, channels.scheme)?;
        }
        config(options.tls.as_ref())?;
        Ok(channels)
    }

    /// Returns the connection to this address.
    pub(crate) fn to(&self, address: &str) -> Result<Channel, ClientError> {
        let mut open = self.open.lock();
        if let Some(channel) = open.channels.get(address) {
            return Ok(channel.clone());
        }
        let tls = config(open.tls.as_ref())?;
        let endpoint = dialled(parse(address, self.scheme)?)?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let channel = match tls {
            None => endpoint.connect_lazy(),
            Some(tls) => {
                let connector = service_fn(move |uri| connect(Arc::clone(&tls), uri));
                endpoint.connect_with_connector_lazy(connector)
            }
        };
        open.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Returns whether it is time to check the certificate files again. Returns true to one caller at a time.
    pub(crate) fn should_look_again(&self) -> bool {
        let follows = |tls: &ClientTls| tls.follows_files();
        if !self.open.lock().tls.as_ref().is_some_and(follows) {
            return false;
        }
        let mut looked = self.looked.lock();
        let due = looked.elapsed() >= LOOK_INTERVAL;
        if due {
            *looked = Instant::now();
        }
        due
    }

    /// Checks the certificate files. When they are new and good, later connections are made with them. Calls
    /// under way on the old connections go on. Blocks on the disk.
    pub(crate) fn look_again(&self) {
        let Some(tls) = self.open.lock().tls.clone() else {
            return;
        };
        let new = match tls.read_again() {
            Ok(None) => return,
            Ok(Some(new)) => match config(Some(&new)) {
                Ok(_) => new,
                Err(error) => {
                    tracing::warn!(%error, "the new certificates cannot be used, so the old ones stay in use");
                    return;
                }
            },
            Err(error) => {
                tracing::warn!(%error, "the files of the certificates cannot be read, so the old certificates stay in use");
                return;
            }
        };
        tracing::info!("new certificates are in use");
        let mut open = self.open.lock();
        open.tls = Some(new);
        open.channels.clear();
    }

    /// Returns the next address in turn: the configured ones first, then the learnt ones. Skips `avoid` when
    /// there is another address.
    pub(crate) fn next(&self, learnt: &[String], avoid: Option<&str>) -> String {
        let all = self.all(learnt);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..all.len())
            .map(|step| &all[turn.wrapping_add(step) % all.len()])
            .find(|address| Some(address.as_str()) != avoid)
            .unwrap_or(&all[0])
            .clone()
    }

    /// Returns all known addresses: the configured ones first, then the learnt ones.
    pub(crate) fn all(&self, learnt: &[String]) -> Vec<String> {
        let extra = learnt.iter().filter(|address| !self.endpoints.contains(address));
        self.endpoints.iter().chain(extra).cloned().collect()
    }
}

/// Makes the TLS configuration of connections; None without TLS.
fn config(tls: Option<&ClientTls>) -> Result<Option<Arc<ClientConfig>>, ClientError> {
    let config = tls.map(ClientTls::config).transpose();
    config.map_err(|why| {
        ClientError::Options(format!(
            "the certificates cannot be used ({why}): give PEM files of the CA, the certificate and its key"
        ))
    })
}

fn parse(endpoint: &str, scheme: Scheme) -> Result<Endpoint, ClientError> {
    let wrong = |why: &str| {
        ClientError::Options(format!(
            "the endpoint {endpoint:?} is not an address ({why}): write {}://host:port",
            scheme.as_str()
        ))
    };
    let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| wrong(&error.to_string()))?;
    let uri = parsed.uri();
    match (uri.scheme_str(), scheme) {
        (Some("http"), Scheme::Http) | (Some("https"), Scheme::Https) => {}
        (Some("https"), Scheme::Http) => return Err(wrong("https needs a CA, a certificate and a key")),
        (Some("http"), Scheme::Https) => return Err(wrong("with certificates the scheme must be https")),
        _ => return Err(wrong("the scheme is missing")),
    }
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
        return Err(wrong("the host or the port is missing"));
    }
    Ok(parsed)
}

/// Makes the endpoint for a connector that does TLS itself. When tonic connects to an `https` address, it
/// wants to do TLS. So the address to connect to says `http`; requests still say `https`.
fn dialled(endpoint: Endpoint) -> Result<Endpoint, ClientError> {
    let origin = endpoint.uri().clone();
    let plain = origin.to_string().replacen("https://", "http://", 1);
    let endpoint = Endpoint::from_shared(plain).map_err(|error| ClientError::Options(error.to_string()))?;
    Ok(endpoint.origin(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_no_address_is_refused_with_what_to_write() {
        for bad in [
            "localhost:7411",
            "http://",
            "http://host",
            "https://host:1",
            "ftp://host:1",
            "http://ho st:1",
            "",
        ] {
            let error = Channels::new(&ClientOptions::new([bad])).unwrap_err();
            assert!(error.to_string().contains("http://host:port"), "{bad}: {error}");
        }
    }

    #[test]
    fn with_certificates_only_https_is_spoken_and_bad_ones_are_told_at_once() {
        let tls = ClientTls::from_pem(Vec::new(), b"no certificate".to_vec(), b"secret".to_vec());
        assert!(!format!("{tls:?}").contains(&format!("{:?}", b"secret")));
        let options = |endpoint: &str| ClientOptions {
            tls: Some(tls.clone()),
            ..ClientOptions::new([endpoint])
        };
        let error = Channels::new(&options("http://a:1")).unwrap_err();
        assert!(error.to_string().contains("https://host:port"), "{error}");
        let error = Channels::new(&options("https://a:1")).unwrap_err();
        assert!(error.to_string().contains("PEM"), "{error}");
    }

    #[tokio::test]
    async fn new_files_are_taken_when_they_are_good_and_connections_made_anew_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = made();
        std::fs::write(path("ca"), &certificate).unwrap();
        std::fs::write(path("certificate"), &certificate).unwrap();
        std::fs::write(path("key"), &key).unwrap();
        let tls = ClientTls::read(&path("ca"), &path("certificate"), &path("key")).unwrap();
        let channels = Channels::new(&ClientOptions {
            tls: Some(tls),
            ..ClientOptions::new(["https://localhost:1"])
        })
        .unwrap();
        let open = || channels.open.lock().channels.len();
        channels.to("https://localhost:1").unwrap();
        channels.look_again();
        assert_eq!(open(), 1, "nothing is new");
        let (certificate, key) = made();
        std::fs::write(path("key"), &key).unwrap();
        channels.look_again();
        assert_eq!(open(), 1, "the key of another certificate is not good");
        std::fs::remove_file(path("certificate")).unwrap();
        channels.look_again();
        assert_eq!(open(), 1, "a file is missing");
        std::fs::write(path("certificate"), &certificate).unwrap();
        channels.look_again();
        assert_eq!(open(), 0, "connections are made anew");
        channels.to("https://localhost:1").unwrap();
        channels.look_again();
        assert_eq!(open(), 1);
    }

    #[test]
    fn the_turn_goes_round_and_avoids_the_one_that_failed() {
        let channels = Channels::new(&ClientOptions::new(["http://a:1", "http://b:1/"])).unwrap();
        let learnt = ["http://b:1".to_owned(), "http://c:1".to_owned()];
        let mut seen: Vec<String> = (0..3).map(|_| channels.next(&learnt, None)).collect();
        seen.sort();
        assert_eq!(seen, ["http://a:1", "http://b:1", "http://c:1"]);
        for _ in 0..6 {
            assert_ne!(channels.next(&learnt, Some("http://b:1")), "http://b:1");
        }
        let alone = Channels::new(&ClientOptions::new(["http://a:1"])).unwrap();
        assert_eq!(alone.next(&[], Some("http://a:1")), "http://a:1");
    }
}
