//! A consumer group of the classic protocol: a state machine that is given the time.
//!
//! The rules are those of `GroupMetadataManager` and `ClassicGroup` in Apache Kafka 4; static members are treated as
//! dynamic ones that replace whoever had their name.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{Join, JoinReply, Member, Reply, SyncReply};

/// Members a group may have.
const MAX_MEMBERS: usize = 1_000;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupState {
    /// No members (there may be offsets).
    #[default]
    Empty,
    /// Waiting for members to (re)join.
    PreparingRebalance,
    /// Joined; waiting for the leader's assignment.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
}

impl GroupState {
    /// As Kafka's tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One group.
#[derive(Debug, Default)]
pub struct Group {
    pub(super) state: GroupState,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// Ids handed out in the first step of a join, until when they count.
    pub(super) pending: HashMap<String, Instant>,
    /// When the current phase of a rebalance goes on without the missing.
    pub(super) phase_deadline: Option<Instant>,
}

impl Group {
    /// JoinGroup. `new_id` is a fresh member id, used when the request has none.
    pub fn join(&mut self, mut join: Join, new_id: String, now: Instant) -> Reply<JoinReply> {
        if let Err(error) = self.compatible(&join) {
            return Reply::Now(JoinReply::refused(error, &join.member_id));
        }
        if join.member_id.is_empty() {
            if self.members.len() + self.pending.len() >= MAX_MEMBERS {
                return Reply::Now(JoinReply::refused(ResponseError::GroupMaxSizeReached, ""));
            }
            if join.two_step && join.instance_id.is_none() {
                self.pending.insert(new_id.clone(), now + join.session_timeout);
                return Reply::Now(JoinReply::refused(ResponseError::MemberIdRequired, &new_id));
            }
            self.replace_instance(&join);
            join.member_id = new_id;
            return self.admit(join, now);
        }
        if self.pending.remove(&join.member_id).is_some() {
            return self.admit(join, now);
        }
        let Some(member) = self.members.get_mut(&join.member_id) else {
            return Reply::Now(JoinReply::refused(ResponseError::UnknownMemberId, &join.member_id));
        };
        let (id, same) = (join.member_id.clone(), member.join.protocols == join.protocols);
        let is_leader = self.leader == id;
        let current = match self.state {
            GroupState::CompletingRebalance => same,
            GroupState::Stable => same && !is_leader,
            GroupState::Empty | GroupState::PreparingRebalance => false,
        };
        member.join = join;
        member.seen(now);
        if current {
            return Reply::Now(self.join_reply(&id));
        }
        let waiting = member.wait_join();
        self.rebalance(now);
        waiting
    }

    /// SyncGroup.
    pub fn sync(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        protocol: (Option<&str>, Option<&str>),
        assignments: HashMap<String, Bytes>,
        now: Instant,
    ) -> Reply<SyncReply> {
        if let Err(error) = self.member(member_id, instance_id, generation) {
            return Reply::Now(SyncReply::refused(error));
        }
        let differs = |asked: Option<&str>, ours: &str| asked.is_some_and(|asked| asked != ours);
        if differs(protocol.0, &self.protocol_type) || differs(protocol.1, &self.protocol) {
            return Reply::Now(SyncReply::refused(ResponseError::InconsistentGroupProtocol));
        }
        let Some(member) = self.members.get_mut(member_id) else {
            return Reply::Now(SyncReply::refused(ResponseError::UnknownMemberId));
        };
        member.seen(now);
        match self.state {
            GroupState::Empty => Reply::Now(SyncReply::refused(ResponseError::UnknownMemberId)),
            GroupState::PreparingRebalance => Reply::Now(SyncReply::refused(ResponseError::RebalanceInProgress)),
            GroupState::Stable => Reply::Now(SyncReply {
                error: None,
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            }),
            GroupState::CompletingRebalance => {
                let waiting = member.wait_sync();
                if member_id == self.leader {
                    self.assign(assignments, now);
                }
                waiting
            }
        }
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// `UnknownMemberId`, `IllegalGeneration`, `FencedInstanceId`; `RebalanceInProgress` tells the member to rejoin.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.member(member_id, instance_id, generation)?.seen(now);
        if self.state == GroupState::PreparingRebalance { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// LeaveGroup of one member, by id or by static name.
    ///
    /// # Errors
    /// `UnknownMemberId`.
    pub fn leave(&mut self, member_id: &str, instance_id: Option<&str>, now: Instant) -> Result<(), ResponseError> {
        let id = match instance_id {
            Some(instance) if member_id.is_empty() => {
                self.instance(instance).ok_or(ResponseError::UnknownMemberId)?.to_owned()
            }
            _ => member_id.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.try_complete_join(now);
            return Ok(());
        }
        self.remove(&id, ResponseError::UnknownMemberId).ok_or(ResponseError::UnknownMemberId)?;
        self.rebalance(now);
        Ok(())
    }

    /// Whether a commit of offsets is the group's own. `transactional` commits without generation and member are
    /// accepted unchecked, as Kafka does.
    ///
    /// # Errors
    /// `UnknownMemberId`, `IllegalGeneration`, `FencedInstanceId`; `RebalanceInProgress` (plain commits while an assignment is awaited).
    pub fn may_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.member(member_id, instance_id, generation)?.seen(now);
        } else if !transactional {
            return Err(ResponseError::UnknownMemberId);
        }
        if !transactional && self.state == GroupState::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Lets go of members whose session is over, and of a rebalance phase that has lasted long enough.
    pub fn expire(&mut self, now: Instant) {
        let pending_before = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now);
        let late = |m: &Member| m.joining.is_none() && m.syncing.is_none() && m.deadline <= now;
        let mut gone: Vec<String> = self.members.iter().filter(|(_, m)| late(m)).map(|(id, _)| id.clone()).collect();
        let phase_over = self.phase_deadline.is_some_and(|deadline| deadline <= now);
        if phase_over {
            let completing = self.state == GroupState::CompletingRebalance;
            let missing = |m: &Member| if completing { m.syncing.is_none() } else { m.joining.is_none() };
            gone = self.members.iter().filter(|(_, m)| missing(m)).map(|(id, _)| id.clone()).collect();
            self.pending.clear();
        }
        for id in &gone {
            self.remove(id, ResponseError::UnknownMemberId);
        }
        if !gone.is_empty() {
            self.rebalance(now);
        } else if phase_over || self.pending.len() < pending_before {
            self.try_complete_join(now);
        }
    }

    fn compatible(&self, join: &Join) -> Result<(), ResponseError> {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let others = || self.members.iter().filter(|(id, _)| **id != join.member_id).map(|(_, member)| member);
        if others().next().is_none() {
            return Ok(());
        }
        let common = |name: &str| others().all(|m| m.join.protocols.iter().any(|(other, _)| other == name));
        if join.protocol_type != self.protocol_type || !join.protocols.iter().any(|(name, _)| common(name)) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn admit(&mut self, join: Join, now: Instant) -> Reply<JoinReply> {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        let id = join.member_id.clone();
        let mut member = Member::new(join, now);
        let waiting = member.wait_join();
        self.members.insert(id, member);
        self.rebalance(now);
        waiting
    }

    fn replace_instance(&mut self, join: &Join) {
        let old = join.instance_id.as_deref().and_then(|name| self.instance(name)).map(str::to_owned);
        if let Some(old) = old {
            self.remove(&old, ResponseError::FencedInstanceId);
        }
    }

    fn instance(&self, name: &str) -> Option<&str> {
        let found = self.members.iter().find(|(_, m)| m.join.instance_id.as_deref() == Some(name));
        found.map(|(id, _)| id.as_str())
    }

    fn remove(&mut self, id: &str, error: ResponseError) -> Option<()> {
        let mut member = self.members.remove(id)?;
        member.answer_join(JoinReply::refused(error, id));
        member.answer_sync(SyncReply::refused(error));
        Some(())
    }

    fn member(&mut self, id: &str, instance_id: Option<&str>, generation: i32) -> Result<&mut Member, ResponseError> {
        if instance_id.and_then(|name| self.instance(name)).is_some_and(|owner| owner != id) {
            return Err(ResponseError::FencedInstanceId);
        }
        let current = self.generation;
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        if generation == current { Ok(member) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// Begins a rebalance (or goes on with one), and completes its first phase if everyone is there.
    fn rebalance(&mut self, now: Instant) {
        if self.state != GroupState::PreparingRebalance {
            for member in self.members.values_mut() {
                member.answer_sync(SyncReply::refused(ResponseError::RebalanceInProgress));
            }
            self.state = GroupState::PreparingRebalance;
            self.phase_deadline = Some(now + self.rebalance_timeout());
        }
        self.try_complete_join(now);
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|m| m.join.rebalance_timeout).max().unwrap_or_default()
    }

    fn try_complete_join(&mut self, now: Instant) {
        let everyone = self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some());
        if self.state != GroupState::PreparingRebalance || !everyone {
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.state = GroupState::Empty;
            self.phase_deadline = None;
            self.protocol.clear();
            self.leader.clear();
            return;
        }
        self.protocol = self.vote();
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.state = GroupState::CompletingRebalance;
        self.phase_deadline = Some(now + self.rebalance_timeout());
        let replies: Vec<_> = self.members.keys().map(|id| self.join_reply(id)).collect();
        for (member, reply) in self.members.values_mut().zip(replies) {
            member.assignment = Bytes::new();
            member.seen(now);
            member.answer_join(reply);
        }
    }

    /// Each member votes for the first of its assignors that all know; most votes win.
    fn vote(&self) -> String {
        let known = |name: &str| self.members.values().all(|m| m.join.protocols.iter().any(|(other, _)| other == name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.join.protocols.iter().find(|(name, _)| known(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    fn join_reply(&self, id: &str) -> JoinReply {
        let everyone = || {
            self.members
                .iter()
                .map(|(id, m)| (id.clone(), m.join.instance_id.clone(), m.metadata(&self.protocol)))
                .collect()
        };
        JoinReply {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members: if id == self.leader { everyone() } else { Vec::new() },
        }
    }

    fn assign(&mut self, mut assignments: HashMap<String, Bytes>, now: Instant) {
        self.state = GroupState::Stable;
        self.phase_deadline = None;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
            let reply = SyncReply {
                error: None,
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            };
            // Whoever has not synced yet gets it from the stable group.
            member.seen(now);
            member.answer_sync(reply);
        }
    }
}
