//! Reads the security part of a node's configuration, and keeps certificates and access policy up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use holdfast_guard::Port;
use holdfast_guard::audit::Audit;
use holdfast_guard::metrics::SecurityMetrics;
use holdfast_guard::policy_file::PolicyFile;
use holdfast_guard::tls::Tls;
use holdfast_guard::watch::Watched;

use super::access::Access;
use super::admins::Admins;
use super::incoming::Gate;
use crate::NodeConfig;
use crate::config::LimitsSection;
use crate::descriptors::{self, Connections};
use crate::intake::{Budget, Patience};
use crate::start_error::StartError;
use crate::tasks::Tasks;

/// The time that a connection may take to begin to speak HTTP/2.
pub(crate) const PREFACE_PATIENCE: Duration = Duration::from_secs(10);

/// The certificates, access policy and limits of one node.
pub(crate) struct Security {
    /// The certificates; None for plaintext.
    pub(crate) tls: Option<Arc<Tls>>,
    policy: Option<Arc<PolicyFile>>,
    admins: Admins,
    pub(crate) metrics: SecurityMetrics,
    audit: Audit,
    /// The request to read the files again at once.
    pub(crate) reload: Arc<Notify>,
    connections: Connections,
    budget: Arc<Budget>,
    limits: LimitsSection,
}

impl Security {
    /// Reads the files, and reads them again at intervals until `stopping` is cancelled.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn start(
        config: &NodeConfig,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Result<Self, StartError> {
        let metrics = SecurityMetrics::default();
        let policy = config.security.policy.as_deref();
        let security = Self {
            tls: Tls::load(&config.tls, config.node.node_id)?,
            policy: policy.map(PolicyFile::load).transpose()?.map(Arc::new),
            admins: Admins::of(config),
            audit: Audit::new(metrics.clone()),
            metrics,
            reload: Arc::default(),
            connections: descriptors::share(config),
            budget: Arc::new(Budget::new(
                config.limits.caller_budget.in_memory(),
                config.limits.large_messages_per_second.bytes(),
            )),
            limits: config.limits.clone(),
        };
        let telling = security.audit.clone().keep_telling();
        tasks.spawn_until(stopping, "audit lines left out", telling);
        if let Some(tls) = &security.tls {
            security.metrics.certificate_expires(tls.expires_s());
            security
                .metrics
                .revocation_lists_expire(tls.revocation_lists_expire_s());
            let watched = Watched {
                tls: Some(Arc::clone(tls)),
                policy: security.policy.clone(),
                metrics: security.metrics.clone(),
            };
            let every = config.security.reload_interval.duration();
            let looking = watched.keep_looking(every, Arc::clone(&security.reload));
            tasks.spawn_until(stopping, "certificates and policy", looking);
        }
        Ok(security)
    }

    /// Returns the guard of a port.
    pub(crate) fn gate(&self, port: Port) -> Gate {
        Gate {
            port,
            tls: self.tls.clone(),
            connections: match port {
                Port::Client => self.connections.clients,
                Port::Peer => self.connections.nodes,
                Port::Admin => self.connections.operators,
            },
            audit: self.audit.clone(),
            budget: Arc::clone(&self.budget),
            patience: Patience {
                preface: PREFACE_PATIENCE,
                // Nodes call each other all the time, so they have no limit for the first call.
                first_call: (port != Port::Peer).then(|| self.limits.first_call.duration()),
                unread: self.limits.unread.duration(),
            },
        }
    }

    /// Returns the budget of the bytes that callers may take.
    pub(crate) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// Returns the state for checking requests.
    pub(crate) fn access(&self) -> Access {
        Access::new(
            self.policy.clone(),
            self.admins.clone(),
            self.limits.principal_requests_per_second,
            self.audit.clone(),
            self.tls.clone(),
        )
    }
}
