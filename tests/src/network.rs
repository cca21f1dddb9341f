//! The network between nodes of one machine: each speaks to each other one through a relay that can hold bytes back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How a relay carries bytes. What is held back is not lost: TCP would send it again too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Way {
    /// From the node that connected to the other one.
    there_is_cut: bool,
    /// The answers.
    back_is_cut: bool,
    /// Of each piece, in either direction.
    delay: Duration,
    /// Connections of a lower number are broken off.
    broken_below: u64,
}

/// Relays between all nodes, `0..nodes`.
#[derive(Debug)]
pub struct Network {
    relays: BTreeMap<(usize, usize), Relay>,
}

#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Network {
    /// Relays to the nodes that listen, or will listen, there.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn between(nodes: &[String]) -> Result<Self> {
        let mut relays = BTreeMap::new();
        for from in 0..nodes.len() {
            for (to, target) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                let (way, ways) = watch::channel(Way::default());
                let task = tokio::spawn(relay(listener, target.clone(), ways));
                relays.insert((from, to), Relay { address, way, task });
            }
        }
        Ok(Self { relays })
    }

    /// Where a node reaches another one.
    ///
    /// # Errors
    /// When there is no such pair.
    pub(crate) fn address(&self, from: usize, to: usize) -> Result<SocketAddr> {
        let relay = self.relays.get(&(from, to)).context("no such nodes")?;
        Ok(relay.address)
    }

    /// Nothing that `from` says reaches `to` any more.
    pub fn cut(&self, from: usize, to: usize) {
        self.change((from, to), |way| way.there_is_cut = true);
        self.change((to, from), |way| way.back_is_cut = true);
    }

    /// Every piece is so late, everywhere.
    pub fn delay(&self, delay: Duration) {
        for pair in self.relays.keys() {
            self.change(*pair, |way| way.delay = delay);
        }
    }

    /// Breaks all connections off; new ones may be made at once.
    pub fn break_off(&self) {
        for pair in self.relays.keys() {
            self.change(*pair, |way| way.broken_below += 1);
        }
    }

    /// Everything gets through again, with what was held back first.
    pub fn heal(&self) {
        for pair in self.relays.keys() {
            self.change(*pair, |way| {
                *way = Way {
                    broken_below: way.broken_below,
                    ..Way::default()
                };
            });
        }
    }

    fn change(&self, pair: (usize, usize), change: impl FnOnce(&mut Way)) {
        if let Some(relay) = self.relays.get(&pair) {
            relay.way.send_modify(change);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for relay in self.relays.values() {
            relay.task.abort();
        }
    }
}

async fn relay(listener: TcpListener, target: String, way: watch::Receiver<Way>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (target, mut way) = (target.clone(), way.clone());
        connections.spawn(async move {
            let broken_below = way.borrow().broken_below;
            // A node that does not run refuses; so do we.
            let Ok(far) = TcpStream::connect(&target).await else {
                return;
            };
            // Without it small messages wait for each other's acknowledgement.
            if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                return;
            }
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let there = carry(near_in, far_out, way.clone(), |way| way.there_is_cut);
            let back = carry(far_in, near_out, way.clone(), |way| way.back_is_cut);
            tokio::select! {
                () = there => {}
                () = back => {}
                _ = way.wait_for(|way| way.broken_below > broken_below) => {}
            }
        });
    }
}

/// Carries bytes until one end closes.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
    is_cut: impl Fn(&Way) -> bool,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => bytes,
        };
        let delay = match way.wait_for(|way| !is_cut(way)).await {
            Ok(way) => way.delay,
            Err(_) => return,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
    }
}
