//! The state to go on with, and the operations of earlier runs.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_client::{Client, v1};

use super::applied::{Applied, ArchivedChanges, ScanError, scan};
use super::error::ImportError;
use super::identity::Source;
use super::notice::{Notice, Tell};
use super::state::{KeptOptions, State};

/// Greatest age of an epoch that is used for new operations, in milliseconds. Ids must lie within the
/// cluster's operation window (24 h by default), even at the end of a long run.
const MAX_EPOCH_AGE_MS: u64 = 12 * 60 * 60 * 1000;

/// The sources of what earlier imports did: the cluster's streams, and their archive.
pub(super) struct Earlier<'a, 's> {
    pub(super) client: &'a Client,
    pub(super) source: &'a Source,
    pub(super) archived: Option<&'a ArchivedChanges<'s>>,
}

impl Earlier<'_, '_> {
    async fn scan(
        &self,
        from_seq: &BTreeMap<u32, u64>,
        positions: &v1::GetPositionsResponse,
    ) -> Result<Applied, ScanError> {
        scan(self.client, self.source, from_seq, positions, self.archived).await
    }
}

/// Returns the state to go on with, and the operations of earlier runs. `now_ms` is this machine's time in
/// milliseconds since the Unix epoch.
///
/// # Errors
/// When the state file is damaged or of another import, or when the changes of earlier imports cannot be
/// read.
pub(super) async fn look_back(
    earlier: &Earlier<'_, '_>,
    cluster: &str,
    options: &KeptOptions,
    path: &Path,
    now_ms: u64,
    tell: &Tell<'_>,
) -> Result<(State, Applied), ImportError> {
    let source = earlier.source;
    let known = State::load(path, source.file(), cluster, options)?;
    let positions = earlier.client.get_positions(v1::GetPositionsRequest {}).await?;
    let (mut state, applied) = match known {
        Some(state) => {
            let applied = earlier.scan(&state.from_seq, &positions).await?;
            (state, applied)
        }
        None => {
            tell(Notice::NoStateFile);
            let mut from_seq = BTreeMap::new();
            let applied = earlier.scan(&from_seq, &positions).await?;
            if applied.len() == 0 {
                from_seq = positions
                    .shards
                    .iter()
                    .map(|position| (position.shard, position.last_seq + 1))
                    .collect();
            }
            let epoch_ms = applied.latest_epoch_ms().unwrap_or(now_ms);
            (
                State::new(source.file(), cluster, options.clone(), epoch_ms, from_seq),
                applied,
            )
        }
    };
    let before = applied.count_of_this_file();
    if before > 0 {
        tell(Notice::AppliedBefore(before));
    }
    if now_ms.saturating_sub(state.epoch_ms) > MAX_EPOCH_AGE_MS {
        // The change stream shows what took effect, and nothing that was sent so long ago is still under way.
        tell(Notice::NewIds);
        state.epoch_ms = now_ms;
    }
    state.finished = false;
    Ok((state, applied))
}
