//! A member of a consumer group, what it asks for and what it is answered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub struct Join {
    /// Empty on the first try.
    pub member_id: String,
    /// Set for a static member; such a member replaces the one of the same name.
    pub instance_id: Option<String>,
    /// For descriptions, and the start of a new member's id.
    pub client_id: String,
    /// For descriptions.
    pub client_host: String,
    /// Without a sign of life for this long it is out.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// Assignors in order of preference, each with opaque metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether the client knows the two-step join (version 4 on).
    pub two_step: bool,
}

/// The answer to a JoinGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinReply {
    /// None is success.
    pub error: Option<ResponseError>,
    /// −1 on errors.
    pub generation: i32,
    /// Of the group.
    pub protocol_type: String,
    /// The assignor chosen.
    pub protocol: String,
    /// Member that computes the assignment.
    pub leader: String,
    /// The member's own id.
    pub member_id: String,
    /// For the leader: everyone's id, instance id and metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

impl JoinReply {
    /// A refusal.
    pub fn refused(error: ResponseError, member_id: &str) -> Self {
        Self { error: Some(error), generation: -1, member_id: member_id.to_owned(), ..Self::default() }
    }
}

/// The answer to a SyncGroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReply {
    /// None is success.
    pub error: Option<ResponseError>,
    /// Of the group.
    pub protocol_type: String,
    /// The assignor chosen.
    pub protocol: String,
    /// Opaque, from the leader.
    pub assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    pub fn refused(error: ResponseError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

/// An answer, now or when the others are there too.
#[derive(Debug)]
pub enum Reply<T> {
    /// Now.
    Now(T),
    /// Later; a closed channel means the group has forgotten the member.
    Later(oneshot::Receiver<T>),
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// What it last asked for.
    pub join: Join,
    /// From the leader's last SyncGroup.
    pub assignment: Bytes,
    /// When it counts as dead, unless it waits for us.
    pub deadline: Instant,
    /// Waits for the join to complete.
    pub joining: Option<oneshot::Sender<JoinReply>>,
    /// Waits for the assignment.
    pub syncing: Option<oneshot::Sender<SyncReply>>,
}

impl Member {
    /// A member that has just appeared.
    pub fn new(join: Join, now: Instant) -> Self {
        let deadline = now + join.session_timeout;
        Self { join, assignment: Bytes::new(), deadline, joining: None, syncing: None }
    }

    /// A sign of life.
    pub fn seen(&mut self, now: Instant) {
        self.deadline = now + self.join.session_timeout;
    }

    /// The metadata for an assignor.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.join.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Begins to wait for the join; an older wait (of a lost connection) ends.
    pub fn wait_join(&mut self) -> Reply<JoinReply> {
        let (sender, receiver) = oneshot::channel();
        self.joining = Some(sender);
        Reply::Later(receiver)
    }

    /// Begins to wait for the assignment.
    pub fn wait_sync(&mut self) -> Reply<SyncReply> {
        let (sender, receiver) = oneshot::channel();
        self.syncing = Some(sender);
        Reply::Later(receiver)
    }

    /// Answers the waiting JoinGroup, if any. A receiver that has gone is no error: its session will time out.
    pub fn answer_join(&mut self, reply: JoinReply) {
        if let Some(sender) = self.joining.take() {
            let _ = sender.send(reply);
        }
    }

    /// Answers the waiting SyncGroup, if any.
    pub fn answer_sync(&mut self, reply: SyncReply) {
        if let Some(sender) = self.syncing.take() {
            let _ = sender.send(reply);
        }
    }
}
