//! Random calls, faults and crashes for several groups, compared with a plain model.
//!
//! The claim: after a crash, the log equals its state after some prefix of the records that it was given,
//! over all groups together, and that prefix contains everything that was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Log, LogRecord, ignore, open, options, read_all, told};
use crate::{FaultDisk, GroupId};

const GROUPS: GroupId = 3;

#[derive(Debug, Clone)]
enum Call {
    Append {
        group: GroupId,
        sizes: Vec<usize>,
    },
    Truncate {
        group: GroupId,
        back: u64,
    },
    Purge {
        group: GroupId,
        share_percent: u64,
    },
    PurgePastEnd {
        group: GroupId,
    },
    Vote {
        group: GroupId,
    },
    Committed {
        group: GroupId,
    },
    Drain,
    /// Drains while the n-th sync fails, or the n-th write, then cuts the power.
    FailAndCrash {
        after: u64,
        write: bool,
    },
    Crash,
    /// Cuts the power while the log is being opened after a cut.
    CrashTwice {
        after: u64,
    },
    CloseAndOpen,
}

fn calls(most_calls: usize, most_bytes: usize) -> impl Strategy<Value = Vec<Call>> {
    let group = 0..GROUPS;
    let call = prop_oneof![
        8 => (group.clone(), prop::collection::vec(0..most_bytes, 1..6))
            .prop_map(|(group, sizes)| Call::Append { group, sizes }),
        2 => (group.clone(), 1u64..8).prop_map(|(group, back)| Call::Truncate { group, back }),
        2 => (group.clone(), 1u64..101).prop_map(|(group, share_percent)| Call::Purge { group, share_percent }),
        1 => group.clone().prop_map(|group| Call::PurgePastEnd { group }),
        1 => group.clone().prop_map(|group| Call::Vote { group }),
        1 => group.prop_map(|group| Call::Committed { group }),
        5 => Just(Call::Drain),
        2 => (0u64..5, any::<bool>()).prop_map(|(after, write)| Call::FailAndCrash { after, write }),
        1 => Just(Call::Crash),
        1 => (0u64..6).prop_map(|after| Call::CrashTwice { after }),
        1 => Just(Call::CloseAndOpen),
    ];
    prop::collection::vec(call, 1..most_calls)
}

/// One record on disk.
#[derive(Debug, Clone)]
enum Step {
    Entry(GroupId, LogRecord),
    Truncate(GroupId, u64),
    Purge(GroupId, u64, Bytes),
    Vote(GroupId, Bytes),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelGroup {
    entries: BTreeMap<u64, Bytes>,
    purge: Option<(u64, Bytes)>,
    vote: Option<Bytes>,
}

type ModelState = BTreeMap<GroupId, ModelGroup>;

fn apply(state: &mut ModelState, step: &Step) {
    match step {
        Step::Entry(group, record) => {
            state
                .entry(*group)
                .or_default()
                .entries
                .insert(record.index, record.payload.clone());
        }
        Step::Truncate(group, index) => {
            state
                .entry(*group)
                .or_default()
                .entries
                .retain(|there, _| there < index);
        }
        Step::Purge(group, index, marker) => {
            let group = state.entry(*group).or_default();
            group.entries.retain(|there, _| there > index);
            group.purge = Some((*index, marker.clone()));
        }
        Step::Vote(group, vote) => state.entry(*group).or_default().vote = Some(vote.clone()),
    }
}

struct Model {
    disk: FaultDisk,
    log: Log,
    acknowledged: ModelState,
    /// Records that may or may not have reached the disk, in order.
    pending: Vec<Step>,
    /// Possible values of the commit position after a crash.
    committed: BTreeMap<GroupId, Vec<Option<Bytes>>>,
    counter: u64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let disk = FaultDisk::new(seed);
        let (log, _) = open(&disk);
        let (acknowledged, pending) = Default::default();
        let committed = (0..GROUPS).map(|group| (group, vec![None])).collect();
        Model {
            disk,
            log,
            acknowledged,
            pending,
            committed,
            counter: 0,
        }
    }

    fn unique(&mut self, bytes: usize) -> Bytes {
        self.counter += 1;
        Bytes::from(
            self.counter
                .to_le_bytes()
                .into_iter()
                .cycle()
                .take(bytes + 8)
                .collect::<Vec<u8>>(),
        )
    }

    fn now(&self) -> ModelState {
        let mut state = self.acknowledged.clone();
        self.pending.iter().for_each(|step| apply(&mut state, step));
        state
    }

    fn group(&self, group: GroupId) -> ModelGroup {
        self.now().remove(&group).unwrap_or_default()
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Append { group, sizes } => {
                let state = self.group(group);
                let last = state
                    .entries
                    .keys()
                    .next_back()
                    .copied()
                    .or(state.purge.map(|(index, _)| index));
                let first = last.map_or(0, |last| last + 1);
                let mut records = Vec::new();
                for (index, size) in (first..).zip(sizes) {
                    records.push(LogRecord {
                        index,
                        payload: self.unique(size),
                    });
                }
                self.pending
                    .extend(records.iter().map(|record| Step::Entry(group, record.clone())));
                self.log.append(group, records, ignore()).unwrap();
            }
            Call::Truncate { group, back } => {
                let Some(last) = self.group(group).entries.keys().next_back().copied() else {
                    return;
                };
                let first = self.group(group).entries.keys().next().copied().unwrap_or(last);
                let index = last.saturating_sub(back).max(first);
                self.pending.push(Step::Truncate(group, index));
                self.log.truncate_from(group, index, ignore()).unwrap();
            }
            Call::Purge { group, share_percent } => {
                let entries = self.group(group).entries;
                let Some(through) = entries
                    .keys()
                    .nth((entries.len() * share_percent as usize / 101).max(1))
                else {
                    return;
                };
                self.purge(group, *through);
            }
            Call::PurgePastEnd { group } => {
                let state = self.group(group);
                let last = state
                    .entries
                    .keys()
                    .next_back()
                    .copied()
                    .or(state.purge.map(|(index, _)| index));
                self.purge(group, last.unwrap_or(0) + 10);
            }
            Call::Vote { group } => {
                let vote = self.unique(8);
                self.pending.push(Step::Vote(group, vote.clone()));
                self.log.save_vote(group, vote, ignore()).unwrap();
            }
            Call::Committed { group } => {
                let committed = self.unique(0);
                self.committed
                    .entry(group)
                    .or_default()
                    .push(Some(committed.clone()));
                self.log.save_committed(group, committed).unwrap();
            }
            Call::Drain => {
                let had_requests = !self.pending.is_empty();
                self.log.drain();
                self.all_acknowledged(had_requests);
            }
            Call::FailAndCrash { after, write } => {
                if write {
                    self.disk.fail_write_after(after)
                } else {
                    self.disk.fail_sync_after(after)
                }
                let (synced, result) = told();
                // This is a barrier: the callback of an empty append runs when everything before it is
                // durable.
                self.log.append(0, Vec::new(), synced).unwrap();
                self.log.drain();
                if matches!(*result.lock(), Some(Ok(()))) {
                    self.all_acknowledged(true);
                }
                self.disk = self.disk.crash();
                self.recover(open(&self.disk).0);
            }
            Call::Crash => {
                self.disk = self.disk.crash();
                self.recover(open(&self.disk).0);
            }
            Call::CrashTwice { after } => {
                self.disk = self.disk.crash();
                self.disk.fail_sync_after(after);
                let opened = Log::open(Arc::new(self.disk.clone()), options());
                drop(opened);
                self.disk = self.disk.crash();
                self.recover(open(&self.disk).0);
            }
            Call::CloseAndOpen => {
                self.log.clone().close().unwrap();
                self.all_acknowledged(true);
                let (log, report) = open(&self.disk);
                assert_eq!(report.torn, None);
                self.recover(log);
            }
        }
    }

    fn purge(&mut self, group: GroupId, through: u64) {
        let marker = self.unique(4);
        self.pending.push(Step::Purge(group, through, marker.clone()));
        self.log.purge_through(group, through, marker, ignore()).unwrap();
    }

    fn all_acknowledged(&mut self, with_committed: bool) {
        self.acknowledged = self.now();
        self.pending.clear();
        if with_committed {
            for saved in self.committed.values_mut() {
                saved.drain(..saved.len().saturating_sub(1));
            }
        }
    }

    fn found(log: &Log) -> ModelState {
        let mut found = ModelState::new();
        for group in 0..GROUPS {
            let state = log.state(group);
            let entries = read_all(log, group)
                .into_iter()
                .map(|record| (record.index, record.payload));
            let purge = state.purged_through.zip(state.purge_marker);
            found.insert(
                group,
                ModelGroup {
                    entries: entries.collect(),
                    purge,
                    vote: state.vote,
                },
            );
        }
        found
    }

    /// Takes over the state of a log that was opened after a crash, if that state is allowed.
    fn recover(&mut self, log: Log) {
        let found = Model::found(&log);
        let mut state = self.acknowledged.clone();
        for group in 0..GROUPS {
            state.entry(group).or_default();
        }
        let mut steps = self.pending.iter();
        while state != found {
            let step = steps
                .next()
                .expect("what was recovered is no prefix of what was written");
            apply(&mut state, step);
        }
        for group in 0..GROUPS {
            let saved = self.committed.entry(group).or_default();
            let committed = log.state(group).committed;
            assert!(saved.contains(&committed), "{committed:?} is none of {saved:?}");
            *saved = vec![committed];
        }
        self.acknowledged = state;
        self.pending.clear();
        self.log = log;
    }
}

fn run(seed: u64, calls: Vec<Call>) {
    let not_empty = |state: ModelState| -> ModelState {
        state
            .into_iter()
            .filter(|(_, group)| *group != ModelGroup::default())
            .collect()
    };
    let mut model = Model::new(seed);
    for call in calls {
        model.call(call);
        assert_eq!(not_empty(model.now()), not_empty(Model::found(&model.log)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_and_the_rest_is_a_prefix(seed in any::<u64>(), calls in calls(80, 4000)) {
        run(seed, calls);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// Runs the same claim with enough bytes that segments are given up, used again, and moved from.
    #[test]
    fn it_holds_over_many_segments(seed in any::<u64>(), calls in calls(400, 9000)) {
        run(seed, calls);
    }
}
