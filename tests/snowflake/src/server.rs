//! The listening side, which can stop and start again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};

use crate::http::{Shared, lock, routes};
use crate::snowflake::{Options, Snowflake};

/// A server on a port of this machine. It plays both hosts, that of the account and the one that takes rows.
pub struct Server {
    shared: Shared,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts the server.
    ///
    /// # Panics
    /// When it cannot listen, or the DDL cannot be read.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let [port] = holdfast_test_ports::take(1)[..] else {
            panic!("one port was asked for");
        };
        let mut server = Self {
            shared: Arc::new(Mutex::new(Snowflake::new(options))),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            running: None,
        };
        server.start_again();
        server
    }

    /// Returns the URL of the account.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at what is played, or changes it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Snowflake) -> T) -> T {
        act(&mut lock(&self.shared))
    }

    /// Stops listening, and breaks every connection. What was accepted stays.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.with(|snowflake| snowflake.stopped = true);
            // Sent without waiting: the thread ends when the server has stopped.
            drop(running.handle.stop(false));
            let _ = running.thread.join();
        }
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start_again(&mut self) {
        self.with(|snowflake| snowflake.stopped = false);
        let listener = TcpListener::bind(self.address).expect("the port is ours");
        let shared = Arc::clone(&self.shared);
        let (started, starting) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(web::Data::new(Arc::clone(&shared)))
                        .configure(routes)
                })
                .workers(1)
                .disable_signals()
                .listen(listener)
                .expect("the listener is good")
                .run();
                let _ = started.send(server.handle());
                let _ = server.await;
            });
        });
        let handle = starting.recv().expect("the server has started");
        self.running = Some(Running { handle, thread });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
