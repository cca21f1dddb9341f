//! The sections about certificates and access, and their checks.

use std::net::IpAddr;
use std::path::PathBuf;

use holdfast_api::names::Principal;
pub use holdfast_guard::TlsSection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NodeConfig;
use super::units::TimeSpan;

/// Most names in `security.admins`.
const MAX_ADMINS: usize = 1_000;

/// The access to the node: which callers are let in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecuritySection {
    /// Whether the node may listen without TLS on addresses that other machines reach. Whoever reaches them
    /// can then read and write everything.
    pub allow_plaintext: bool,
    /// The file of the access policy, which says who may do what, as TOML. `docs/security.md` describes it.
    /// With an access policy, everything that no rule allows is denied. Without one, every caller that is let
    /// in may do everything except administer. An access policy needs `[tls]`, because callers have no names
    /// without it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/holdfast/policy.toml")]
    pub policy: Option<PathBuf>,
    /// The principals that may use the admin port if there are certificates and no access policy, at most
    /// 1000. A principal is the name in a certificate. If there is an access policy, write rules with the
    /// verb `admin` instead. With certificates but neither an access policy nor this list, nobody may use the
    /// port. Without TLS, everybody who reaches the port may use it.
    pub admins: Vec<String>,
    /// Whether the admin port describes the API to every caller that asks (gRPC reflection). Good for trying
    /// things out.
    pub reflection: bool,
    /// The interval at which the files of the certificates and of the access policy are read again. SIGHUP
    /// makes the node read them at once.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h", "x-old-key" = "reload_interval_ms"))]
    pub reload_interval: TimeSpan,
}

impl Default for SecuritySection {
    fn default() -> Self {
        Self {
            allow_plaintext: false,
            policy: None,
            admins: Vec::new(),
            reflection: false,
            reload_interval: TimeSpan::from_secs(5),
        }
    }
}

/// Returns whether only this machine can reach an address.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl NodeConfig {
    /// Adds the problems of the sections `[tls]` and `[security]`. Does not open the files that they name.
    pub(super) fn check_security(&self, problems: &mut Vec<String>) {
        let tls = &self.tls;
        if tls.is_set() {
            for (key, path) in [
                ("tls.certificate", &tls.certificate),
                ("tls.key", &tls.key),
                ("tls.client_ca", &tls.client_ca),
            ] {
                if path.as_deref().is_none_or(|path| path.as_os_str().is_empty()) {
                    problems.push(format!(
                        "{key} is missing: TLS needs a certificate, its key, and the CA of the clients"
                    ));
                }
            }
        }
        for (key, address, is_plain) in [
            ("listen.client", &self.listen.client, !tls.is_set()),
            ("listen.peer", &self.listen.peer, !tls.is_set()),
            ("listen.http", &self.listen.http, !(tls.is_set() && tls.http)),
            ("listen.admin", &self.listen.admin, !tls.is_set()),
        ] {
            if is_plain && !is_loopback(address) && !self.security.allow_plaintext {
                problems.push(format!(
                    "{key} is `{address}`, which other machines reach, without TLS: set tls.certificate, tls.key and tls.client_ca, or listen on 127.0.0.1, or say security.allow_plaintext = true where only friends reach it"
                ));
            }
        }
        if self.security.policy.is_some() && !tls.is_set() {
            problems.push(
                "security.policy is set without TLS, so nobody's name is known: set tls.certificate, tls.key and tls.client_ca too"
                    .to_owned(),
            );
        }
        self.check_admins(problems);
    }

    fn check_admins(&self, problems: &mut Vec<String>) {
        let admins = &self.security.admins;
        if admins.is_empty() {
            return;
        }
        if !self.tls.is_set() {
            problems.push(
                "security.admins is set without TLS, so nobody's name is known: set tls.certificate, tls.key and tls.client_ca too"
                    .to_owned(),
            );
        }
        if self.security.policy.is_some() {
            problems.push(
                "security.admins is set beside security.policy: keep one; in the policy, a rule with verbs = [\"admin\"] says the same"
                    .to_owned(),
            );
        }
        if admins.len() > MAX_ADMINS {
            problems.push(format!(
                "security.admins has {} names: at most {MAX_ADMINS} are taken, use security.policy",
                admins.len()
            ));
        }
        for name in admins {
            if let Err(error) = Principal::new(name) {
                problems.push(format!(
                    "security.admins has `{name}`, which cannot be the name in a certificate: {error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_reach_needs_tls_or_the_flag() {
        let mut config = NodeConfig::default();
        config.validate().unwrap();
        for listen in ["0.0.0.0:7399", "[::]:7399", "10.0.0.1:7399", "node-1:7399"] {
            for key in ["listen.client", "listen.peer", "listen.http", "listen.admin"] {
                let mut open = config.clone();
                match key {
                    "listen.client" => open.listen.client = listen.to_owned(),
                    "listen.peer" => open.listen.peer = listen.to_owned(),
                    "listen.admin" => open.listen.admin = listen.to_owned(),
                    _ => open.listen.http = listen.to_owned(),
                }
                let refused = open.validate().unwrap_err().to_string();
                assert!(
                    refused.contains(key) && refused.contains("security.allow_plaintext"),
                    "{refused}"
                );
                open.security.allow_plaintext = true;
                open.validate().unwrap();
            }
        }
        config.listen.client = "[::1]:7301".to_owned();
        config.listen.peer = "localhost:7302".to_owned();
        config.listen.http = "127.8.0.1:7303".to_owned();
        config.validate().unwrap();
    }

    #[test]
    fn admins_are_names_that_certificates_can_bear_and_no_second_policy() {
        let mut config = NodeConfig::default();
        let refused = |config: &NodeConfig| config.validate().unwrap_err().to_string();
        config.security.admins = vec!["spiffe://shop/sre".to_owned()];
        assert!(refused(&config).contains("security.admins is set without TLS"));
        config.tls.certificate = Some("node.pem".into());
        config.tls.key = Some("node.key".into());
        config.tls.client_ca = Some("ca.pem".into());
        config.validate().unwrap();
        config.security.policy = Some("policy.toml".into());
        assert!(refused(&config).contains("keep one"));
        config.security.policy = None;
        for bad in ["", "*", "Jane Doe", "jane@shop.example"] {
            config.security.admins = vec![bad.to_owned()];
            assert!(refused(&config).contains(&format!("`{bad}`")));
        }
        config.security.admins = vec!["a".to_owned(); 1_001];
        assert!(refused(&config).contains("1001"));
    }

    #[test]
    fn tls_is_whole_or_not_at_all() {
        let mut config = NodeConfig::default();
        config.listen.client = "0.0.0.0:7301".to_owned();
        config.listen.http = "0.0.0.0:7303".to_owned();
        config.tls.certificate = Some("node.pem".into());
        let refused = config.validate().unwrap_err().to_string();
        assert!(refused.contains("tls.key is missing") && refused.contains("tls.client_ca is missing"));
        config.tls.key = Some("node.key".into());
        config.tls.client_ca = Some("ca.pem".into());
        config.validate().unwrap();
        config.tls.http = false;
        let refused = config.validate().unwrap_err().to_string();
        assert!(
            refused.contains("listen.http") && !refused.contains("listen.client"),
            "{refused}"
        );
    }
}
