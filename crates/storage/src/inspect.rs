//! Inspection of a data directory, read-only, to find out what is wrong with a node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, DiskError, RealDisk};
use crate::report::Report;
use crate::{GroupId, change_log, log, snapshot};

/// Number of further looks at a running node's files that look damaged, and the pause between them.
const LOOKS: usize = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Reads everything in a data directory and checks it, without changing anything. Works beside a running
/// node.
///
/// # Errors
/// When the directory itself cannot be read. Everything else is in the report.
pub fn inspect(directory: &Path) -> Result<Report, DiskError> {
    let disk = Arc::new(RealDisk::open_read_only(directory)?);
    let in_use = disk.in_use();
    let mut report = inspect_disk(disk.clone());
    if in_use {
        stays(&mut report, LOOKS, || look_later(disk.clone()));
    }
    Ok(Report { in_use, ..report })
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process writes: there is nothing to wait for"
)]
fn look_later(disk: Arc<dyn Disk>) -> Report {
    std::thread::sleep(BETWEEN_LOOKS);
    inspect_disk(disk)
}

/// Keeps only the damage that further looks find again. A record that the node writes during the read can
/// look damaged once, but not again in the same place.
fn stays(report: &mut Report, looks: usize, look: impl Fn() -> Report) {
    for _ in 0..looks {
        if report.damage.is_empty() {
            return;
        }
        let again = look();
        let damage = std::mem::take(&mut report.damage);
        let damage = damage
            .into_iter()
            .filter(|line| again.damage.contains(line))
            .collect();
        *report = Report { damage, ..again };
    }
}

/// Inspects any disk, like [`inspect`].
pub(crate) fn inspect_disk(disk: Arc<dyn Disk>) -> Report {
    let mut report = Report::default();
    log::inspect(&*disk, &mut report);
    for group in groups(&*disk, snapshot::DIRECTORY, &mut report) {
        snapshot::inspect(&*disk, group, &mut report);
    }
    for group in groups(&*disk, change_log::DIRECTORY, &mut report) {
        change_log::inspect(&*disk, group, &mut report);
    }
    report
}

fn groups(disk: &dyn Disk, directory: &str, report: &mut Report) -> Vec<GroupId> {
    match disk.list(directory) {
        Ok(names) => {
            let mut groups: Vec<GroupId> = names.iter().filter_map(|name| name.parse().ok()).collect();
            groups.sort_unstable();
            groups
        }
        Err(error) => {
            report.damage.push(format!("cannot list {directory}: {error}"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Report, inspect};
    use crate::{
        ChangeLog, ChangeLogOptions, ChangeRecord, DiskError, Log, LogOptions, LogRecord, RealDisk,
        SnapshotStore,
    };

    #[test]
    fn of_a_running_node_only_damage_that_stays_is_told() {
        let looks = std::cell::Cell::new(0);
        let seen = |lines: &[&str]| Report {
            damage: lines.iter().map(|line| (*line).to_owned()).collect(),
            ..Report::default()
        };
        let mut report = seen(&["log: damaged at 100", "log: damaged at 5448"]);
        super::stays(&mut report, 4, || {
            looks.set(looks.get() + 1);
            match looks.get() {
                1 => seen(&["log: damaged at 100", "log: damaged at 6000"]),
                _ => seen(&["log: damaged at 100"]),
            }
        });
        assert_eq!(report.damage, ["log: damaged at 100"]);
        assert_eq!(looks.get(), 4);
        super::stays(&mut report, 4, Report::default);
        assert!(report.damage.is_empty());
    }

    fn fill(directory: &std::path::Path) -> Arc<RealDisk> {
        let disk = Arc::new(RealDisk::open(directory).unwrap());
        let options = LogOptions {
            segment_bytes: 64 << 10,
            max_record_bytes: 1 << 10,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(disk.clone(), options).unwrap();
        let payload = Bytes::from_static(b"an entry");
        log.append(
            2,
            vec![LogRecord {
                index: 7,
                payload: payload.clone(),
            }],
            Box::new(|_| {}),
        )
        .unwrap();
        log.close().unwrap();
        let mut snapshot = SnapshotStore::open(disk.clone(), 2)
            .unwrap()
            .begin(Bytes::new())
            .unwrap();
        snapshot.write(b"content").unwrap();
        snapshot.finish().unwrap();
        let (changes, _) = ChangeLog::open(disk.clone(), 2, ChangeLogOptions::default()).unwrap();
        for seq in 1..4 {
            let record = ChangeRecord {
                first_seq: seq,
                last_seq: seq,
                log_index: 7,
                payload: payload.clone(),
            };
            changes.append(record).unwrap();
            changes.sync().unwrap();
        }
        changes.reset_to(10).unwrap();
        disk
    }

    #[test]
    fn a_healthy_directory_has_ranges_and_no_damage() {
        let directory = tempfile::tempdir().unwrap();
        let disk = fill(directory.path());
        assert!(inspect(directory.path()).unwrap().in_use);
        drop(disk);
        let Report {
            in_use,
            log,
            snapshots,
            change_logs,
            torn,
            damage,
        } = inspect(directory.path()).unwrap();
        assert!(!in_use);
        assert_eq!((torn, damage), (vec![], vec![]));
        let log = log.unwrap();
        assert_eq!(
            (
                log.groups[0].group,
                log.groups[0].first_index,
                log.groups[0].last_index
            ),
            (2, Some(7), Some(7))
        );
        assert_eq!((snapshots[0].group, snapshots[0].bytes), (2, 7));
        assert_eq!(
            (
                change_logs[0].first_seq,
                change_logs[0].last_seq,
                change_logs[0].records
            ),
            (1, 3, 3)
        );
        assert_eq!(change_logs[0].gaps, [(4, 10)]);
    }

    #[test]
    fn damage_is_named_and_nothing_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        drop(fill(directory.path()));
        let files = [
            "log/0000000001.wal",
            "snapshots/2/00000000000000000001.snap",
            "changes/2/00000000000000000001.changes",
        ];
        for (file, offset) in files.into_iter().zip([4096 + 32 + 34, 50, 110]) {
            let path = directory.path().join(file);
            let mut content = fs::read(&path).unwrap();
            content[offset] ^= 16;
            fs::write(&path, &content).unwrap();
            let report = inspect(directory.path()).unwrap();
            assert!(
                report.damage.iter().any(|line| line.contains(file)),
                "{file}: {:?}",
                report.damage
            );
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert_eq!(inspect(directory.path()).unwrap().damage.len(), 3);
    }

    #[test]
    fn a_second_process_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        match RealDisk::open(directory.path()) {
            Err(error @ DiskError::InUse { .. }) => {
                let message = error.to_string();
                assert!(message.contains(directory.path().to_str().unwrap()), "{message}");
                assert!(message.contains(&std::process::id().to_string()), "{message}");
            }
            other => panic!("{other:?}"),
        }
        drop(disk);
        RealDisk::open(directory.path()).unwrap();
        assert!(inspect(&directory.path().join("missing")).is_err());
    }
}
