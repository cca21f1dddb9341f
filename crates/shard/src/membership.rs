//! Membership of a group: moves it from the replicas that it has to those that it should have, one safe step
//! at a time.
//!
//! A replica that comes is a learner until it has nearly all of the log. Only then it gets its vote, in the
//! same change that takes the vote of a replica that goes. So there are never fewer votes than before, and no
//! voter is without the log. Each change is one of joint consensus (Ongaro, "Consensus: Bridging Theory and
//! Practice", 4.3), so a quorum of the old and of the new voters agree to it. A leader that must go hands
//! over first.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::storage::RaftStateMachine;
use openraft::{ChangeMembers, EmptyNode};

use crate::ReplicaId;
use crate::leadership::{RaftMetrics, has_nearly_all};
use crate::raft_types::{RaftOf, Types};

/// Longest time that a caller waits for one change. After it, the caller learns that the change still waits.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);

/// The replicas that a group should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The replicas with a vote.
    pub voters: BTreeSet<ReplicaId>,
    /// The replicas that follow without a vote.
    pub learners: BTreeSet<ReplicaId>,
}

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The group has the replicas that it should have, and a quorum knows it.
    Reached,
    /// One step was taken, and more remain.
    Taken,
    /// These replicas lack too much of the log to get their votes, or cannot be reached.
    Waiting(Vec<ReplicaId>),
}

/// Reason why no step was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This replica does not lead, and only the leader changes who has a vote.
    #[error("this replica does not lead")]
    NotLeader,
    /// The target has no voter.
    #[error("a group needs at least one voter")]
    NoVoters,
    /// Raft did not accept the change.
    #[error("the change was not accepted: {0}")]
    NotTaken(String),
    /// Raft accepted the change but cannot complete it: a quorum may be away.
    #[error("no quorum has agreed to the change yet")]
    NoQuorum,
}

/// The replicas of a group and those it should have, by their Raft ids.
struct Situation {
    own_id: u64,
    voters: BTreeSet<u64>,
    present: BTreeSet<u64>,
    /// Whether a change is half done.
    joint: bool,
    /// Whether the membership is committed. If it is, a later leader begins with it, and not with the one
    /// before.
    committed: bool,
    wanted: BTreeSet<u64>,
    followers: BTreeSet<u64>,
}

/// The step to take next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Every replica has its place according to this leader's own log, but the membership is not committed.
    Commit,
    Add(u64),
    Wait(Vec<u64>),
    HandOver(u64),
    SetVoters(BTreeSet<u64>),
    Forget(BTreeSet<u64>),
}

impl Situation {
    fn of(metrics: &RaftMetrics, target: &Target) -> Self {
        let membership = metrics.membership_config.membership();
        let committed = metrics.cluster_committed.max(metrics.local_committed);
        let raft_ids = |ids: &BTreeSet<ReplicaId>| ids.iter().map(|id| id.raft()).collect();
        Self {
            own_id: metrics.id,
            voters: membership.voter_ids().collect(),
            present: membership.nodes().map(|(id, _)| *id).collect(),
            joint: membership.get_joint_config().len() > 1,
            committed: *metrics.membership_config.log_id() <= committed,
            wanted: raft_ids(&target.voters),
            followers: raft_ids(&target.learners),
        }
    }

    fn next(&self, has_nearly_all: impl Fn(u64) -> bool) -> Next {
        let should_be: BTreeSet<u64> = self.wanted.union(&self.followers).copied().collect();
        if let Some(missing) = should_be.difference(&self.present).next() {
            return Next::Add(*missing);
        }
        let far: Vec<u64> = self
            .wanted
            .difference(&self.voters)
            .filter(|id| **id != self.own_id && !has_nearly_all(**id))
            .copied()
            .collect();
        if !far.is_empty() {
            return Next::Wait(far);
        }
        if self.joint || self.voters != self.wanted {
            if self.wanted.contains(&self.own_id) {
                return Next::SetVoters(self.wanted.clone());
            }
            let mut heirs = self.wanted.intersection(&self.voters).copied();
            if let Some(heir) = heirs.find(|heir| !self.joint && has_nearly_all(*heir)) {
                return Next::HandOver(heir);
            }
            // No replica that stays has a vote yet, so they first get votes beside this leader's own.
            let mut both = self.wanted.clone();
            both.insert(self.own_id);
            return if both == self.voters && !self.joint {
                Next::Wait(self.wanted.iter().copied().collect())
            } else {
                Next::SetVoters(both)
            };
        }
        let extra: BTreeSet<u64> = self.present.difference(&should_be).copied().collect();
        if extra.is_empty() && !self.committed {
            // If this membership were lost with its leader, the one before would give votes to replicas that
            // are erased once the group has its target.
            Next::Commit
        } else if extra.is_empty() {
            Next::Nothing
        } else {
            Next::Forget(extra)
        }
    }
}

/// Takes the next step of a group that this replica leads. A replica that was not heard for `lately` counts
/// as unreachable.
pub(crate) async fn step_towards<SM>(
    raft: &RaftOf<SM>,
    target: &Target,
    lately: Duration,
) -> Result<Step, MembershipError>
where
    SM: RaftStateMachine<Types>,
{
    if target.voters.is_empty() {
        return Err(MembershipError::NoVoters);
    }
    let next = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader != Some(metrics.id) {
            return Err(MembershipError::NotLeader);
        }
        Situation::of(&metrics, target).next(|id| has_nearly_all(&metrics, id, lately))
    };
    match next {
        Next::Nothing => Ok(Step::Reached),
        // The step was taken already, and waits for its commit.
        Next::Commit => Ok(Step::Taken),
        Next::Wait(far) => Ok(Step::Waiting(far.into_iter().map(ReplicaId::from_raft).collect())),
        Next::Add(id) => {
            taken(raft.add_learner(id, EmptyNode::default(), false)).await?;
            Ok(Step::Taken)
        }
        Next::HandOver(heir) => {
            let handed = raft.trigger().transfer_leader(heir).await;
            handed.map_err(|error| MembershipError::NotTaken(error.to_string()))?;
            Ok(Step::Taken)
        }
        Next::SetVoters(voters) => {
            taken(raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false)).await?;
            Ok(Step::Taken)
        }
        Next::Forget(extra) => {
            taken(raft.change_membership(ChangeMembers::RemoveNodes(extra), false)).await?;
            Ok(Step::Taken)
        }
    }
}

async fn taken<T>(
    change: impl Future<Output = Result<T, RaftError<Types, ClientWriteError<Types>>>>,
) -> Result<(), MembershipError> {
    match tokio::time::timeout(CHANGE_PATIENCE, change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(MembershipError::NotLeader),
        Ok(Err(error)) => Err(MembershipError::NotTaken(error.to_string())),
        Err(_) => Err(MembershipError::NoQuorum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(own_id: u64, voters: &[u64], learners: &[u64], wanted: &[u64]) -> Situation {
        let voters: BTreeSet<u64> = voters.iter().copied().collect();
        Situation {
            own_id,
            present: voters.iter().chain(learners).copied().collect(),
            voters,
            joint: false,
            committed: true,
            wanted: wanted.iter().copied().collect(),
            followers: BTreeSet::new(),
        }
    }

    const ALL_NEAR: fn(u64) -> bool = |_| true;

    #[test]
    fn who_comes_learns_first_and_gets_its_vote_when_the_other_loses_it() {
        let mut now = situation(1, &[1, 2, 3], &[], &[1, 2, 4]);
        assert_eq!(now.next(ALL_NEAR), Next::Add(4));
        now.present.insert(4);
        assert_eq!(now.next(|id| id != 4), Next::Wait(vec![4]));
        assert_eq!(now.next(ALL_NEAR), Next::SetVoters([1, 2, 4].into()));
        now.voters = [1, 2, 4].into();
        now.present = [1, 2, 4].into();
        assert_eq!(now.next(ALL_NEAR), Next::Nothing);
    }

    #[test]
    fn a_leader_that_goes_hands_over_to_one_that_stays() {
        let now = situation(1, &[1, 2, 3], &[4], &[2, 3, 4]);
        assert_eq!(now.next(|id| id != 2), Next::HandOver(3));
        // No voter stays, so the new replicas first get their votes beside the leader's own.
        let mut now = situation(1, &[1], &[2], &[2]);
        assert_eq!(now.next(ALL_NEAR), Next::SetVoters([1, 2].into()));
        now.voters = [1, 2].into();
        assert_eq!(now.next(ALL_NEAR), Next::HandOver(2));
        assert_eq!(now.next(|_| false), Next::Wait(vec![2]));
    }

    #[test]
    fn a_change_that_is_half_done_is_finished() {
        let mut now = situation(2, &[1, 2, 3, 4], &[], &[1, 2, 4]);
        now.joint = true;
        assert_eq!(now.next(ALL_NEAR), Next::SetVoters([1, 2, 4].into()));
        now.own_id = 3;
        assert_eq!(now.next(ALL_NEAR), Next::SetVoters([1, 2, 3, 4].into()));
    }

    #[test]
    fn who_is_neither_voter_nor_learner_any_more_is_forgotten() {
        let mut now = situation(1, &[1, 2, 3], &[4, 5], &[1, 2, 3]);
        now.followers = [4].into();
        assert_eq!(now.next(ALL_NEAR), Next::Forget([5].into()));
        now.present.remove(&5);
        assert_eq!(now.next(ALL_NEAR), Next::Nothing);
        now.followers.insert(6);
        assert_eq!(now.next(ALL_NEAR), Next::Add(6));
    }

    #[test]
    fn a_group_has_not_reached_its_target_before_its_membership_is_committed() {
        let mut now = situation(1, &[1, 2, 4], &[], &[1, 2, 4]);
        now.committed = false;
        assert_eq!(now.next(ALL_NEAR), Next::Commit);
        now.committed = true;
        assert_eq!(now.next(ALL_NEAR), Next::Nothing);
    }

    proptest::proptest! {
        /// Moves from any voters to any others, whoever leads. It ends, and there are never fewer voters than
        /// in the smaller of the two sets.
        #[test]
        fn every_way_ends_where_it_should(
            voters in proptest::collection::btree_set(1_u64..=6, 1..=5),
            wanted in proptest::collection::btree_set(1_u64..=9, 1..=5),
            leader in 0_usize..5,
        ) {
            let fewest = voters.len().min(wanted.len());
            let own_id = *voters.iter().nth(leader % voters.len()).unwrap();
            let mut now = situation(own_id, &voters.iter().copied().collect::<Vec<_>>(), &[], &wanted.iter().copied().collect::<Vec<_>>());
            for _ in 0..20 {
                proptest::prop_assert!(now.voters.contains(&now.own_id), "the leader has a vote");
                proptest::prop_assert!(now.voters.len() >= fewest);
                match now.next(ALL_NEAR) {
                    Next::Nothing | Next::Commit => break,
                    Next::Add(id) => { now.present.insert(id); }
                    Next::Wait(far) => panic!("waits for {far:?}"),
                    Next::HandOver(heir) => now.own_id = heir,
                    Next::SetVoters(voters) => {
                        now.present.retain(|id| voters.contains(id) || !now.voters.contains(id));
                        now.voters = voters;
                    }
                    Next::Forget(extra) => now.present.retain(|id| !extra.contains(id)),
                }
            }
            proptest::prop_assert_eq!(now.next(ALL_NEAR), Next::Nothing);
            proptest::prop_assert_eq!(now.voters, wanted);
        }
    }
}
