//! Where the auditor's machines put what they want done. It hands out the tokens, so that no two
//! requests of one process ever share one.

use holdfast_types::{Millis, NodeId};

use crate::{
    effect::{CommitJob, Effect, Notice, RecoverJob, Token, VerifyJob},
    message::NodeRequest,
    store::StoreOp,
};

/// Effects in the order they were wished for.
#[derive(Debug, Default)]
pub struct Outbox {
    last: u64,
    effects: Vec<Effect>,
}

impl Outbox {
    fn token(&mut self) -> Token {
        self.last += 1;
        Token(self.last)
    }

    /// Asks the catalog.
    pub fn store(&mut self, op: StoreOp) -> Token {
        let token = self.token();
        self.effects.push(Effect::Store(token, Box::new(op)));
        token
    }

    /// Asks a node.
    pub fn send(&mut self, node: NodeId, request: NodeRequest, timeout: Millis) -> Token {
        let token = self.token();
        self.effects.push(Effect::Send { token, node, request, timeout });
        token
    }

    /// Asks the CPU pool.
    pub fn verify(&mut self, job: VerifyJob) -> Token {
        let token = self.token();
        self.effects.push(Effect::Verify(token, Box::new(job)));
        token
    }

    /// Asks for a shard's commitments.
    pub fn commit(&mut self, job: CommitJob) -> Token {
        let token = self.token();
        self.effects.push(Effect::Commit(token, Box::new(job)));
        token
    }

    /// Asks for a recovery.
    pub fn recover(&mut self, job: RecoverJob) -> Token {
        let token = self.token();
        self.effects.push(Effect::Recover(token, Box::new(job)));
        token
    }

    /// Gives up on a request.
    pub fn cancel(&mut self, token: Token) {
        self.effects.push(Effect::Cancel(token));
    }

    /// Tells the watchers.
    pub fn publish(&mut self, notice: Notice) {
        self.effects.push(Effect::Publish(notice));
    }

    /// Hands over what gathered.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
