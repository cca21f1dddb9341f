//! The beginning of an import, up to its plan. Nothing is sent yet.

use std::fs::File;

use holdfast_client::{Client, v1};
use uuid::Uuid;

use super::applied::{Applied, ArchivedChanges};
use super::error::ImportError;
use super::known::Known;
use super::look_back::{Earlier, look_back};
use super::notice::Tell;
use super::order_file::OrderFile;
use super::paths::{ImportFiles, Paths, take_turn};
use super::plan::{Plan, plan};
use super::state::State;

/// An import that has its source to itself, and no plan yet.
#[derive(Debug)]
pub struct Import {
    client: Client,
    orders: OrderFile,
    topology: v1::GetTopologyResponse,
    /// Id of the cluster, as text.
    cluster: String,
    paths: Paths,
    /// The lock of the source.
    turn: File,
}

/// An import that can be run.
#[derive(Debug)]
pub struct PlannedImport {
    pub(super) client: Client,
    pub(super) orders: OrderFile,
    pub(super) paths: Paths,
    pub(super) turn: File,
    pub(super) state: State,
    pub(super) applied: Applied,
    pub(super) known: Known,
    pub(super) plan: Plan,
}

impl Import {
    /// Begins the import of a file into the cluster of this client. No other import of the source can begin
    /// until this one is dropped.
    ///
    /// # Errors
    /// When the cluster does not answer, when the files cannot be used, or when another import of the source
    /// runs.
    pub async fn begin(client: &Client, orders: OrderFile, files: &ImportFiles) -> Result<Self, ImportError> {
        let topology = client.refresh_topology().await?;
        check_whole(&topology)?;
        let cluster = id_text(&topology.cluster_id);
        let paths = Paths::choose(&orders.path, files, &orders.source, &cluster)?;
        let turn = take_turn(&paths.state, &orders.source, &cluster)?;
        Ok(Self {
            client: client.clone(),
            orders,
            topology,
            cluster,
            paths,
            turn,
        })
    }

    /// Returns the id of the cluster.
    pub fn cluster_id(&self) -> &[u8] {
        &self.topology.cluster_id
    }

    /// Finds out what earlier imports did, and plans what is left. `now_ms` is this machine's time in
    /// milliseconds since the Unix epoch. It becomes part of every operation id of an import that begins.
    ///
    /// # Errors
    /// When the state file or the changes of earlier imports cannot be read, or when they show that the file
    /// was imported in another way.
    pub async fn plan(
        self,
        now_ms: u64,
        archived: Option<&ArchivedChanges<'_>>,
        tell: &Tell<'_>,
    ) -> Result<PlannedImport, ImportError> {
        let Self {
            client,
            orders,
            topology,
            cluster,
            paths,
            turn,
        } = self;
        let earlier = Earlier {
            client: &client,
            source: &orders.source,
            archived,
        };
        let (state, applied) =
            look_back(&earlier, &cluster, &orders.kept, &paths.state, now_ms, tell).await?;
        let options = &orders.options;
        let known = Known::find(&orders.rows.rows, &orders.source, &applied, options.best_effort);
        if let Some(document) = known.foreign() {
            return Err(ImportError::ImportedOtherwise {
                document: document.to_owned(),
            });
        }
        let plan = plan(&orders.rows, &topology, &options.of_plan(), &known);
        Ok(PlannedImport {
            client,
            orders,
            paths,
            turn,
            state,
            applied,
            known,
            plan,
        })
    }
}

/// Checks that every slot has a shard. Otherwise rows would be rejected because the topology is incomplete at
/// the moment.
fn check_whole(topology: &v1::GetTopologyResponse) -> Result<(), ImportError> {
    let slots = topology.slots;
    let owned: u64 = topology
        .shards
        .iter()
        .map(|shard| u64::from(shard.last_slot.saturating_sub(shard.first_slot)) + 1)
        .sum();
    if slots == 0 || owned != u64::from(slots) {
        return Err(ImportError::TopologyNotWhole { owned, slots });
    }
    Ok(())
}

/// Returns an id as text: a UUID, or hexadecimal digits when it is not one.
fn id_text(id: &[u8]) -> String {
    Uuid::from_slice(id).map_or_else(
        |_| id.iter().map(|byte| format!("{byte:02x}")).collect(),
        |id| id.to_string(),
    )
}
