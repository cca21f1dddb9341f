//! Reads the files of the certificates and of the access policy again, every few seconds and on request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::metrics::SecurityMetrics;
use crate::policy_file::PolicyFile;
use crate::reloaded::Reloaded;
use crate::tls::Tls;

/// The files to read again.
#[derive(Clone)]
pub struct Watched {
    /// The certificates; None without TLS.
    pub tls: Option<Arc<Tls>>,
    /// The access policy; None when every caller that connects may do everything.
    pub policy: Option<Arc<PolicyFile>>,
    /// Counts the reloads that were good and in use, and those that were not.
    pub metrics: SecurityMetrics,
}

impl Watched {
    /// Reads the files again at every interval, and whenever `now` is notified. Runs forever.
    pub async fn keep_looking(self, every: Duration, now: Arc<Notify>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = now.notified() => {}
            }
            let watched = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || watched.look_again()).await {
                tracing::error!(%error, "the files of the certificates could not be read again");
            }
        }
    }

    fn look_again(&self) {
        if let Some(tls) = &self.tls {
            self.tell("certificates", &tls.look_again());
            self.metrics.certificate_expires(tls.expires_s());
            self.metrics
                .revocation_lists_expire(tls.revocation_lists_expire_s());
        }
        if let Some(policy) = &self.policy {
            self.tell("policy", &policy.look_again());
        }
    }

    fn tell(&self, what: &'static str, reloaded: &Reloaded) {
        match reloaded {
            Reloaded::Unchanged => {}
            Reloaded::Swapped => {
                self.metrics.reloaded(what, true);
                tracing::info!(target: "audit", event = "reloaded", what);
            }
            Reloaded::Kept(error) => {
                self.metrics.reloaded(what, false);
                tracing::error!(
                    what,
                    error,
                    "the new files cannot be used, so the old ones stay in use"
                );
            }
        }
    }
}
