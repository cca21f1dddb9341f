//! Campaign of a replica: asks the others when the leader is missed, and stands for election with a quorum's
//! consent.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use openraft::storage::RaftStateMachine;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{ElectionOptions, LeaderWatch};
use crate::GoneNodes;
use crate::metrics::{Counters, add};
use crate::peer::{Consent, Network};
use crate::raft_types::{LogId, RaftOf, Types, Vote};

/// First pause before a voter that refused is asked again. It doubles each time, up to [`ASK_AGAIN_MAX`].
const ASK_AGAIN: Duration = Duration::from_millis(4);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(128);

/// A replica's view of its group.
#[derive(Debug, Clone)]
struct Sight {
    vote: Vote,
    last_log: Option<LogId>,
    /// The leader, if there is one and it is another replica.
    leader: Option<u64>,
    voters: Vec<BTreeSet<u64>>,
}

/// Reason why a replica asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The leader's process is gone.
    Gone,
    /// No leader was heard for long.
    Silent,
}

/// Watches the leader, and stands for election where needed, until Raft ends.
pub(crate) async fn campaign<SM>(
    raft: RaftOf<SM>,
    watch: LeaderWatch,
    network: Network,
    counters: Arc<Counters>,
) where
    SM: RaftStateMachine<Types>,
{
    let mut server = raft.server_metrics();
    let mut gone = watch.shared.gone.clone();
    let mut campaigner = Campaigner::new(raft, watch, network, counters);
    loop {
        gone.borrow_and_update();
        server.borrow_and_update();
        let due = campaigner.due();
        let urged = campaigner.watch.clone();
        tokio::select! {
            () = at(due.map(|(when, _)| when)) => {
                if let Some((_, missing)) = due
                    && campaigner.ask_and_stand(missing).await.is_err()
                {
                    return;
                }
            }
            changed = server.changed() => if changed.is_err() { return },
            () = has_changed(&mut gone) => {}
            () = urged.shared.urged.notified() => campaigner.is_urged = true,
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn has_changed(gone: &mut watch::Receiver<GoneNodes>) {
    if gone.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct Campaigner<SM: RaftStateMachine<Types>> {
    raft: RaftOf<SM>,
    watch: LeaderWatch,
    network: Network,
    counters: Arc<Counters>,
    /// The vote of this replica, and since when it has that vote.
    voted: (Option<Vote>, Instant),
    /// Whether a replica with a shorter log found that the leader is missing.
    is_urged: bool,
    /// The time before which this replica does not ask.
    rests_until: Instant,
}

impl<SM: RaftStateMachine<Types>> Campaigner<SM> {
    fn new(raft: RaftOf<SM>, watch: LeaderWatch, network: Network, counters: Arc<Counters>) -> Self {
        let now = Instant::now();
        Self {
            raft,
            watch,
            network,
            counters,
            voted: (None, now),
            is_urged: false,
            rests_until: now,
        }
    }

    /// Returns this replica's view of the group, or `None` where it leads or may not lead.
    fn sight(&self) -> Option<Sight> {
        let own_id = self.watch.options.own_id;
        let last_log = self.raft.data_metrics().borrow_watched().last_log;
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let voters = server.membership_config.membership().get_joint_config().clone();
        let is_voter = voters.iter().any(|voters| voters.contains(&own_id));
        let may_lead = is_voter && !matches!(server.state, ServerState::Leader | ServerState::Shutdown);
        may_lead.then(|| Sight {
            vote: server.vote,
            last_log,
            leader: server.current_leader.filter(|leader| *leader != own_id),
            voters,
        })
    }

    /// Returns when this replica has to ask the voters next, and why: its leader is gone, or it is silent.
    fn due(&mut self) -> Option<(Instant, Missing)> {
        let sight = self.sight()?;
        let now = Instant::now();
        if self.voted.0 != Some(sight.vote) {
            self.voted = (Some(sight.vote), now);
            self.is_urged = false;
            self.rests_until = now;
        }
        let gone = sight.leader.and_then(|leader| self.watch.gone_since(leader));
        let (since, missing) = match gone {
            Some(since) => (since, Missing::Gone),
            None => {
                // A candidate's vote counts like a leader's message, so that the candidate has time to win.
                let heard = self.watch.silence().at.max(self.voted.1);
                (heard + self.watch.options.timeout_min, Missing::Silent)
            }
        };
        self.is_urged &= since <= now;
        let turn = if self.is_urged {
            Duration::ZERO
        } else {
            turn(&self.watch.options, &sight)
        };
        Some(((since + turn).max(self.rests_until), missing))
    }

    /// Returns the view of the group if the leader is still missing.
    fn still_missing(&mut self, vote: Vote, missing: Missing) -> Option<Sight> {
        let (when, why) = self.due()?;
        let same = self.voted.0 == Some(vote) && (why == missing || why == Missing::Gone);
        if same && when <= Instant::now() {
            self.sight()
        } else {
            None
        }
    }

    async fn ask_and_stand(&mut self, missing: Missing) -> Result<(), Fatal<Types>> {
        let Some(sight) = self.sight() else {
            return Ok(());
        };
        let vote = sight.vote;
        if !self.has_consent(sight, missing).await {
            return Ok(());
        }
        let Some(sight) = self.still_missing(vote, missing) else {
            return Ok(());
        };
        add(&self.counters.elections_begun, 1);
        tracing::info!(
            shard = self.watch.options.group,
            ?missing,
            "a quorum misses the leader: standing for election"
        );
        // If this leads to no new vote, another replica needs time to stand.
        self.rests_until = Instant::now() + self.watch.options.timeout_min;
        if self.watch.silence().spoke {
            let own_id = self.watch.options.own_id;
            let stand = TransferLeaderRequest::new(sight.vote, own_id, sight.last_log);
            if self.raft.handle_transfer_leader(stand).await?.is_ok() {
                return Ok(());
            }
        }
        // No leader spoke since the start, so there is no lease to wait for.
        self.raft.trigger().elect(false).await
    }

    /// Asks all others with a vote, again and again, until a quorum would vote for this replica. Returns
    /// `false` when the leader is not missing any more.
    async fn has_consent(&mut self, sight: Sight, missing: Missing) -> bool {
        let own_id = self.watch.options.own_id;
        let mut consenting = BTreeSet::from([own_id]);
        let others: BTreeSet<u64> = sight.voters.iter().flatten().copied().collect();
        let mut asking: FuturesUnordered<Pin<Box<dyn Future<Output = Asked> + Send>>> = others
            .into_iter()
            .filter(|voter| *voter != own_id && sight.leader != Some(*voter))
            .map(|voter| self.ask(voter, &sight, Duration::ZERO))
            .collect();
        let mut server = self.raft.server_metrics();
        while !is_quorum(&sight.voters, &consenting) {
            tokio::select! {
                asked = asking.next() => match asked {
                    Some(Asked { voter, consent: Consent::Given, .. }) => {
                        consenting.insert(voter);
                    }
                    // This voter does not know the question, so it would vote without being asked. That does
                    // no harm where the leader's process is gone.
                    Some(Asked { voter, consent: Consent::NotKnown, .. }) if missing == Missing::Gone => {
                        consenting.insert(voter);
                    }
                    Some(Asked { voter, pause, .. }) => {
                        let pause = (pause * 2).clamp(ASK_AGAIN, ASK_AGAIN_MAX);
                        asking.push(self.ask(voter, &sight, pause));
                    }
                    None => std::future::pending::<()>().await,
                },
                changed = server.changed() => if changed.is_err() { return false },
                () = tokio::time::sleep(ASK_AGAIN_MAX) => {}
            }
            if self.still_missing(sight.vote, missing).is_none() {
                return false;
            }
        }
        true
    }

    /// Asks one voter after a pause.
    fn ask(&self, voter: u64, sight: &Sight, pause: Duration) -> Pin<Box<dyn Future<Output = Asked> + Send>> {
        let term = sight.vote.leader_id().term + 1;
        let request = VoteRequest::new(Vote::new(term, self.watch.options.own_id), sight.last_log);
        let (network, patience) = (self.network.clone(), self.watch.options.timeout_max);
        let counters = Arc::clone(&self.counters);
        async move {
            tokio::time::sleep(pause).await;
            add(&counters.pre_votes_asked, 1);
            let consent = network.ask(voter, request, patience).await;
            Asked {
                voter,
                pause,
                consent,
            }
        }
        .boxed()
    }
}

struct Asked {
    voter: u64,
    pause: Duration,
    consent: Consent,
}

fn is_quorum(voters: &[BTreeSet<u64>], consenting: &BTreeSet<u64>) -> bool {
    let majority = |voters: &BTreeSet<u64>| voters.intersection(consenting).count() * 2 > voters.len();
    voters.iter().all(majority)
}

/// Returns how long this replica waits after the first one in turn. It stands only if those before it did not
/// succeed.
fn turn(options: &ElectionOptions, sight: &Sight) -> Duration {
    let mut heirs: Vec<u64> = sight.voters.iter().flatten().copied().collect();
    heirs.sort_unstable();
    heirs.dedup();
    heirs.retain(|voter| sight.leader != Some(*voter));
    let first = options.group as usize % heirs.len().max(1);
    heirs.rotate_left(first);
    let place = heirs
        .iter()
        .position(|voter| *voter == options.own_id)
        .unwrap_or(0);
    let spread = options.timeout_max.saturating_sub(options.timeout_min);
    let last = heirs.len().saturating_sub(1).max(1);
    spread.mul_f64(place as f64 / last as f64)
}
