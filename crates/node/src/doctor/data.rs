//! The data folder.

use holdfast_storage::{NodeFacts, Report, inspect};

use super::{Area, Finding};
use crate::NodeConfig;
use crate::stores;

pub(super) async fn examine(config: &NodeConfig) -> Vec<Finding> {
    let config = config.clone();
    match tokio::task::spawn_blocking(move || examine_blocking(&config)).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::problem(
            Area::Disk,
            format!("looking at the data folder failed: {error}"),
            "report this as a defect",
        )],
    }
}

fn examine_blocking(config: &NodeConfig) -> Vec<Finding> {
    let path = &config.node.data_dir;
    let shown = path.display();
    if !path.exists() {
        return vec![Finding::warning(
            Area::Disk,
            format!("the data folder {shown} does not exist"),
            "that is right for a node that never started; otherwise correct node.data_dir or mount the disk",
        )];
    }
    match inspect(path) {
        Err(error) => vec![Finding::problem(
            Area::Disk,
            format!("the data folder {shown} cannot be read: {error}"),
            "check its owner and permissions, and the disk",
        )],
        Ok(report) => {
            let mut findings = contents(&shown.to_string(), &report);
            if !report.in_use {
                findings.extend(facts(config));
            }
            findings
        }
    }
}

fn contents(path: &str, report: &Report) -> Vec<Finding> {
    let mut findings: Vec<Finding> = report
        .damage
        .iter()
        .map(|damage| {
            Finding::problem(
                Area::Disk,
                format!("damaged: {damage}"),
                "do not start this node on it: keep the folder for analysis, and replace the node by one with a new id",
            )
        })
        .collect();
    if report.damage.is_empty() {
        let records = report.log.as_ref().map_or(0, |log| log.records);
        let in_use = if report.in_use {
            ", in use by a running node"
        } else {
            ""
        };
        findings.push(Finding::good(
            Area::Disk,
            format!(
                "{path} is sound: {records} log records, {} snapshots{in_use}",
                report.snapshots.len()
            ),
        ));
    }
    if !report.in_use {
        findings.extend(report.torn.iter().map(|torn| {
            Finding::good(
                Area::Disk,
                format!("left by a crash, never acknowledged, cut at the next start: {torn}"),
            )
        }));
    }
    findings
}

/// Whose folder it is. Only looked at while no node works in it.
fn facts(config: &NodeConfig) -> Option<Finding> {
    let folder = stores::facts_folder(&config.node.data_dir);
    if !folder.exists() {
        return None;
    }
    let stored = NodeFacts::open(&folder).and_then(|facts| facts.get());
    let configured = stores::facts_of(config);
    Some(match stored {
        Ok(Some(stored)) if stored != configured => Finding::problem(
            Area::Disk,
            format!("the data folder belongs to {stored:?}, the configuration says {configured:?}"),
            "name the right data folder, or correct the configuration; never give a node another node's folder",
        ),
        Ok(_) => Finding::good(Area::Disk, "the data folder belongs to this node"),
        Err(error) => Finding::problem(
            Area::Disk,
            error.to_string(),
            "check the folder's owner and permissions, and the disk",
        ),
    })
}
