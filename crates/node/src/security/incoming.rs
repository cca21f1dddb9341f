//! Accepts connections, does the handshake if there is TLS, and hands the connections to the gRPC server.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use holdfast_guard::audit::{self, Audit};
use holdfast_guard::certificates::holder;
use holdfast_guard::metrics::OpenConnection;
use holdfast_guard::tls::Tls;
use holdfast_guard::{Port, claim};

use super::Caller;
use crate::intake::{Budget, Party, Patience, Session, Useless};
use crate::tasks::Tasks;

/// The time that a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// The time that a refused caller has to read the reason. Meanwhile, at most `PARTING_READS` portions of what
/// it still sends are read.
const PARTING_PATIENCE: Duration = Duration::from_secs(1);
const PARTING_READS: usize = 64;
/// The pause after the system fails to accept a connection, for example because it has no file descriptors
/// left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The number of ready connections that may wait for the server.
const READY: usize = 64;

/// The guard of one port: its certificates and limits.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) port: Port,
    /// The certificates; None for plaintext.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The maximum number of connections at a time, with those in a handshake.
    pub(crate) connections: usize,
    pub(crate) audit: Audit,
    /// The budget of the bytes that callers may take.
    pub(crate) budget: Arc<Budget>,
    /// The times after which a connection counts as useless.
    pub(crate) patience: Patience,
}

/// A connection, with the caller at its other end.
pub(crate) struct Connection {
    stream: Stream,
    caller: Caller,
    /// The number of bytes that have arrived.
    received: u64,
    patience: Patience,
    /// The timer of the next check whether the connection is of use.
    judged: Pin<Box<Sleep>>,
    gate: Gate,
    _place: OwnedSemaphorePermit,
    _counted: OpenConnection,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Returns the connections of a listener as a stream for the gRPC server. Accepting ends when the stream is
/// dropped.
///
/// # Errors
/// The listener cannot be used in this runtime.
pub(crate) fn incoming(
    listener: TcpListener,
    gate: Gate,
    tasks: &Tasks,
) -> io::Result<ReceiverStream<io::Result<Connection>>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (ready, connections) = mpsc::channel(READY);
    let handshakes = tasks.clone();
    tasks.spawn("connections", async move {
        tokio::select! {
            () = accept(listener, gate, handshakes, ready.clone()) => {}
            () = ready.closed() => {}
        }
    });
    Ok(ReceiverStream::new(connections))
}

async fn accept(
    listener: tokio::net::TcpListener,
    gate: Gate,
    tasks: Tasks,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(gate.connections));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                audit::cannot_accept(&gate.audit, gate.port, &error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            audit::connection_refused(&gate.audit, gate.port, address, gate.connections);
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "connection without TCP_NODELAY");
        }
        let (gate, ready) = (gate.clone(), ready.clone());
        tasks.spawn("handshake", async move {
            let connection = tokio::select! {
                connection = greet(stream, address, &gate) => connection,
                () = ready.closed() => return,
            };
            let Some((stream, caller)) = connection else {
                return;
            };
            let connection = Connection {
                stream,
                caller,
                received: 0,
                patience: gate.patience,
                judged: Box::pin(tokio::time::sleep(gate.patience.preface)),
                gate: gate.clone(),
                _place: place,
                _counted: gate.audit.metrics().connection(gate.port.as_str()),
            };
            // The server takes no more connections when the node is stopping.
            let _ = ready.send(Ok(connection)).await;
        });
    }
}

/// Does the handshake, and identifies the caller. Returns None, and writes an audit line, when the caller is
/// refused.
async fn greet(stream: TcpStream, address: SocketAddr, gate: &Gate) -> Option<(Stream, Caller)> {
    let Some(tls) = &gate.tls else {
        return Some((Stream::Plain(stream), Caller::anonymous(address, &gate.budget)));
    };
    let acceptor = TlsAcceptor::from(tls.accepting(gate.port));
    let accepting = acceptor.accept(stream).into_fallible();
    let handshake = claim::with_claim(tokio::time::timeout(HANDSHAKE_PATIENCE, accepting));
    let (done, claimed) = handshake.await;
    let (done, refused) = match done {
        Ok(Ok(stream)) => (Ok(stream), None),
        Ok(Err((error, stream))) => (Err(error), Some(stream)),
        Err(_) => (Err(io::Error::from(io::ErrorKind::TimedOut)), None),
    };
    let named = done.and_then(|stream| Ok((caller(&stream, address, &gate.budget)?, stream)));
    match named {
        Ok((caller, stream)) => {
            let (port, expires_s) = (gate.port.as_str(), caller.expires_s);
            tracing::debug!(port, principal = %caller.principal, address = %caller.address, expires_s, "came in");
            Some((Stream::Tls(Box::new(stream)), caller))
        }
        Err(error) => {
            audit::handshake_refused(&gate.audit, gate.port, address, claimed.as_ref(), &error);
            if let Some(stream) = refused {
                say_goodbye(stream).await;
            }
            None
        }
    }
}

/// Lets a refused caller read the reason. If the connection were closed with bytes unread, it would be reset,
/// and the alert would be lost with it.
async fn say_goodbye(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        let mut unread = [0; 1024];
        for _ in 0..PARTING_READS {
            if stream.read(&mut unread).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // An error here does not matter, because the caller is gone.
    let _ = tokio::time::timeout(PARTING_PATIENCE, parting).await;
}

fn caller(stream: &TlsStream<TcpStream>, address: SocketAddr, budget: &Budget) -> io::Result<Caller> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    // The verifier demands a certificate and reads it, so neither of these can fail.
    let certificate = certificate.ok_or_else(|| io::Error::other("the caller showed no certificate"))?;
    let holder = holder(certificate).map_err(io::Error::other)?;
    let party = Party::Principal(holder.principal.clone());
    Ok(Caller {
        session: Session::new(budget, party),
        principal: holder.principal,
        node_id: holder.node_id,
        expires_s: Some(holder.expires_s),
        certificate: Some(Arc::new(holder.certificate)),
        address,
    })
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl Connection {
    /// Checks the connection when that is due, and returns an error when it is of no use.
    fn judge(&mut self, cx: &mut Context<'_>) -> Result<(), Useless> {
        while self.judged.as_mut().poll(cx).is_ready() {
            let next = self.caller.session.judge(&self.patience, self.received)?;
            self.judged.as_mut().reset(next);
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if read.is_ready() {
            self.received += (buf.filled().len() - before) as u64;
            return read;
        }
        // The server reads a connection whenever it is woken, so the check also runs when the timer wakes it.
        if let Err(useless) = self.judge(cx) {
            audit::connection_closed(
                &self.gate.audit,
                self.gate.port,
                self.caller.address,
                useless.label(),
            );
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, useless)));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
