//! The network between nodes of one machine: each node speaks to each other one through a relay that can hold
//! bytes back.

mod packets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use packets::PacketLoss;

/// Most bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Number of pieces in a thousand, on a flaky network, that are the last of their connection.
const FLAKY_BREAKS_PERMILLE: u32 = 5;

/// Number of pieces in a thousand, on a flaky network, that come late, as when packets were lost and had to
/// be sent again.
const FLAKY_STALLS_PERMILLE: u32 = 50;

/// Delay of these pieces: TCP's shortest wait before it sends again.
const FLAKY_STALL: Duration = Duration::from_millis(200);

/// The state of a relay. Bytes that it holds back are not lost: TCP would send them again too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Way {
    /// Whether bytes from the node that connected are held back.
    there_is_cut: bool,
    /// Whether bytes to the node that connected are held back.
    back_is_cut: bool,
    /// Delay of each piece, in either direction.
    delay: Duration,
    /// Whether some pieces come late, and some break their connection.
    is_flaky: bool,
    /// The first number of a connection that is not broken off; those with lower numbers are.
    broken_below: u64,
}

/// Relays between all nodes, `0..nodes`.
#[derive(Debug)]
pub struct Network {
    /// Addresses at which the nodes listen.
    nodes: Vec<String>,
    relays: BTreeMap<(usize, usize), Relay>,
}

#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Network {
    /// Makes relays between nodes that listen, or will listen, at these addresses.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn between(nodes: &[String]) -> Result<Self> {
        let mut network = Self {
            nodes: Vec::new(),
            relays: BTreeMap::new(),
        };
        for node in nodes {
            network.join(node.clone()).await?;
        }
        Ok(network)
    }

    /// Adds relays between one more node and all that are there.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn join(&mut self, node: String) -> Result<()> {
        let new = self.nodes.len();
        self.nodes.push(node);
        for other in 0..new {
            for (from, to) in [(new, other), (other, new)] {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                let (way, ways) = watch::channel(Way::default());
                let task = tokio::spawn(relay(listener, self.nodes[to].clone(), ways));
                self.relays.insert((from, to), Relay { address, way, task });
            }
        }
        Ok(())
    }

    /// Returns the address at which a node reaches another one.
    ///
    /// # Errors
    /// When there is no such pair.
    pub(crate) fn address(&self, from: usize, to: usize) -> Result<SocketAddr> {
        let relay = self.relays.get(&(from, to)).context("no such nodes")?;
        Ok(relay.address)
    }

    /// Stops everything that `from` sends to `to`.
    pub fn cut(&self, from: usize, to: usize) {
        self.change((from, to), |way| way.there_is_cut = true);
        self.change((to, from), |way| way.back_is_cut = true);
    }

    /// Delays every piece by this time, everywhere.
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

    /// Makes some pieces come late and some connections break everywhere, at random, again and again.
    pub fn be_flaky(&self) {
        for pair in self.relays.keys() {
            self.change(*pair, |way| way.is_flaky = true);
        }
    }

    /// Lets everything through again, and what was held back first. (Packets are lost until [`PacketLoss`] is
    /// dropped.)
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
            // A node that does not run refuses connections, and so does the relay.
            let Ok(far) = TcpStream::connect(&target).await else {
                return;
            };
            // Without this, small messages wait for each other's acknowledgement.
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
        let (mut delay, is_flaky) = match way.wait_for(|way| !is_cut(way)).await {
            Ok(way) => (way.delay, way.is_flaky),
            Err(_) => return,
        };
        if is_flaky {
            match rand::random_range(0..1_000) {
                luck if luck < FLAKY_BREAKS_PERMILLE => return,
                luck if luck < FLAKY_BREAKS_PERMILLE + FLAKY_STALLS_PERMILLE => delay += FLAKY_STALL,
                _ => {}
            }
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_for;

    /// Starts a server that answers each byte with itself. Returns its address.
    async fn echo() -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        Ok(address)
    }

    #[tokio::test]
    async fn one_more_node_is_reached_both_ways_and_a_cut_holds_one_way() -> Result<()> {
        let mut network = Network::between(&[echo().await?, echo().await?]).await?;
        network.join(echo().await?).await?;
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let mut stream = TcpStream::connect(network.address(from, to)?).await?;
            stream.write_u8(7).await?;
            assert_eq!(stream.read_u8().await?, 7, "{from} to {to}");
        }
        let mut stream = TcpStream::connect(network.address(2, 0)?).await?;
        network.cut(0, 2);
        stream.write_u8(8).await?;
        let answer = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(answer.is_err(), "what node 0 answers is held back");
        network.heal();
        assert_eq!(stream.read_u8().await?, 8);
        Ok(())
    }

    #[tokio::test]
    async fn a_flaky_network_breaks_connections_until_it_is_healed() -> Result<()> {
        let network = Network::between(&[echo().await?, echo().await?]).await?;
        let address = network.address(0, 1)?;
        network.be_flaky();
        let mut stream = TcpStream::connect(address).await?;
        while stream.write_u8(1).await.is_ok() && stream.read_u8().await.is_ok() {}
        network.heal();
        wait_for("a connection that lasts", || async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            for _ in 0..2_000 {
                stream.write_u8(1).await.ok()?;
                stream.read_u8().await.ok()?;
            }
            Some(())
        })
        .await
    }
}
