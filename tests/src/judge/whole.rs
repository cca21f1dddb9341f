//! The judgement of a whole run, when it is over.

use anyhow::{Result, bail};

use super::{Judged, judge, streams};
use crate::Cluster;
use crate::accounts::account_for;
use crate::history::History;
use crate::load::Seen;

/// Checks that everything acknowledged is there, that the ledger proves itself, and that the answers to
/// clients can be true. Returns how much was judged, and how many changes are the same on all nodes.
///
/// # Errors
/// Names what is wrong.
pub async fn ensure_holds(
    cluster: &Cluster,
    skus: &[String],
    seen: Seen,
    history: &History,
) -> Result<(Judged, u64)> {
    let client = cluster.client()?;
    account_for(&client, skus, seen).await?;
    cluster.verify()?;
    let streams = streams::read(cluster, &client).await?;
    let recorded = history.recorded();
    // The judge may search for long, and the relays between nodes must go on meanwhile.
    let (judged, wrong) = tokio::task::spawn_blocking(move || {
        let mut wrong = streams.wrong;
        let judged = judge(&recorded, &streams.effects).unwrap_or_else(|more| {
            wrong.extend(more);
            Judged::default()
        });
        (judged, wrong)
    })
    .await?;
    if !wrong.is_empty() {
        bail!("what clients were told cannot be true:\n{}", wrong.join("\n"));
    }
    Ok((judged, streams.changes))
}
