//! Takes a backup of a running cluster.
//!
//! ```text
//!  find leaders ─ a session with each ─ all: freeze ─ all frozen ─ all: cut ─ all cut ─ files ─ manifest
//!       ^                                     │                        │
//!       └─── once more, from the beginning ───┴──── one was refused ───┘
//! ```
//!
//! Between the last `frozen` and the first `cut` there is a moment. Each shard stood still from before this
//! moment until after it, so the ledgers show this moment. The proof needs no assumption about clocks or
//! durations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use futures::future::try_join_all;
use holdfast_client::v1::take_request::Step;
use holdfast_client::v1::take_response::Answer;
use holdfast_client::{BackupSession, Client, ClientError, Code, v1};
use holdfast_lake::Upload;
use uuid::Uuid;

use crate::backups::check_name;
use crate::manifest::FORMAT_VERSION;
use crate::{BackupError, Backups, Digest, Manifest, SavedOptions, ShardManifest};

/// The number of times that the shards are asked to stand still. Elections, other backups and starved
/// machines can make an attempt fail.
const ATTEMPTS: u32 = 20;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the answer to a freeze or a cut may take. It is longer than a freeze lasts.
const STEP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node may take between two pieces of a copy. It writes a large copy to its disk first.
const PIECE_PATIENCE: Duration = Duration::from_secs(600);

/// A session and the shards of which it has copies.
struct Source {
    session: BackupSession,
    version: String,
    shards: Vec<v1::ShardCut>,
}

/// Takes a backup of all shards, as they are at one moment, and writes it to `place`. Without a name, the
/// present time becomes its name. The backup is complete when this returns. An interrupted one is never
/// mistaken for a backup.
///
/// # Errors
/// [`BackupError`]. The cluster goes on as before.
pub async fn take(client: &Client, backups: &Backups, name: Option<&str>) -> Result<Manifest, BackupError> {
    let backup_id = Uuid::now_v7();
    let created_at = created_at(backup_id);
    let name = name.map_or_else(|| created_at.replace(['-', ':'], ""), str::to_owned);
    check_name(&name)?;
    if backups.has_files(&name).await? {
        return Err(BackupError::Exists { name });
    }
    let (cluster_id, mut sources) = cut_all(client).await?;
    let versions: BTreeSet<String> = sources.iter().map(|source| source.version.clone()).collect();
    let cuts = || sources.iter().flat_map(|source| &source.shards);
    let shard_count = cuts().count() as u32;
    let frozen_us = cuts().map(|cut| cut.frozen_us).max().unwrap_or(0);
    let ledger = common_options(cuts())?;

    // The name is claimed before the first file, because another backup under this name would write the same
    // files.
    backups.claim(&name, backup_id).await?;
    let written = sources.iter_mut().map(|source| write_all(source, backups, &name));
    let mut shards: Vec<ShardManifest> = try_join_all(written).await?.into_iter().flatten().collect();
    shards.sort_by_key(|shard| shard.shard);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        backup_id,
        name,
        created_at,
        cluster_id,
        node_versions: versions.into_iter().collect(),
        shard_count,
        ledger,
        frozen_us,
        shards,
    };
    backups.finish(&manifest).await?;
    Ok(manifest)
}

/// Returns the time in an id, to the second.
fn created_at(backup_id: Uuid) -> String {
    let seconds = backup_id.get_timestamp().map_or(0, |time| time.to_unix().0);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

fn unexpected(message: impl Into<String>) -> BackupError {
    BackupError::Cluster(ClientError::Unexpected {
        code: Code::Internal,
        message: message.into(),
    })
}

fn common_options<'a>(cuts: impl Iterator<Item = &'a v1::ShardCut>) -> Result<SavedOptions, BackupError> {
    let options: Vec<SavedOptions> = cuts
        .filter_map(|cut| cut.options.as_ref())
        .map(|options| SavedOptions {
            operation_window_ms: options.operation_window_ms,
            operation_lead_ms: options.operation_lead_ms,
            closed_retention_ms: options.closed_retention_ms,
            shipped_retention_ms: options.shipped_retention_ms,
            order_decision_ms: options.order_decision_ms,
        })
        .collect();
    match options.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => Ok(*first),
        _ => Err(unexpected("the shards were made with different ledger options")),
    }
}

/// Copies all shards as they are at one moment, each in the memory of its leader.
async fn cut_all(client: &Client) -> Result<(Uuid, Vec<Source>), BackupError> {
    let mut attempt = 1;
    loop {
        match try_cut_all(client).await {
            Ok(cut) => return Ok(cut),
            Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                tracing::debug!(attempt, %error, "the shards did not stand still together");
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unavailable { .. } => true,
        ClientError::Refused(refusal) => holdfast_client::is_retryable(refusal.reason()),
        _ => false,
    }
}

async fn try_cut_all(client: &Client) -> Result<(Uuid, Vec<Source>), ClientError> {
    let topology = client.refresh_topology().await?;
    let leaders = leaders(&topology)?;
    let nodes = &topology.nodes;
    let sessions = leaders.keys().map(|node_id| async move {
        let known = nodes.iter().find(|node| node.node_id == *node_id);
        let node = known
            .ok_or_else(|| passing(format!("the cluster does not know the address of node {node_id}")))?;
        let address = client.admin_address_of(node).ok_or_else(|| {
            ClientError::Options(format!(
                "the admin port of node {node_id} is not known: write its admin_address into `peers`"
            ))
        })?;
        client.backup_session(&address).await
    });
    let sessions = try_join_all(sessions).await?;
    let freezing = sessions
        .into_iter()
        .zip(leaders.values())
        .map(|(mut session, shards)| async {
            let freeze = Step::Freeze(v1::FreezeShards {
                shards: shards.clone(),
            });
            match step(&mut session, freeze).await? {
                Answer::Frozen(frozen) => Ok((session, frozen.version)),
                other => Err(wrong_answer("freeze", &other)),
            }
        });
    // No shard is cut before all stand still: the backup shows a moment in between.
    let frozen: Vec<(BackupSession, String)> = try_join_all(freezing).await?;
    let cutting = frozen
        .into_iter()
        .zip(leaders.values())
        .map(|((mut session, version), shards)| async {
            match step(&mut session, Step::Cut(v1::CutShards {})).await? {
                Answer::Cut(cut) if cut.shards.iter().map(|cut| cut.shard).eq(shards.iter().copied()) => {
                    Ok(Source {
                        session,
                        version,
                        shards: cut.shards,
                    })
                }
                other => Err(wrong_answer("cut", &other)),
            }
        });
    let sources = try_join_all(cutting).await?;
    let cluster_id = Uuid::from_slice(&topology.cluster_id).unwrap_or_default();
    Ok((cluster_id, sources))
}

/// Returns the shards of each node that leads any, in order.
fn leaders(topology: &v1::GetTopologyResponse) -> Result<BTreeMap<u64, Vec<u32>>, ClientError> {
    let mut leaders: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for shard in &topology.shards {
        if shard.leader_node_id == 0 {
            return Err(passing(format!("shard {} has no leader", shard.shard)));
        }
        leaders.entry(shard.leader_node_id).or_default().push(shard.shard);
    }
    leaders.values_mut().for_each(|shards| shards.sort_unstable());
    Ok(leaders)
}

fn passing(message: String) -> ClientError {
    ClientError::Unavailable { message }
}

fn wrong_answer(to: &str, answer: &Answer) -> ClientError {
    ClientError::Unexpected {
        code: Code::Internal,
        message: format!("a node answered {to} with {}", name_of(answer)),
    }
}

fn name_of(answer: &Answer) -> &'static str {
    match answer {
        Answer::Frozen(_) => "frozen",
        Answer::Cut(_) => "a cut of other shards",
        Answer::Chunk(_) => "a chunk",
        Answer::Sent(_) => "sent",
    }
}

async fn step(session: &mut BackupSession, step: Step) -> Result<Answer, ClientError> {
    // If a step cannot be sent, the answer has the reason.
    let sent = session.step(step).await;
    match tokio::time::timeout(STEP_PATIENCE, session.answer()).await {
        Ok(Ok(answer)) => sent.map(|()| answer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(passing("a node did not answer in time".to_owned())),
    }
}

/// Writes the copies of a session, one shard after the other.
async fn write_all(
    source: &mut Source,
    backups: &Backups,
    name: &str,
) -> Result<Vec<ShardManifest>, BackupError> {
    let mut written = Vec::new();
    for cut in &source.shards {
        let send = Step::Send(v1::SendShard { shard: cut.shard });
        source.session.step(send).await?;
        let file = Manifest::file_of(cut.shard);
        let (bytes, state_digest) = write_one(&mut source.session, cut.shard, backups, name, &file).await?;
        written.push(ShardManifest {
            shard: cut.shard,
            file,
            bytes,
            state_digest,
            term: cut.term,
            log_index: cut.log_index,
            log_time_ms: cut.log_time_ms,
            last_seq: cut.last_seq,
        });
    }
    Ok(written)
}

async fn write_one(
    session: &mut BackupSession,
    shard: u32,
    backups: &Backups,
    name: &str,
    file: &str,
) -> Result<(u64, Digest), BackupError> {
    let mut upload = backups.location().upload(&backups.path(name, file));
    match receive(session, shard, &mut upload).await {
        Ok(copied) => {
            upload.finish().await?;
            Ok(copied)
        }
        Err(error) => {
            if let Err(error) = upload.abort().await {
                tracing::warn!(shard, %error, "the store may keep parts of a copy that was given up");
            }
            Err(error)
        }
    }
}

/// Receives a copy and adds it to a file. Returns its size and its digest, which the node has confirmed.
async fn receive(
    session: &mut BackupSession,
    shard: u32,
    upload: &mut Upload,
) -> Result<(u64, Digest), BackupError> {
    let mut hasher = blake3::Hasher::new();
    let sent = loop {
        let answer = tokio::time::timeout(PIECE_PATIENCE, session.answer()).await;
        match answer.map_err(|_| passing("a node stopped sending a copy".to_owned()))?? {
            Answer::Chunk(chunk) => {
                hasher.update(&chunk);
                upload.write(chunk).await?;
            }
            Answer::Sent(sent) => break sent,
            other => return Err(wrong_answer("send", &other).into()),
        }
    };
    let (bytes, digest) = (hasher.count(), Digest(*hasher.finalize().as_bytes()));
    let differs = |what: &str| BackupError::Transfer {
        shard,
        what: what.to_owned(),
    };
    if sent.bytes != bytes {
        return Err(differs("its size is wrong"));
    }
    if sent.state_digest != digest.0.as_slice() {
        return Err(differs("the digest of its bytes is not that of the ledger"));
    }
    Ok((bytes, digest))
}
