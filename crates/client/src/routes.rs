//! The client's knowledge of the cluster: which node leads which shard.

use std::time::{Duration, Instant};

use holdfast_api::slots::{SLOTS, slot_of};
use holdfast_api::v1;
use parking_lot::RwLock;

use crate::ClientOptions;

/// The destination of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// Any node.
    Any,
    /// The leader of this shard answers fastest.
    Shard(u32),
    /// The leader of this SKU's shard answers fastest.
    Sku(&'a str),
}

impl<'a> Route<'a> {
    /// Returns any node for a stale read, so that stale reads are spread over the nodes.
    pub(crate) fn unless_stale(self, consistency: i32) -> Self {
        if consistency == i32::from(v1::Consistency::Stale) {
            Self::Any
        } else {
            self
        }
    }

    pub(crate) fn of_lines(lines: &'a [v1::ReserveLine]) -> Self {
        lines.first().map_or(Self::Any, |line| Self::Sku(&line.sku))
    }

    pub(crate) fn of_key(key: Option<&v1::ReservationKey>) -> Self {
        key.and_then(|key| key.shard).map_or(Self::Any, Self::Shard)
    }

    pub(crate) fn of_transfer(key: Option<&v1::TransferKey>) -> Self {
        key.and_then(|key| key.shard).map_or(Self::Any, Self::Shard)
    }

    pub(crate) fn of_return(what: Option<&'a v1::return_request::What>) -> Self {
        match what {
            Some(v1::return_request::What::Reservation(part)) => Self::of_key(part.reservation.as_ref()),
            Some(v1::return_request::What::Unreferenced(goods)) => Self::Sku(&goods.sku),
            None => Self::Any,
        }
    }

    pub(crate) fn of_item(request: Option<&'a v1::batch_item::Request>) -> Self {
        use v1::batch_item::Request;
        match request {
            Some(Request::Reserve(request)) => Self::of_lines(&request.lines),
            Some(Request::Extend(request)) => Self::of_key(request.reservation.as_ref()),
            Some(Request::Commit(request)) => Self::of_key(request.reservation.as_ref()),
            Some(Request::Release(request)) => Self::of_key(request.reservation.as_ref()),
            Some(Request::Ship(request)) => Self::of_key(request.reservation.as_ref()),
            Some(Request::Cancel(request)) => Self::of_key(request.reservation.as_ref()),
            Some(Request::ReturnGoods(request)) => Self::of_return(request.what.as_ref()),
            Some(Request::Receive(request)) => Self::Sku(&request.sku),
            None => Self::Any,
        }
    }
}

/// Returns the shard that has a SKU, by this topology. Returns None for a topology with another number of
/// slots, too.
pub fn shard_of(topology: &v1::GetTopologyResponse, sku: &str) -> Option<u32> {
    if topology.slots != u32::from(SLOTS) {
        return None;
    }
    let slot = u32::from(slot_of(sku));
    let owner = topology
        .shards
        .iter()
        .find(|shard| (shard.first_slot..=shard.last_slot).contains(&slot))?;
    Some(owner.shard)
}

/// The scheme of node addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn of(options: &ClientOptions) -> Self {
        if options.tls.is_some() {
            Self::Https
        } else {
            Self::Http
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The last topology that was received.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    scheme: Scheme,
    /// True when nobody is asked for the topology.
    fixed: bool,
    known: RwLock<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    topology: v1::GetTopologyResponse,
    at: Instant,
    /// True when a call found the topology wrong.
    doubted: bool,
}

impl Routes {
    pub(crate) fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            ..Self::default()
        }
    }

    /// Makes routes to the given endpoints only, because these nodes have no topology to tell.
    pub(crate) fn fixed() -> Self {
        Self {
            fixed: true,
            ..Self::default()
        }
    }

    /// Returns a node's address as an endpoint.
    pub(crate) fn with_scheme(&self, client_address: &str) -> String {
        format!("{}://{client_address}", self.scheme.as_str())
    }

    pub(crate) fn learn(&self, topology: v1::GetTopologyResponse) {
        *self.known.write() = Some(Known {
            topology,
            at: Instant::now(),
            doubted: false,
        });
    }

    /// Marks the topology as doubtful, because a leader did not answer as one. It is asked for again before
    /// it is relied on.
    pub(crate) fn doubt(&self) {
        if let Some(known) = self.known.write().as_mut() {
            known.doubted = true;
        }
    }

    /// Returns whether the topology should be asked for. A doubted one is asked for at most once in
    /// `doubt_pause`.
    pub(crate) fn needs_asking(&self, max_age: Duration, doubt_pause: Duration) -> bool {
        match self.known.read().as_ref() {
            None => !self.fixed,
            Some(known) => known.at.elapsed() > if known.doubted { doubt_pause } else { max_age },
        }
    }

    pub(crate) fn topology(&self) -> Option<v1::GetTopologyResponse> {
        self.known.read().as_ref().map(|known| known.topology.clone())
    }

    pub(crate) fn shard(&self, route: Route<'_>) -> Option<u32> {
        match route {
            Route::Any => None,
            Route::Shard(shard) => Some(shard),
            Route::Sku(sku) => shard_of(&self.known.read().as_ref()?.topology, sku),
        }
    }

    /// Returns the address of the node that leads the shard, as an endpoint.
    pub(crate) fn leader(&self, shard: u32) -> Option<String> {
        let known = self.known.read();
        let topology = &known.as_ref()?.topology;
        let leader = topology
            .shards
            .iter()
            .find(|candidate| candidate.shard == shard)?
            .leader_node_id;
        let node = topology.nodes.iter().find(|node| node.node_id == leader)?;
        self.usable_address(&node.client_address)
    }

    /// Returns the addresses of all nodes.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let known = self.known.read();
        let nodes = known
            .as_ref()
            .map(|known| known.topology.nodes.as_slice())
            .unwrap_or_default();
        nodes
            .iter()
            .filter_map(|node| self.usable_address(&node.client_address))
            .collect()
    }

    /// Returns the address if it can be used. A node that listens on all its interfaces may report that
    /// instead of its address.
    fn usable_address(&self, client_address: &str) -> Option<String> {
        let host = client_address.rsplit_once(':')?.0;
        let wildcard = matches!(host, "" | "0.0.0.0" | "[::]" | "::");
        (!wildcard).then(|| self.with_scheme(client_address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> v1::GetTopologyResponse {
        let node = |node_id: u64, client_address: &str| v1::Node {
            node_id,
            client_address: client_address.to_owned(),
            reachable: true,
            admin_address: String::new(),
        };
        let shard = |shard: u32, leader_node_id: u64, first_slot: u32, last_slot: u32| v1::Shard {
            shard,
            leader_node_id,
            voters: vec![1, 2],
            first_slot,
            last_slot,
        };
        v1::GetTopologyResponse {
            nodes: vec![node(1, "127.0.0.1:7411"), node(2, "0.0.0.0:7411")],
            shards: vec![shard(0, 1, 0, 2047), shard(1, 2, 2048, 4094)],
            slots: 4096,
            ..Default::default()
        }
    }

    #[test]
    fn a_sku_goes_to_the_shard_that_owns_its_slot() {
        let topology = topology();
        for sku in ["SHIRT-1", "85123A", "A", "HAT"] {
            let expected = match slot_of(sku) {
                0..=2047 => Some(0),
                2048..=4094 => Some(1),
                _ => None,
            };
            assert_eq!(shard_of(&topology, sku), expected);
        }
        assert_eq!(shard_of(&v1::GetTopologyResponse::default(), "A"), None);
    }

    #[test]
    fn a_leader_without_a_usable_address_is_not_gone_to() {
        let routes = Routes::default();
        assert_eq!(routes.leader(0), None);
        routes.learn(topology());
        assert_eq!(routes.leader(0), Some("http://127.0.0.1:7411".to_owned()));
        assert_eq!(routes.leader(1), None);
        assert_eq!(routes.leader(7), None);
        assert_eq!(routes.addresses(), ["http://127.0.0.1:7411"]);
        let routes = Routes::new(Scheme::Https);
        routes.learn(topology());
        assert_eq!(routes.leader(0), Some("https://127.0.0.1:7411".to_owned()));
    }
}
