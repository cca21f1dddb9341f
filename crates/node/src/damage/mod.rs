//! The treatment of a data folder whose bytes differ from what was written.
//!
//! ```text
//!  damage at a start ──> does every shard this node had answer without it? ──no──> the start is refused
//!                                    │ yes
//!                                    v
//!  the files move to damaged/<n> ──> the node starts empty, with another disk id ──> peers send it replicas
//! ```
//!
//! A replica that lost an entry it confirmed must not vote. So a damaged folder is treated as a lost disk.
//! The node never votes with it again, and the directory gives the node replicas under new generations, which
//! learn before they vote (`directory`). If a majority is damaged at once, this would end the cluster: every
//! damaged node would put aside data that the others lack. So the files stay where they are unless every
//! shard that the node had shows a quorum without it.

mod aside;
mod quorum;

pub(crate) use aside::{count, was_put_aside};

use std::time::Duration;

use tokio::time::Instant;

use crate::NodeConfig;
use crate::directory::MembershipStartError;
use crate::start_error::StartError;
use crate::stores::StoresError;

/// Longest time that a node with a damaged folder waits for the others to show that they do without it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest time that closing the files of a failed start may take.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

/// Returns whether a start failed because bytes on the disk differ from what was written.
pub(crate) fn is_damage(error: &StartError) -> bool {
    match error {
        StartError::Stores(error) => in_stores(error),
        StartError::Membership(MembershipStartError::Stores(error)) => in_stores(error),
        StartError::Membership(MembershipStartError::Part(_)) => true,
        StartError::Membership(MembershipStartError::Replica(error)) => {
            matches!(error, holdfast_shard::StartError::Damaged { .. })
        }
        _ => false,
    }
}

fn in_stores(error: &StoresError) -> bool {
    match error {
        StoresError::Log(error) => error.is_damage(),
        StoresError::Facts(error) => error.is_damage(),
        StoresError::Snapshots { source, .. } => source.is_damage(),
        StoresError::Changes { source, .. } => source.is_damage(),
        _ => false,
    }
}

/// Moves a damaged folder's files out of the way, if the other nodes do without them.
///
/// # Errors
/// [`StartError::Damaged`] says why the node must not start, and what to do. The files then stay where they
/// were, unless moving them failed half way.
pub(crate) async fn replace(config: &NodeConfig, damage: StartError) -> Result<(), StartError> {
    tracing::error!(%damage, "the data folder is damaged, so this node asks the others whether they can do without it");
    let refused = |why: String| StartError::Damaged {
        damage: damage.to_string(),
        why,
    };
    let data_dir = &config.node.data_dir;
    if count(data_dir) >= aside::MOST {
        return Err(refused(format!(
            "{} damaged folders were put aside below {} before this one: replace the disk",
            aside::MOST,
            aside::folder(data_dir).display()
        )));
    }
    quorum::others_do_without(config, PATIENCE)
        .await
        .map_err(&refused)?;
    let until = Instant::now() + CLOSING_PATIENCE;
    let aside = loop {
        let (data_dir, said) = (data_dir.clone(), damage.to_string());
        let moved = tokio::task::spawn_blocking(move || aside::put_aside(&data_dir, &said)).await;
        match moved.map_err(|error| refused(error.to_string()))? {
            Ok(aside) => break aside,
            // The files that the failed start had open are still being closed.
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(refused(format!("its files cannot be moved: {error}"))),
        }
    };
    tracing::error!(
        %damage,
        aside = %aside.display(),
        "the damaged data is put aside, and this node starts empty and gets its replicas from the others"
    );
    Ok(())
}
