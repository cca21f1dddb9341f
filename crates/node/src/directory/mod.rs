//! The directory: the members of the cluster, the places of the replicas, and this node's part in both.
//!
//! ```text
//!  founding ──> directory (a Raft group of all nodes) ──> seats: this node's replicas come and go
//!  (or joining)      ^                └──> peers, topology
//!                    └── lead: the directory's leader plans moves; a shard's leader makes them, step by step
//! ```
//! - [`state`] is the state machine that the nodes agree on; [`plan`] decides where replicas should be. Both
//!   are pure.
//! - [`founding`] gives a node its part. The first nodes agree on a genesis; later ones introduce themselves
//!   and wait until an operator admits them. **A node takes part under the identity of its disk.** A node
//!   that comes back with an empty disk is recognized by the disk's id. It gets replicas under new numbers,
//!   which begin as learners: so it can never deny what it confirmed and forgot.
//! - [`seats`] starts and ends this node's replicas as the directory says.
//! - [`mod@lead`] does the work of leaders.

mod founding;
mod lead;
pub(crate) mod members;
pub(crate) mod plan;
mod seats;
pub(crate) mod state;

pub(crate) use founding::members_heard;
pub(crate) use lead::lead;
pub(crate) use seats::{keep_seats, take_part};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use holdfast_shard::{PeerTransport, RegisterHandle, ShardHandle, SubmitError, Threads};
use holdfast_storage::NodeFacts;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::members::{Directory, DirectoryAnswer, DirectoryCommand, Genesis, Newcomer, NodeAddress};
use self::state::{decode, encode};
use crate::NodeConfig;
use crate::config::PeerSection;
use crate::peers::{Identity, Peers};
use crate::stores::{Stores, StoresError};
use crate::tasks::Tasks;

/// The number of the directory's group in messages between nodes, where shards have their own numbers.
pub(crate) const DIRECTORY: u32 = u32::MAX;

/// The key of a node's part in its cluster, among the node's facts.
const PART: &str = "part in the cluster";

/// How long a node counts as waiting after its last introduction.
const WAITING_PATIENCE: Duration = Duration::from_secs(10);

/// The record of a node's part in its cluster, kept on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MembershipRecord {
    /// Generation of this node's replica of the directory.
    generation: u32,
    /// The genesis of the cluster, if this node is a founder.
    genesis: Option<Genesis>,
    /// The replicas on this node's disk: shard and generation.
    seats: BTreeMap<u32, u32>,
    /// The version of the directory that decided `seats`. After a restart the node may read older versions of
    /// the directory again. What they say about replicas no longer holds: a replica that was erased since
    /// must never start again.
    seats_version: u64,
}

/// Returns the shards of which the node's disk remembers a replica; `None` when that cannot be read. Blocks.
pub(crate) fn seats_on_disk(config: &NodeConfig) -> Option<BTreeSet<u32>> {
    let folder = crate::stores::facts_folder(&config.node.data_dir);
    if !folder.exists() {
        return None;
    }
    let facts = NodeFacts::open(&folder).ok()?;
    facts.get().ok()??;
    match facts.kept(PART).ok()? {
        // This node never had a part in a cluster, so it never confirmed anything.
        None => Some(BTreeSet::new()),
        Some(part) => Some(
            decode::<MembershipRecord>(&part)
                .ok()?
                .seats
                .into_keys()
                .collect(),
        ),
    }
}

/// This node's membership in the cluster. Shared by all code that asks the directory or serves calls.
pub(crate) struct Membership {
    pub(crate) identity: Identity,
    own: Newcomer,
    config: NodeConfig,
    /// The nodes of the configuration, with this node's bound ports filled in.
    configured: Vec<PeerSection>,
    threads: Threads,
    stores: Stores,
    peers: Peers,
    tasks: Tasks,
    stopping: CancellationToken,
    transport: Arc<dyn PeerTransport>,
    shards: Arc<[ShardHandle]>,
    part: Mutex<Option<MembershipRecord>>,
    register: RwLock<Option<RegisterHandle<Directory>>>,
    view: watch::Sender<Arc<Directory>>,
    nodes: RwLock<Arc<[PeerSection]>>,
    waiting: Mutex<BTreeMap<u64, (Newcomer, Instant)>>,
    /// The obstacle to a part in the cluster, if there is one.
    obstacle: Mutex<Option<String>>,
    /// Whether the directory has named this node since it started.
    was_member: AtomicBool,
    fatal: watch::Sender<Option<String>>,
}

/// The pieces that a [`Membership`] is made of.
pub(crate) struct MembershipParts {
    pub(crate) identity: Identity,
    pub(crate) config: NodeConfig,
    pub(crate) configured: Vec<PeerSection>,
    pub(crate) threads: Threads,
    pub(crate) stores: Stores,
    pub(crate) peers: Peers,
    pub(crate) tasks: Tasks,
    pub(crate) stopping: CancellationToken,
}

/// The reason why this node cannot take its part.
#[derive(Debug, thiserror::Error)]
pub enum MembershipStartError {
    /// The node's disk cannot be used.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// The node's record of its part cannot be read.
    #[error(
        "this node's part in the cluster is not readable on its disk: {0}; empty its data folder and let it join again"
    )]
    Part(String),
    /// A replica did not start.
    #[error(transparent)]
    Replica(#[from] holdfast_shard::StartError),
    /// An address is not valid.
    #[error(transparent)]
    Address(#[from] crate::peers::PeerAddressError),
    /// The start of a replica panicked.
    #[error("starting a replica failed: {0}")]
    Defect(String),
}

impl Membership {
    /// Returns a membership without a part yet, or with the part that the disk remembers.
    pub(crate) fn new(parts: MembershipParts) -> Result<Arc<Self>, MembershipStartError> {
        let MembershipParts {
            identity,
            config,
            configured,
            threads,
            stores,
            peers,
            tasks,
            stopping,
        } = parts;
        let disk_id = stores.facts.disk_id().map_err(StoresError::Facts)?;
        let part = stores.facts.kept(PART).map_err(StoresError::Facts)?;
        let part: Option<MembershipRecord> = part
            .map(|bytes| decode(&bytes))
            .transpose()
            .map_err(MembershipStartError::Part)?;
        let place = configured
            .iter()
            .find(|node| node.node_id == identity.node_id)
            .map(|node| NodeAddress {
                client_address: node.client_address.clone(),
                peer_address: node.peer_address.clone(),
                admin_address: node.admin_address.clone().unwrap_or_default(),
                zone: config.node.zone.clone(),
            });
        let own = Newcomer {
            node_id: identity.node_id,
            disk_id,
            address: place.unwrap_or_default(),
        };
        let transport: Arc<dyn PeerTransport> = Arc::new(peers.clone());
        let shards = (0..config.shards.count)
            .map(|shard| ShardHandle::elsewhere(shard, identity.node_id, Arc::clone(&transport)))
            .collect();
        let membership = Self {
            identity,
            own,
            nodes: RwLock::new(configured.clone().into()),
            config,
            configured,
            threads,
            stores,
            peers,
            tasks,
            stopping,
            transport,
            shards,
            part: Mutex::new(part),
            register: RwLock::new(None),
            view: watch::Sender::new(Arc::default()),
            waiting: Mutex::default(),
            obstacle: Mutex::new(Some("the node has no part in a cluster yet".to_owned())),
            was_member: AtomicBool::new(false),
            fatal: watch::Sender::new(None),
        };
        membership.peers.set_nodes(&membership.configured)?;
        Ok(Arc::new(membership))
    }

    /// Returns all shards in order, whether or not this node has replicas of them.
    pub(crate) fn shards(&self) -> &Arc<[ShardHandle]> {
        &self.shards
    }

    /// Returns the nodes of the cluster, as far as they are known.
    pub(crate) fn nodes(&self) -> Arc<[PeerSection]> {
        Arc::clone(&self.nodes.read())
    }

    /// Returns the directory as this node has it.
    pub(crate) fn view(&self) -> Arc<Directory> {
        Arc::clone(&self.view.borrow())
    }

    /// Returns the directory's group, once this node is in it.
    pub(crate) fn register(&self) -> Option<RegisterHandle<Directory>> {
        self.register.read().clone()
    }

    /// Returns the obstacle to a part in the cluster, if there is one.
    pub(crate) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().clone()
    }

    /// Returns the nodes that introduced themselves and are not members with this disk, in order of their
    /// ids.
    pub(crate) fn waiting(&self) -> Vec<Newcomer> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (_, at)| at.elapsed() < WAITING_PATIENCE);
        let members = self.view();
        let strangers = waiting.values().filter(|(newcomer, _)| {
            let member = members.members.get(&newcomer.node_id);
            member.is_none_or(|member| member.disk_id != newcomer.disk_id)
        });
        strangers.map(|(newcomer, _)| newcomer.clone()).collect()
    }

    /// Returns the members that can be reached from here, including this node.
    pub(crate) fn live(&self) -> BTreeSet<u64> {
        let view = self.view();
        let live = view.members.keys().filter(|node| self.peers.is_reachable(**node));
        live.copied().collect()
    }

    /// Sends a command to the directory, and returns whether it changed anything.
    ///
    /// # Errors
    /// The directory's refusal, or the reason why it did not answer.
    pub(crate) async fn ask(&self, command: &DirectoryCommand, deadline: Instant) -> Result<bool, AskError> {
        let register = self.register().ok_or(AskError::NoPart)?;
        let answer = register.propose(encode(command), deadline).await?;
        let answer: DirectoryAnswer = decode(&answer).map_err(AskError::Refused)?;
        answer.map_err(AskError::Refused)
    }

    /// Waits until this node must stop, and returns the reason.
    pub(crate) async fn fatal(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        let reason = match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Starts a task that ends with the node.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(name, async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    fn must_stop(&self, why: String) {
        self.fatal.send_replace(Some(why));
    }

    fn remember(&self, change: impl FnOnce(&mut MembershipRecord)) -> Result<(), StoresError> {
        let part = {
            let mut part = self.part.lock();
            if let Some(part) = part.as_mut() {
                change(part);
            }
            part.clone()
        };
        match part {
            Some(part) => Ok(self.stores.facts.keep(PART, &encode(&part))?),
            None => Ok(()),
        }
    }

    /// Answers another node's introduction.
    pub(crate) fn introduced(&self, from: u64, payload: &[u8]) -> Result<Bytes, String> {
        founding::answer(self, from, payload).map(|heard| encode(&heard))
    }

    /// Hands over the leadership of the directory, before this node stops.
    pub(crate) async fn hand_over(&self) {
        if let Some(register) = self.register() {
            register.hand_over().await;
        }
    }

    /// Ends this node's replica of the directory. The owners of the shards' handles end those of the shards.
    pub(crate) async fn stop(&self) {
        let register = self.register.write().take();
        if let Some(register) = register {
            register.stop().await;
        }
    }
}

/// The reason why the directory did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// The directory refuses the command.
    #[error("{0}")]
    Refused(String),
    /// This node has no part in the directory's group yet.
    #[error("this node has no part in a cluster yet")]
    NoPart,
    /// The directory did not answer.
    #[error("the directory of the cluster did not decide: {0}")]
    Unanswered(#[from] SubmitError),
}

/// Returns a node as the configuration would list it.
fn peer_section(node_id: u64, address: &NodeAddress) -> PeerSection {
    PeerSection {
        node_id,
        client_address: address.client_address.clone(),
        peer_address: address.peer_address.clone(),
        admin_address: Some(address.admin_address.clone()).filter(|address| !address.is_empty()),
    }
}
