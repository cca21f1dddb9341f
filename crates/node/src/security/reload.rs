//! Looks at the files of certificates again, every few seconds and when it is told to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::tls::{Reloaded, Tls};
use crate::metrics::SecurityMetrics;

/// Looks again, forever.
pub(crate) async fn keep_looking(tls: Arc<Tls>, every: Duration, now: Arc<Notify>, metrics: SecurityMetrics) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = now.notified() => {}
        }
        let look = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || look.look_again()).await {
            Ok(reloaded) => tell(&reloaded, &tls, &metrics),
            Err(error) => tracing::error!(%error, "looking at the certificates ended badly"),
        }
    }
}

fn tell(reloaded: &Reloaded, tls: &Tls, metrics: &SecurityMetrics) {
    match reloaded {
        Reloaded::Unchanged => {}
        Reloaded::Swapped => {
            metrics.reloaded("certificates", true);
            metrics.certificate_expires(tls.expires_s());
            tracing::info!(expires_s = tls.expires_s(), "new certificates are in use");
        }
        Reloaded::Kept(error) => {
            metrics.reloaded("certificates", false);
            tracing::error!(%error, "the new certificates are not good, the ones before stay in use");
        }
    }
}
