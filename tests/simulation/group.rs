//! The model of a consumer group: cooperative, generations, members that are expelled while they live.
//!
//! A partition is taken from a member by a letter, is free when the member has given it up, and goes to the next one in
//! a new generation. Members read their letters when they poll, so each knows a past of its own.

use std::collections::VecDeque;

use fastrand::Rng;

/// What a member is told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    Generation(u32),
    Revoke(Vec<i32>),
    Assign(Vec<i32>),
    /// Expelled: everything it had may be somebody else's already.
    Lost,
}

/// What the broker checks of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub id: u32,
    pub generation: u32,
}

pub struct Group {
    pub generation: u32,
    /// Member and worker.
    members: Vec<(u32, usize)>,
    pub owner: Vec<Option<u32>>,
    desired: Vec<Option<u32>>,
    revoking: Vec<bool>,
    last_id: u32,
    /// The member that each worker's consumer is now.
    living: Vec<u32>,
    /// Letters on their way to each worker's consumer.
    pub mail: Vec<VecDeque<Letter>>,
}

impl Group {
    pub fn new(partitions: usize, workers: usize) -> Self {
        Group {
            generation: 0,
            members: Vec::new(),
            owner: vec![None; partitions],
            desired: vec![None; partitions],
            revoking: vec![false; partitions],
            last_id: 0,
            living: vec![0; workers],
            mail: vec![VecDeque::new(); workers],
        }
    }

    /// A worker's new consumer joins.
    pub fn join(&mut self, worker: usize, rng: &mut Rng) -> u32 {
        self.last_id += 1;
        self.living[worker] = self.last_id;
        self.mail[worker].clear();
        self.members.push((self.last_id, worker));
        self.rebalance(rng);
        self.last_id
    }

    /// A member goes: by itself, or expelled, which it learns later if it lives.
    pub fn remove(&mut self, id: u32, tell: bool, rng: &mut Rng) {
        let Some(index) = self.members.iter().position(|member| member.0 == id) else { return };
        let (_, worker) = self.members.swap_remove(index);
        for partition in 0..self.owner.len() {
            if self.owner[partition] == Some(id) {
                self.owner[partition] = None;
                self.revoking[partition] = false;
            }
        }
        if tell && self.living[worker] == id {
            self.mail[worker].push_back(Letter::Lost);
        }
        self.rebalance(rng);
    }

    /// A new generation, with partitions moved at random or left where they are.
    pub fn rebalance(&mut self, rng: &mut Rng) {
        for partition in 0..self.owner.len() {
            let stays = self.owner[partition].is_some() && rng.bool();
            self.desired[partition] = match self.members.len() {
                0 => None,
                _ if stays => self.owner[partition],
                count => Some(self.members[rng.usize(..count)].0),
            };
        }
        self.next_generation();
        for partition in 0..self.owner.len() {
            let owner = self.owner[partition];
            if owner.is_some() && owner != self.desired[partition] && !self.revoking[partition] {
                self.revoking[partition] = true;
                self.send(owner, Letter::Revoke(vec![partition as i32]));
            }
        }
    }

    fn next_generation(&mut self) {
        self.generation += 1;
        for index in 0..self.members.len() {
            self.send(Some(self.members[index].0), Letter::Generation(self.generation));
        }
    }

    /// Letters to a dead worker's member reach nobody, least of all its next life.
    fn send(&mut self, to: Option<u32>, letter: Letter) {
        if let Some((id, worker)) = self.members.iter().find(|member| Some(member.0) == to)
            && self.living[*worker] == *id
        {
            self.mail[*worker].push_back(letter);
        }
    }

    /// A member has given partitions up.
    pub fn revoked(&mut self, id: u32, partitions: &[i32]) {
        for partition in partitions.iter().map(|partition| *partition as usize) {
            if self.owner[partition] == Some(id) {
                self.owner[partition] = None;
                self.revoking[partition] = false;
            }
        }
    }

    /// Free partitions go to whom they are meant for.
    pub fn settle(&mut self) {
        let free = |group: &Group, partition: usize| group.owner[partition].is_none();
        if !(0..self.owner.len()).any(|partition| free(self, partition) && self.desired[partition].is_some()) {
            return;
        }
        self.next_generation();
        for index in 0..self.members.len() {
            let id = Some(self.members[index].0);
            let given: Vec<i32> = (0..self.owner.len())
                .filter(|partition| free(self, *partition) && self.desired[*partition] == id)
                .map(|partition| partition as i32)
                .collect();
            if !given.is_empty() {
                given.iter().for_each(|partition| self.owner[*partition as usize] = id);
                self.send(id, Letter::Assign(given));
            }
        }
    }

    /// Whether the broker accepts a commit of this member and generation.
    pub fn accepts(&self, member: Membership) -> bool {
        member.generation == self.generation && self.members.iter().any(|(id, _)| *id == member.id)
    }

    /// Members of a worker's earlier lives.
    pub fn ghosts(&self, worker: usize, living: Option<u32>) -> Option<u32> {
        self.members.iter().find(|member| member.1 == worker && Some(member.0) != living).map(|member| member.0)
    }
}
