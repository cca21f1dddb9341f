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

/// What one attempt at one replica made of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CommandReply {
    /// Decided: the answer.
    Decided(Outcome),
    /// Certainly not proposed here.
    NotProposed,
    /// Proposed, but what became of it is not known here.
    Unknown,
    /// Not taken: too many are waiting.
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Not taken: it begins something new, and the disks are nearly full.
    LowSpace,
}

/// One submission. Its commands are decided in their order.
pub(super) struct Batch {
    commands: Arc<Vec<EncodedCommand>>,
    deadline: Instant,
    /// Of its caller; none when that is not traced.
    span: Span,
    /// What it waits for, for its caller's trace.
    stage: RefCell<Span>,
    progress: RefCell<Progress>,
    /// A command of it is in the log or on its way there: the ones after it have to follow.
    pub(super) in_log: Cell<bool>,
    /// The leadership under which its first entry was proposed. The next one follows under the same, or not at all: under another the
    /// first may be missing.
    pub(super) under: Cell<Option<Leadership>>,
    /// So many of its commands wait for a confirmed read: the ones after them have to wait too.
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
    /// The items of a new batch: those of `commands` that `open` names.
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

    /// It is put into an entry: the span of its caller, unless another of its batch gave it for this entry.
    pub(super) fn enters(&self, given: &[Span]) -> Option<Span> {
        let span = &self.batch.span;
        if span.is_disabled() {
            return None;
        }
        self.batch.stage.replace(Span::none());
        (!given.contains(span)).then(|| span.clone())
    }

    /// It waits for a confirmed read.
    pub(super) fn confirms(&self) {
        if !self.batch.span.is_disabled() {
            self.batch.stage.replace(trace::confirm(&self.batch.span));
        }
    }

    /// Whether it may be proposed under a leadership: none of its batch was proposed under another.
    pub(super) fn may_follow(&self, leadership: Leadership) -> bool {
        self.batch.under.get().is_none_or(|under| under == leadership)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self, now: Instant) -> bool {
        let progress = self.batch.progress.borrow();
        now >= self.batch.deadline || progress.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Gives the answer; the caller hears when the last of the batch has its own.
    pub(super) fn answer(self, reply: CommandReply) {
        let mut progress = self.batch.progress.borrow_mut();
        progress.replies.push((self.index, reply));
        progress.open = progress.open.saturating_sub(1);
        if progress.open == 0
            && let Some(sender) = progress.reply.take()
        {
            // Its stage ends before the caller's does.
            self.batch.stage.replace(Span::none());
            sender.send(std::mem::take(&mut progress.replies)).ok();
        }
    }
}
