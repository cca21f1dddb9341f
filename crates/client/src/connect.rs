//! TLS connections. A connection is used only after the node has spoken on it, so no request is lost on a
//! connection that the node refuses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::http::Uri;

/// The size of the read buffer: enough for the first bytes of a node. Once it is empty, longer reads bypass
/// it.
const FIRST_WORDS_BYTES: usize = 256;
/// How long to wait for the node's first bytes. After this the connection is used anyway, because something
/// between here and the node may be waiting for the client.
const FIRST_WORDS_PATIENCE: Duration = Duration::from_secs(1);

/// Connects to the node at this address.
///
/// In TLS 1.3 a client may send before the node has checked its certificate (RFC 8446, figure 1). The client
/// then learns of a refusal only with a later read. A node that has accepted the client sends its SETTINGS at
/// once, without waiting (RFC 9113, section 3.4).
///
/// # Errors
/// An error when nobody answers there, or when one side does not accept the other's certificate.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    uri: Uri,
) -> io::Result<TokioIo<BufReader<TlsStream<TcpStream>>>> {
    let address = uri.authority().map(ToString::to_string).unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let mut stream = BufReader::with_capacity(FIRST_WORDS_BYTES, stream);
    match tokio::time::timeout(FIRST_WORDS_PATIENCE, stream.fill_buf()).await {
        Ok(Ok([])) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the node ended the connection before it spoke",
        )),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(TokioIo::new(stream)),
    }
}
