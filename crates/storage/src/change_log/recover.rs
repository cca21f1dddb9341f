//! Recovery of a change log when it is opened: only the part after the last known sync is read.

use std::sync::Arc;

use super::segment::{HEADER_BYTES, Scanned, Scanner, SegmentHeader, first_seq_of};
use super::state::{Index, Segment, State};
use super::{ChangeLogError, ChangeLogReport, DIRECTORY};
use crate::{ChangeLogContents, Disk, DiskFile, FileError, GroupId, Report, TornTail};

/// A segment file that was found.
struct Candidate {
    path: String,
    /// The first change according to the file's name.
    first_seq: u64,
    header: Option<SegmentHeader>,
    file: Arc<dyn DiskFile>,
    size: u64,
}

/// Result of a scan of the end of the log.
struct End {
    last_seq: u64,
    /// Position of the segment in which the records end, and the offset there.
    segment: usize,
    offset: u64,
    /// The last change that some record reports as synced.
    synced_seq: u64,
    indexes: Vec<Index>,
}

/// A change log that was read. Nothing on disk was changed yet.
pub(super) struct Recovered {
    /// State of the log; `None` when there is no usable segment at all.
    pub(super) state: Option<State>,
    /// Files to remove: dropped segments, oldest first, and files that contain only a torn tail.
    pub(super) useless: Vec<String>,
    pub(super) report: ChangeLogReport,
}

pub(super) fn recover(
    disk: &dyn Disk,
    directory: &str,
    index_every: u32,
) -> Result<Recovered, ChangeLogError> {
    let mut found = candidates(disk, directory)?;
    let synced_seq = found
        .iter()
        .filter_map(|segment| Some(segment.header?.synced_seq))
        .max()
        .unwrap_or(0);
    let scan_from = found
        .partition_point(|segment| segment.first_seq <= synced_seq + 1)
        .saturating_sub(1);
    let mut report = ChangeLogReport {
        segments: found.len(),
        torn: None,
    };
    if found.is_empty() {
        return Ok(Recovered {
            state: None,
            useless: Vec::new(),
            report,
        });
    }
    let end = scan(&found, scan_from, index_every)?;
    let cut_bytes = (found[end.segment].size.saturating_sub(end.offset))
        + found[end.segment + 1..]
            .iter()
            .map(|segment| segment.size)
            .sum::<u64>();
    if cut_bytes > 0 {
        report.torn = Some(TornTail {
            file: found[end.segment].path.clone(),
            offset: end.offset,
            bytes: cut_bytes,
        });
    }
    // A segment whose header is torn goes as well.
    let kept = if end.offset < HEADER_BYTES as u64 {
        end.segment
    } else {
        end.segment + 1
    };
    let mut useless: Vec<String> = found.drain(kept..).map(|segment| segment.path).collect();
    let Some(last) = found.last() else {
        return Ok(Recovered {
            state: None,
            useless,
            report,
        });
    };
    let offset = if kept == end.segment {
        last.size
    } else {
        end.offset
    };

    let mut segments: Vec<Segment> = Vec::new();
    for segment in &found {
        let gap_from = segment.header.map_or(0, |header| header.gap_from);
        let header = SegmentHeader {
            first_seq: segment.first_seq,
            synced_seq: 0,
            gap_from,
        };
        segments.push(Segment::new(directory, header, None));
    }
    for (position, index) in end.indexes.into_iter().enumerate() {
        if let Some(segment) = segments.get_mut(scan_from + position) {
            segment.index = Some(Arc::new(index));
            segment.file = Some(found[scan_from + position].file.clone());
        }
    }
    // A crash may have left segments that were dropped.
    let dropped = segments.iter().rposition(Segment::is_beginning).unwrap_or(0);
    useless.splice(0..0, segments.drain(..dropped).map(|segment| segment.path));
    report.segments = segments.len();
    if let Some((first, others)) = segments.split_first_mut() {
        if !first.is_beginning() && first.first_seq > 1 {
            // Nothing says that the files before this one were dropped, so they are lost.
            first.gap_from = 1;
        }
        for segment in others.iter_mut().filter(|segment| segment.follows_gap()) {
            segment.gap_from = segment.gap_from.max(first.first_seq);
        }
    }
    let state = State {
        segments,
        end: offset,
        last_seq: end.last_seq,
        synced_seq: synced_seq.max(end.synced_seq).min(end.last_seq),
        unsynced_from: scan_from.saturating_sub(dropped),
        replay: None,
        failure: None,
    };
    Ok(Recovered {
        state: Some(state),
        useless,
        report,
    })
}

fn candidates(disk: &dyn Disk, directory: &str) -> Result<Vec<Candidate>, ChangeLogError> {
    let mut found = Vec::new();
    for name in disk.list(directory).map_err(FileError::io("list", directory))? {
        let Some(first_seq) = first_seq_of(&name) else {
            continue;
        };
        let path = format!("{directory}/{name}");
        let file = disk.open(&path).map_err(FileError::io("open", &path))?;
        let size = file.size_bytes().map_err(FileError::io("read", &path))?;
        let header = SegmentHeader::read(&*file, &path)?.filter(|header| header.first_seq == first_seq);
        found.push(Candidate {
            path,
            first_seq,
            header,
            file,
            size,
        });
    }
    Ok(found)
}

/// Reads the segments from `scan_from` on and finds where the log ends.
///
/// The scan may meet a record that differs from the one that was written. If something later reports that
/// this record was synced, it is damage: the log goes on after it, and a later read of it returns the error.
/// Otherwise the log ends there.
fn scan(found: &[Candidate], scan_from: usize, index_every: u32) -> Result<End, ChangeLogError> {
    let mut last_seq = found[scan_from].first_seq - 1;
    let mut synced_seq = 0;
    let mut indexes = Vec::new();
    for (position, segment) in found.iter().enumerate().skip(scan_from) {
        let usable = segment.header.is_some()
            && (segment.header.is_some_and(|h| h.gap_from > 0) || segment.first_seq == last_seq + 1);
        if !usable && !known_synced(found, position, 0, last_seq)? {
            return Ok(End {
                last_seq,
                segment: position,
                offset: 0,
                synced_seq,
                indexes,
            });
        }
        last_seq = segment.first_seq - 1;
        let mut index = Index::default();
        let mut scanner = Scanner::new(&*segment.file, &segment.path, HEADER_BYTES as u64, segment.size);
        let mut end = scanner.offset;
        while !scanner.at_end() {
            let expected = last_seq + 1;
            let next = scanner
                .next()?
                .filter(|scanned| scanned.record.first_seq == expected);
            let next = match next {
                Some(next) => Some(next),
                None if known_synced(found, position, end, last_seq)? => {
                    scanner.offset = end;
                    scanner.next_after_damage()?
                }
                None => {
                    indexes.push(index);
                    return Ok(End {
                        last_seq,
                        segment: position,
                        offset: end,
                        synced_seq,
                        indexes,
                    });
                }
            };
            let Some(scanned) = next else { break };
            index.note_scanned(&scanned, index_every);
            last_seq = scanned.record.last_seq;
            synced_seq = synced_seq.max(scanned.synced_seq);
            end = scanned.end;
        }
        indexes.push(index);
    }
    let position = found.len() - 1;
    Ok(End {
        last_seq,
        segment: position,
        offset: found[position].size.max(HEADER_BYTES as u64),
        synced_seq,
        indexes,
    })
}

/// Reads a group's change log for a report.
pub(crate) fn inspect(disk: &dyn Disk, group: GroupId, report: &mut Report) {
    let directory = format!("{DIRECTORY}/{group}");
    if let Err(error) = inspect_segments(disk, group, &directory, report) {
        report.damage.push(error.to_string());
    }
}

fn inspect_segments(
    disk: &dyn Disk,
    group: GroupId,
    directory: &str,
    report: &mut Report,
) -> Result<(), ChangeLogError> {
    let found = candidates(disk, directory)?;
    let mut contents = ChangeLogContents {
        group,
        segments: found.len(),
        records: 0,
        bytes: found.iter().map(|segment| segment.size).sum(),
        begins_at: 1,
        first_seq: 0,
        last_seq: 0,
        gaps: Vec::new(),
    };
    let begins = |segment: &Candidate| {
        segment
            .header
            .is_some_and(|header| header.gap_from == segment.first_seq)
    };
    // A crash may have left segments that were dropped.
    let first = found.iter().rposition(begins).unwrap_or(0);
    if let Some(segment) = found.get(first).filter(|segment| segment.first_seq > 1) {
        contents.begins_at = if begins(segment) { segment.first_seq } else { 1 };
        if contents.begins_at == 1 {
            report.damage.push(format!(
                "{directory} begins with change {}, and nothing says that the changes before it were dropped: a file is lost",
                segment.first_seq
            ));
        }
    }
    for (position, segment) in found.iter().enumerate() {
        if let Some(header) = segment.header.filter(SegmentHeader::follows_gap) {
            contents.gaps.push((header.gap_from, header.first_seq));
        } else if segment.header.is_none() && known_synced(&found, position, 0, segment.first_seq - 1)? {
            report.damage.push(format!(
                "{} is damaged at byte 0: its header is not one",
                segment.path
            ));
        }
        let mut scanner = Scanner::new(&*segment.file, &segment.path, HEADER_BYTES as u64, segment.size);
        let mut last_seq = segment.first_seq - 1;
        while !scanner.at_end() {
            let (here, expected) = (scanner.offset, last_seq + 1);
            let mut next = scanner
                .next()?
                .filter(|scanned| scanned.record.first_seq == expected);
            if next.is_none() {
                if known_synced(&found, position, here, last_seq)? {
                    report.damage.push(format!(
                        "{} is damaged at byte {here}: change {expected} is lost",
                        segment.path
                    ));
                } else {
                    report.torn.push(format!(
                        "{} from byte {here} on, {} bytes",
                        segment.path,
                        segment.size - here
                    ));
                    break;
                }
                scanner.offset = here;
                next = scanner.next_after_damage()?;
            }
            let Some(scanned) = next else { break };
            contents.records += 1;
            last_seq = scanned.record.last_seq;
            contents.last_seq = last_seq;
            if contents.first_seq == 0 {
                contents.first_seq = scanned.record.first_seq;
            }
        }
    }
    report.change_logs.push(contents);
    Ok(())
}

/// Returns whether anything after this place reports changes after `seq` as synced.
fn known_synced(found: &[Candidate], position: usize, offset: u64, seq: u64) -> Result<bool, ChangeLogError> {
    let knows = |scanned: &Scanned| scanned.synced_seq > seq;
    for (behind, segment) in found[position..].iter().enumerate() {
        if (behind > 0 || offset == 0) && segment.header.is_some_and(|header| header.synced_seq > seq) {
            return Ok(true);
        }
        let start = if behind == 0 {
            offset.max(HEADER_BYTES as u64)
        } else {
            HEADER_BYTES as u64
        };
        let mut scanner = Scanner::new(&*segment.file, &segment.path, start, segment.size);
        while let Some(scanned) = scanner.next_after_damage()? {
            if knows(&scanned) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
