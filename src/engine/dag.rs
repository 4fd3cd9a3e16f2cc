//! The agents of a stage as a graph, and one event's progress through it. Sets of agents are bits of a word.

/// Agents in one stage at most.
pub const MAX_AGENTS: usize = 64;

/// Who waits for whom inside a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dag {
    /// For each agent, the agents of this stage whose parts it reads.
    needs: Box<[u64]>,
    all: u64,
}

/// How far one event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    started: u64,
    done: u64,
}

impl Dag {
    /// The graph of `dependencies[agent] = agents of the same stage that it reads`, each lower than the agent itself
    /// (the topology is sorted). `None` where that does not hold or there are more than 64 agents.
    pub fn new(dependencies: &[Vec<usize>]) -> Option<Self> {
        if dependencies.len() > MAX_AGENTS {
            return None;
        }
        let needs = dependencies
            .iter()
            .enumerate()
            .map(|(agent, reads)| reads.iter().try_fold(0u64, |bits, read| (*read < agent).then(|| bits | 1 << read)))
            .collect::<Option<Box<[u64]>>>()?;
        let all = if needs.len() == 64 { u64::MAX } else { (1 << needs.len()) - 1 };
        Some(Dag { needs, all })
    }

    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether there is no agent at all.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// The next agent that can start, marked as started.
    pub fn start_next(&self, progress: &mut Progress) -> Option<usize> {
        let mut candidates = self.all & !progress.started;
        while candidates != 0 {
            let agent = candidates.trailing_zeros() as usize;
            if self.needs[agent] & !progress.done == 0 {
                progress.started |= 1 << agent;
                return Some(agent);
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// Whether every agent is done.
    pub fn is_complete(&self, progress: &Progress) -> bool {
        progress.done == self.all
    }
}

impl Progress {
    /// The agents whose parts are there, as bits.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// An agent's part is there.
    pub fn finish(&mut self, agent: usize) {
        self.started |= 1 << agent;
        self.done |= 1 << agent;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agents_without_dependencies_start_together_and_the_last_waits_for_both() {
        let dag = Dag::new(&[vec![], vec![], vec![0, 1]]).unwrap();
        let mut progress = Progress::default();
        assert_eq!(dag.start_next(&mut progress), Some(0));
        assert_eq!(dag.start_next(&mut progress), Some(1));
        assert_eq!(dag.start_next(&mut progress), None);
        progress.finish(1);
        assert_eq!(dag.start_next(&mut progress), None);
        progress.finish(0);
        assert_eq!(dag.start_next(&mut progress), Some(2));
        assert!(!dag.is_complete(&progress));
        progress.finish(2);
        assert!(dag.is_complete(&progress));
    }

    #[test]
    fn a_graph_that_is_not_sorted_is_refused() {
        assert_eq!(Dag::new(&[vec![1], vec![]]), None);
        assert_eq!(Dag::new(&vec![vec![]; 65]), None);
        assert!(Dag::new(&vec![vec![]; 64]).is_some());
    }

    proptest! {
        #[test]
        fn every_agent_starts_once_and_only_after_what_it_reads(
            edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let dependencies: Vec<Vec<usize>> = edges
                .iter()
                .enumerate()
                .map(|(agent, reads)| if agent == 0 { vec![] } else { reads.iter().map(|read| read.index(agent)).collect() })
                .collect();
            let dag = Dag::new(&dependencies).unwrap();
            let mut progress = Progress::default();
            let (mut running, mut done) = (Vec::new(), Vec::new());
            for pick in picks {
                while let Some(agent) = dag.start_next(&mut progress) {
                    prop_assert!(dependencies[agent].iter().all(|read| done.contains(read)));
                    prop_assert!(!running.contains(&agent) && !done.contains(&agent));
                    running.push(agent);
                }
                if running.is_empty() { break; }
                let agent = running.swap_remove(pick.index(running.len()));
                progress.finish(agent);
                done.push(agent);
            }
            prop_assert_eq!(dag.is_complete(&progress), done.len() == dependencies.len());
            prop_assert!(dag.is_complete(&progress));
        }
    }
}
