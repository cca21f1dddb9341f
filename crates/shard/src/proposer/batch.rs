//! The commands of one submission on their way through the proposer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use holdfast_ledger::{Command, Outcome};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use crate::raft_types::{EncodedCommand, Leadership};
use crate::trace;

/// Result of one attempt to submit a command at one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CommandReply {
    /// The command is decided, and this is the answer.
    Decided(Outcome),
    /// The command was certainly not proposed here.
    NotProposed,
    /// The command was proposed, but its outcome is not known here.
    Unknown,
    /// The command was not taken, because too many are waiting.
    Overloaded {
        /// Time after which to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The command was not taken: it begins something new, and the disks are nearly full.
    LowSpace,
}

/// One submission. Its commands are decided in their order.
pub(super) struct Batch {
    commands: Arc<Vec<EncodedCommand>>,
    deadline: Instant,
    /// The caller's span; disabled when the caller is not traced.
    span: Span,
    /// The stage in which the batch waits, for its caller's trace.
    stage: RefCell<Span>,
    progress: RefCell<Progress>,
    /// Whether a command of the batch is in the log or on its way there. Then the later ones must follow it.
    pub(super) in_log: Cell<bool>,
    /// The leadership under which the batch's first entry was proposed. The next entry must follow under the
    /// same leadership, because under another one the first may be missing.
    pub(super) under: Cell<Option<Leadership>>,
    /// Number of the batch's commands that wait for a confirmed read. The later commands must wait as well.
    pub(super) confirming: Cell<usize>,
}

struct Progress {
    replies: Vec<(usize, CommandReply)>,
    open: usize,
    reply: Option<oneshot::Sender<Vec<(usize, CommandReply)>>>,
}

/// One command of a batch.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) batch: Rc<Batch>,
    index: usize,
}

impl Batch {
    /// Makes the items of a new batch: those of `commands` that `open` names.
    pub(super) fn items(
        commands: Arc<Vec<EncodedCommand>>,
        open: &[usize],
        deadline: Instant,
        reply: oneshot::Sender<Vec<(usize, CommandReply)>>,
        span: Span,
    ) -> Vec<Item> {
        let progress = Progress {
            replies: Vec::with_capacity(open.len()),
            open: open.len(),
            reply: Some(reply),
        };
        let batch = Rc::new(Self {
            commands,
            deadline,
            stage: RefCell::new(trace::propose(&span)),
            span,
            progress: RefCell::new(progress),
            in_log: Cell::new(false),
            under: Cell::new(None),
            confirming: Cell::new(0),
        });
        open.iter()
            .map(|index| Item {
                batch: Rc::clone(&batch),
                index: *index,
            })
            .collect()
    }
}

impl Item {
    pub(super) fn encoded(&self) -> &EncodedCommand {
        &self.batch.commands[self.index]
    }

    pub(super) fn command(&self) -> &Command {
        &self.encoded().command
    }

    /// Records that the command goes into an entry. Returns the caller's span, unless another command of its
    /// batch gave it for this entry.
    pub(super) fn enters(&self, given: &[Span]) -> Option<Span> {
        let span = &self.batch.span;
        if span.is_disabled() {
            return None;
        }
        self.batch.stage.replace(Span::none());
        (!given.contains(span)).then(|| span.clone())
    }

    /// Records that the command waits for a confirmed read.
    pub(super) fn confirms(&self) {
        if !self.batch.span.is_disabled() {
            self.batch.stage.replace(trace::confirm(&self.batch.span));
        }
    }

    /// Returns whether the command may be proposed under this leadership: nothing of its batch was proposed
    /// under another one.
    pub(super) fn may_follow(&self, leadership: Leadership) -> bool {
        self.batch.under.get().is_none_or(|under| under == leadership)
    }

    /// Returns whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self, now: Instant) -> bool {
        let progress = self.batch.progress.borrow();
        now >= self.batch.deadline || progress.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Answers the command. The caller gets all answers of the batch together, with the last one.
    pub(super) fn answer(self, reply: CommandReply) {
        let mut progress = self.batch.progress.borrow_mut();
        progress.replies.push((self.index, reply));
        progress.open = progress.open.saturating_sub(1);
        if progress.open == 0
            && let Some(sender) = progress.reply.take()
        {
            // The batch's stage must end before the caller's span does.
            self.batch.stage.replace(Span::none());
            sender.send(std::mem::take(&mut progress.replies)).ok();
        }
    }
}
