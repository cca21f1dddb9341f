//! The connection to the brokers, which all shards of a sink share.

use std::path::Path;

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::{Compression, Kafka};

use super::config::{KafkaConfig, Sasl, SaslMechanism, Tls};
use super::fault::sink_error;
use super::settings::{Codec, Settings};
use crate::sink::SinkError;

/// The largest answer of a broker, in bytes. What is read back is a few positions.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The largest file with certificates, in bytes.
const MAX_CERTIFICATE_BYTES: u64 = 1 << 20;

/// Connects to the brokers. Secrets are read at each call, so a new password is used after the next try.
///
/// # Errors
/// [`SinkError`]: no broker answers, or they refuse this client.
pub(super) async fn connect(
    sink: &str,
    config: &KafkaConfig,
    settings: &Settings,
) -> Result<Kafka, SinkError> {
    let servers = config.bootstrap_servers.join(",");
    let builder = Kafka::builder(servers.as_str())
        .client_id(settings.client_id.as_str())
        .request_timeout(settings.request_timeout)
        .connect_timeout(settings.request_timeout)
        .max_response_size(MAX_ANSWER_BYTES)
        .allow_auto_create_topics(false)
        .security(security(sink, config)?);
    let connected = builder.connect().await;
    connected.map_err(|error| sink_error(&format!("the brokers {servers} cannot be used"), &error))
}

fn security(sink: &str, config: &KafkaConfig) -> Result<AuthConfig, SinkError> {
    let tls = config.tls.as_ref().map(|tls| tls_config(sink, tls)).transpose()?;
    Ok(match (&config.sasl, tls) {
        (None, None) => AuthConfig::plaintext(),
        (None, Some(tls)) => AuthConfig::ssl(tls),
        (Some(sasl), tls) => {
            let auth = sasl_config(sink, sasl)?;
            match tls {
                Some(tls) => auth.with_tls(tls),
                None => auth,
            }
        }
    })
}

fn sasl_config(sink: &str, sasl: &Sasl) -> Result<AuthConfig, SinkError> {
    let password = sasl.password.read(&format!("sinks.{sink}.sasl.password"));
    let password = password.map_err(|error| refused(error.to_string()))?;
    let (user, password) = (sasl.user.as_str(), password.expose());
    Ok(match sasl.mechanism {
        SaslMechanism::Plain => AuthConfig::sasl_plain(user, password),
        SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
        SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
    })
}

fn tls_config(sink: &str, tls: &Tls) -> Result<TlsConfig, SinkError> {
    let mut config = TlsConfig::new();
    if let Some(ca) = &tls.ca {
        config = config.with_ca_cert_pem(certificate(sink, "ca", ca)?);
    }
    if let (Some(path), Some(key)) = (&tls.certificate, &tls.key) {
        let key = key.read(&format!("sinks.{sink}.tls.key"));
        let key = key.map_err(|error| refused(error.to_string()))?;
        let certificate = certificate(sink, "certificate", path)?;
        config = config.with_client_cert_pem(certificate, key.expose().as_bytes().to_vec());
    }
    Ok(config)
}

fn certificate(sink: &str, setting: &str, path: &Path) -> Result<Vec<u8>, SinkError> {
    let shown = path.display();
    let bytes = std::fs::metadata(path).and_then(|file| {
        if file.len() > MAX_CERTIFICATE_BYTES {
            return Err(std::io::Error::other(format!(
                "it has {} bytes, certificates have at most {MAX_CERTIFICATE_BYTES}",
                file.len()
            )));
        }
        std::fs::read(path)
    });
    bytes.map_err(|error| {
        refused(format!(
            "sinks.{sink}.tls.{setting}: the file {shown} cannot be read: {error}"
        ))
    })
}

fn refused(what: String) -> SinkError {
    SinkError::Refused {
        what,
        advice: "correct the setting or the file that it names".to_owned(),
    }
}

/// Returns the codec of the client.
pub(super) fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
    }
}
