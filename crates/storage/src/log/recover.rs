//! Recovery of a log after a start: every record is read and checked, in order, one at a time.
//!
//! ```text
//!  older segments:  valid records, then a seal         anything else is damage
//!  last segment:    valid records, then the end        the end may be torn
//!  after the last:  prepared, never acknowledged       thrown away
//! ```
//!
//! The end is the place where no valid record follows. An invalid record is a torn tail only if nothing that
//! was written later reports it as synced. That is so under three conditions. No later record of the segment
//! has a `synced through` past it. No later segment has any record, because a segment is written only after
//! the one before it was synced to its seal. The mark (`mark.rs`) is not past it. Otherwise the record was
//! acknowledged once, and is damage.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::group::Group;
use super::mark::{self, Mark};
use super::record::{Header, Kind, RecordAddress};
use super::segment::{self, HeaderPage, RECORDS_START, Scanned, Scanner};
use super::{DIRECTORY, LogError, LogReport, TornTail};
use crate::{Disk, DiskFile, FileError, GroupId};

/// A log that was read.
pub(super) struct Recovered {
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Segments with records, oldest first.
    pub(super) files: BTreeMap<u32, Arc<dyn DiskFile>>,
    /// Offset at which the valid records of the last segment end; `None` if it is sealed or there are none.
    pub(super) open_end: Option<u32>,
    /// The records of the last segment that nothing written later reports as synced.
    pub(super) unproven: Range<u32>,
    /// Number of bytes after `open_end` that must be overwritten with zeros, so that no torn record is found
    /// there later.
    pub(super) clear_bytes: u64,
    /// Files that are not needed: half-made ones, and segments after the last one with records.
    pub(super) useless: Vec<String>,
    /// The highest segment id that has records; 0 if none has.
    pub(super) last_segment: u32,
    pub(super) report: LogReport,
}

/// End of the records in one segment.
enum End {
    Sealed,
    Open {
        offset: u32,
        torn_bytes: u64,
        clear_bytes: u64,
    },
}

/// Scans the log. Changes nothing on disk.
pub(super) fn recover(
    disk: &dyn Disk,
    cache_bytes: usize,
    expects_mark: bool,
) -> Result<Recovered, LogError> {
    // The mark is read first: beside a running node it must not be ahead of the segments.
    let mark = mark::read(disk).map_err(|error| LogError::io("read", mark::path(), error))?;
    if expects_mark && mark.is_none() {
        let what =
            "the mark of how far the log was synced is gone: so may be entries that this node confirmed"
                .to_string();
        return Err(LogError::File(FileError::Corrupt {
            file: mark::path(),
            offset: 0,
            what,
        }));
    }
    let names = disk
        .list(DIRECTORY)
        .map_err(|error| LogError::io("list", DIRECTORY.to_string(), error))?;
    let mut found = Recovered {
        groups: BTreeMap::new(),
        files: BTreeMap::new(),
        open_end: None,
        unproven: 0..0,
        clear_bytes: 0,
        useless: Vec::new(),
        last_segment: 0,
        report: LogReport::default(),
    };
    let mut ids: Vec<u32> = Vec::new();
    for name in names {
        match segment::id_of(&name) {
            Some(id) => ids.push(id),
            None if name.ends_with(".tmp") => found.useless.push(format!("{DIRECTORY}/{name}")),
            None => {}
        }
    }
    ids.sort_unstable();
    for (position, id) in ids.iter().copied().enumerate() {
        let later = &ids[position + 1..];
        if position > 0 && ids[position - 1] + 1 != id {
            let what = "the file does not exist, but later ones do".to_string();
            return Err(LogError::File(FileError::Corrupt {
                file: segment::path(ids[position - 1] + 1),
                offset: 0,
                what,
            }));
        }
        let path = segment::path(id);
        let file = disk
            .open(&path)
            .map_err(|error| LogError::io("open", path.clone(), error))?;
        let records_before = found.report.records;
        let end = read_segment(&*file, id, cache_bytes, &mut found)?;
        let has_records = found.report.records > records_before;
        if has_records {
            found.files.insert(id, file);
            found.last_segment = id;
            found.report.segments += 1;
        }
        let End::Open {
            offset,
            torn_bytes,
            clear_bytes,
        } = end
        else {
            continue;
        };
        for later_id in later.iter().copied() {
            if has_valid_record(disk, later_id)? {
                let what =
                    "its records end here and the segment is not sealed, but later segments have records"
                        .to_string();
                return Err(LogError::File(FileError::Corrupt {
                    file: path,
                    offset: u64::from(offset),
                    what,
                }));
            }
        }
        if torn_bytes > 0 {
            found.report.torn = Some(TornTail {
                file: path,
                offset: u64::from(offset),
                bytes: torn_bytes,
            });
        }
        if has_records {
            found.open_end = Some(offset);
            found.clear_bytes = clear_bytes;
        } else {
            found.useless.push(segment::path(id));
        }
        found.useless.extend(later.iter().copied().map(segment::path));
        break;
    }
    check_end(mark, &found)?;
    check_groups(&found)?;
    found.report.groups = found.groups.keys().copied().collect();
    Ok(found)
}

/// Refuses a log that ends before the place up to which it is known to be synced.
fn check_end(mark: Option<Mark>, found: &Recovered) -> Result<(), LogError> {
    let Some(through) = mark.map(|mark| mark.through) else {
        return Ok(());
    };
    let (file, offset) = match found.last_segment.cmp(&through.segment) {
        Ordering::Greater => return Ok(()),
        Ordering::Less => (segment::path(through.segment), RECORDS_START),
        // A sealed segment is whole.
        Ordering::Equal => match found.open_end.filter(|end| *end < through.offset) {
            Some(end) => (segment::path(through.segment), end),
            None => return Ok(()),
        },
    };
    Err(LogError::File(FileError::Corrupt {
        file,
        offset: u64::from(offset),
        what: format!(
            "the valid records end here, and the log was synced through byte {} before anything was acknowledged",
            through.offset
        ),
    }))
}

fn check_groups(found: &Recovered) -> Result<(), LogError> {
    for (group, state) in &found.groups {
        if let Some(index) = state.first_missing() {
            let what = format!("entry {index} of group {group} is in no segment");
            return Err(LogError::File(FileError::Corrupt {
                file: DIRECTORY.to_string(),
                offset: 0,
                what,
            }));
        }
    }
    Ok(())
}

fn read_segment(
    file: &dyn DiskFile,
    id: u32,
    cache_bytes: usize,
    found: &mut Recovered,
) -> Result<End, LogError> {
    let path = segment::path(id);
    let page =
        segment::read_header_page(file, id).map_err(|error| LogError::io("read", path.clone(), error))?;
    let recycled = match page {
        HeaderPage::Good { recycled } => recycled,
        HeaderPage::OtherVersion(found) => {
            return Err(LogError::File(FileError::UnknownVersion {
                file: path,
                found,
                supported: segment::VERSION,
            }));
        }
        HeaderPage::Damaged => {
            if Scanner::new(file, id)?.skip_to_valid()?.is_some() {
                return Err(LogError::File(FileError::Corrupt {
                    file: path,
                    offset: 0,
                    what: "its header is not one".to_string(),
                }));
            }
            return Ok(End::Open {
                offset: RECORDS_START,
                torn_bytes: 0,
                clear_bytes: 0,
            });
        }
    };
    let mut scanner = Scanner::new(file, id)?;
    let mut synced_through = RECORDS_START;
    let mut last = None;
    while let Some(Scanned {
        header,
        place,
        payload,
    }) = scanner.next()?
    {
        found.report.records += 1;
        found.report.bytes += header.record_bytes() as u64;
        apply(header, place, payload, cache_bytes, &mut found.groups)?;
        last = Some(header.kind);
        synced_through = synced_through.max(header.synced_through);
        found.unproven = synced_through..place.offset + header.record_bytes() as u32;
        if header.kind == Kind::Seal {
            return Ok(End::Sealed);
        }
    }
    let offset = scanner.offset();
    let behind = scanner.size_bytes() - u64::from(offset).min(scanner.size_bytes());
    let torn_bytes = torn_bytes(scanner, recycled)?;
    // The bytes after the end of a recycled file prove nothing, unless the log was closed.
    let clear_bytes = if recycled && last != Some(Kind::Mark) {
        behind
    } else {
        torn_bytes
    };
    Ok(End::Open {
        offset,
        torn_bytes,
        clear_bytes,
    })
}

/// Returns how many bytes lie after the end of the valid records. Fails if any of them was synced once.
fn torn_bytes(mut scanner: Scanner<'_>, recycled: bool) -> Result<u64, LogError> {
    let end = scanner.place();
    let mut torn_through = u64::from(end.offset);
    if !recycled {
        torn_through = scanner.zeros_from()?;
    } else if let Some(header) = scanner.remains_here()? {
        torn_through += header.record_bytes() as u64;
    }
    while let Some(later) = scanner.skip_to_valid()? {
        if later.synced_through > end.offset {
            let what =
                "the record's checksum does not match, and later records know it was synced".to_string();
            return Err(LogError::File(FileError::Corrupt {
                file: segment::path(end.segment),
                offset: u64::from(end.offset),
                what,
            }));
        }
        scanner.next()?;
        torn_through = torn_through.max(u64::from(scanner.offset()));
    }
    Ok(torn_through - u64::from(end.offset))
}

fn has_valid_record(disk: &dyn Disk, id: u32) -> Result<bool, LogError> {
    let path = segment::path(id);
    let file = disk
        .open(&path)
        .map_err(|error| LogError::io("open", path, error))?;
    Ok(Scanner::new(&*file, id)?.skip_to_valid()?.is_some())
}

fn apply(
    header: Header,
    place: RecordAddress,
    payload: &[u8],
    cache_bytes: usize,
    groups: &mut BTreeMap<GroupId, Group>,
) -> Result<(), LogError> {
    if matches!(header.kind, Kind::Mark | Kind::Seal) {
        return Ok(());
    }
    let group = groups.entry(header.group).or_default();
    let purged = group.purged_through.is_some_and(|purged| header.index <= purged);
    match header.kind {
        Kind::Entry | Kind::Moved if purged => {}
        Kind::Entry => {
            if group
                .recovered(header.index, place, payload, cache_bytes)
                .is_some()
            {
                let what = format!(
                    "the log has entry {} of group {} twice",
                    header.index, header.group
                );
                let file = segment::path(place.segment);
                return Err(LogError::File(FileError::Corrupt {
                    file,
                    offset: u64::from(place.offset),
                    what,
                }));
            }
        }
        Kind::Moved => {
            group.recovered(header.index, place, payload, cache_bytes);
        }
        Kind::Truncate => group.truncate_from(header.index),
        Kind::Purge => group.purge_through(header.index, Bytes::copy_from_slice(payload)),
        Kind::Vote => group.vote = Some(Bytes::copy_from_slice(payload)),
        Kind::Committed => group.committed = Some(Bytes::copy_from_slice(payload)),
        Kind::Mark | Kind::Seal => {}
    }
    Ok(())
}

/// Removes the files that recovery does not need, and makes that durable.
pub(super) fn remove_useless(disk: &dyn Disk, paths: &[String]) -> io::Result<()> {
    for path in paths {
        disk.remove(path)?;
    }
    if !paths.is_empty() {
        disk.sync_dir(DIRECTORY)?;
    }
    Ok(())
}
