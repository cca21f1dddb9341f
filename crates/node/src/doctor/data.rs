//! The examination of the data folder.

use std::path::Path;

use holdfast_storage::{NodeFacts, Report, inspect, log_has_mark};

use super::{Area, Finding};
use crate::config::StorageSection;
use crate::space::{Bounds, DiskBytes};
use crate::stores;
use crate::{NodeConfig, damage};

/// Multiple of the low bound: with less free space than this it is time to act.
const SOON_LOW: u64 = 2;

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
    let mut findings = vec![free_space(path, &config.storage)];
    findings.extend(put_aside(path));
    findings.extend(folder(config, path));
    findings
}

fn folder(config: &NodeConfig, path: &Path) -> Vec<Finding> {
    let shown = path.display();
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

/// Warns of damaged data that the node replaced.
fn put_aside(path: &Path) -> Option<Finding> {
    let count = damage::count(path);
    (count > 0).then(|| {
        Finding::warning(
            Area::Disk,
            format!(
                "the node put damaged data aside {count} times: see {}",
                path.join("damaged").display()
            ),
            "check the disk, then remove that folder; cluster/runbooks/damaged-data.md",
        )
    })
}

/// Judges the space that is left on the disk of the data folder.
fn free_space(path: &Path, storage: &StorageSection) -> Finding {
    match DiskBytes::of(path) {
        Ok(disk) => judge_free_space(
            &path.display().to_string(),
            disk.available,
            Bounds::new(storage, disk.size),
        ),
        Err(error) => Finding::warning(
            Area::Disk,
            format!("the free space of {} is not known: {error}", path.display()),
            "look at the disk with other tools",
        ),
    }
}

fn judge_free_space(path: &str, left_bytes: u64, bounds: Bounds) -> Finding {
    let left = format!("{path} has {} MiB of disk space left", left_bytes >> 20);
    let low_below = bounds.low_below;
    if left_bytes < low_below {
        return Finding::problem(
            Area::Disk,
            format!(
                "{left}, less than {} MiB: nothing new is taken, and a node whose disk is full stops",
                low_below >> 20
            ),
            "give the nodes larger disks or free some space, now; cluster/runbooks/disk.md",
        );
    }
    let soon_below = low_below.saturating_mul(SOON_LOW);
    if left_bytes < soon_below {
        return Finding::warning(
            Area::Disk,
            format!(
                "{left}, less than {} MiB: below {} MiB nothing new is taken",
                soon_below >> 20,
                low_below >> 20
            ),
            "plan for a larger disk, or let nodes drop archived changes: `holdfast changes consumers list` shows who holds them back",
        );
    }
    Finding::good(Area::Disk, left)
}

fn contents(path: &str, report: &Report) -> Vec<Finding> {
    let mut findings: Vec<Finding> = report
        .damage
        .iter()
        .map(|damage| {
            Finding::problem(
                Area::Disk,
                format!("damaged: {damage}"),
                "start the node: if the others can do without its data, it puts the folder aside and gets its replicas from them; cluster/runbooks/damaged-data.md",
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
                format!("a crash left records that were never acknowledged, and the next start cuts them off: {torn}"),
            )
        }));
    }
    findings
}

/// Checks whose folder it is. Called only while no node works in it.
fn facts(config: &NodeConfig) -> Option<Finding> {
    let folder = stores::facts_folder(&config.node.data_dir);
    if !folder.exists() {
        return None;
    }
    let opened = NodeFacts::open(&folder);
    let is_marked = opened
        .as_ref()
        .is_ok_and(|facts| matches!(facts.kept(stores::LOG_IS_MARKED), Ok(Some(_))));
    if is_marked && !log_has_mark(&config.node.data_dir) {
        return Some(Finding::problem(
            Area::Disk,
            "the log is gone, or the mark of how far it was synced is: entries that this node confirmed may be missing",
            "is the log on a disk of its own that is not mounted? Otherwise start the node: it treats this as damage, and gets its data from the others; cluster/runbooks/damaged-data.md",
        ));
    }
    let stored = opened.and_then(|facts| facts.get());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn little_disk_space_is_a_warning_and_very_little_is_a_problem() {
        // The low bound is a twentieth of the disk, 512 MiB.
        let bounds = Bounds::new(&StorageSection::default(), 10 << 30);
        for (left_bytes, severity, says) in [
            (5 << 30, Severity::Good, "5120 MiB"),
            (1 << 30, Severity::Good, "1024 MiB"),
            ((1 << 30) - 1, Severity::Warning, "1023 MiB"),
            (512 << 20, Severity::Warning, "512 MiB"),
            ((512 << 20) - 1, Severity::Problem, "511 MiB"),
            (0, Severity::Problem, " 0 MiB"),
        ] {
            let finding = judge_free_space("/data", left_bytes, bounds);
            assert_eq!(finding.severity, severity, "{left_bytes}");
            assert!(finding.message.contains(says), "{}", finding.message);
            assert_eq!(finding.advice.is_empty(), severity == Severity::Good);
        }
    }

    #[test]
    fn free_space_is_told_for_a_folder_that_is_there_and_not_known_for_one_that_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let storage = StorageSection::default();
        let told = free_space(folder.path(), &storage).message;
        assert!(told.contains("MiB of disk space left"), "{told}");
        let missing = free_space(&folder.path().join("missing"), &storage);
        assert_eq!(missing.severity, Severity::Warning);
        assert!(missing.message.contains("not known"), "{}", missing.message);
    }
}
