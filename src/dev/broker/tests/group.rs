use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError::*;
use tokio::sync::oneshot::Receiver;

use super::super::group::{Group, GroupState};
use super::super::member::{Join, JoinReply, Reply, SyncReply};
use crate::clock;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

fn request(member_id: &str, metadata: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("sticky".to_owned(), Bytes::copy_from_slice(metadata.as_bytes()))],
        two_step: false,
    }
}

fn later<T>(reply: Reply<T>) -> Receiver<T> {
    match reply {
        Reply::Later(receiver) => receiver,
        Reply::Now(_) => panic!("answered at once"),
    }
}

fn now<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Now(reply) => reply,
        Reply::Later(_) => panic!("not answered at once"),
    }
}

fn join(group: &mut Group, id: &str, at: Instant) -> Receiver<JoinReply> {
    later(group.join(request("", "m"), id.to_owned(), at))
}

fn rejoin(group: &mut Group, id: &str, metadata: &str, at: Instant) -> Receiver<JoinReply> {
    later(group.join(request(id, metadata), String::new(), at))
}

fn sync(group: &mut Group, id: &str, assignments: &[(&str, &str)], at: Instant) -> Reply<SyncReply> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let assignments: HashMap<_, _> = assignments.iter().map(|(id, a)| ((*id).to_owned(), bytes(a))).collect();
    group.sync(id, None, group.generation, (Some("consumer"), Some("sticky")), assignments, at)
}

/// A stable group of `a` (the leader) and `b`.
fn stable(at: Instant) -> Group {
    let mut group = Group::default();
    let mut first = join(&mut group, "a", at);
    assert_eq!(first.try_recv().unwrap().leader, "a");
    let _ = sync(&mut group, "a", &[("a", "all")], at);
    let mut second = join(&mut group, "b", at);
    assert!(second.try_recv().is_err(), "waits for a to rejoin");
    let mut again = rejoin(&mut group, "a", "m", at);
    let (a, b) = (again.try_recv().unwrap(), second.try_recv().unwrap());
    assert_eq!((a.members.len(), b.members.len()), (2, 0), "the leader alone is told the members");
    assert_eq!((a.generation, b.generation), (2, 2));
    let mut waiting = later(sync(&mut group, "b", &[], at));
    assert!(waiting.try_recv().is_err(), "the leader has not assigned yet");
    let mut own = later(sync(&mut group, "a", &[("a", "left"), ("b", "right")], at));
    assert_eq!(own.try_recv().unwrap().assignment, "left");
    assert_eq!(waiting.try_recv().unwrap().assignment, "right");
    assert_eq!(group.state, GroupState::Stable);
    group
}

#[test]
fn two_members_join_and_get_their_assignments() {
    let group = stable(clock::now());
    assert_eq!((group.protocol.as_str(), group.generation), ("sticky", 2));
}

#[test]
fn a_new_client_first_gets_an_id_and_counts_while_it_has_not_used_it() {
    let (mut group, at) = (stable(clock::now()), clock::now());
    let two_step = Join { two_step: true, ..request("", "m") };
    let refused = now(group.join(two_step.clone(), "c".to_owned(), at));
    assert_eq!((refused.error, refused.member_id.as_str()), (Some(MemberIdRequired), "c"));
    assert_eq!(group.heartbeat("a", None, 2, at), Ok(()), "nothing has begun");
    let mut third = later(group.join(Join { member_id: "c".to_owned(), ..two_step }, String::new(), at));
    assert_eq!(group.heartbeat("a", None, 2, at), Err(RebalanceInProgress));
    let _a = rejoin(&mut group, "a", "m", at);
    let _b = rejoin(&mut group, "b", "m", at);
    assert_eq!(third.try_recv().unwrap().generation, 3);
    let stranger = now(group.join(request("who", "m"), String::new(), at));
    assert_eq!(stranger.error, Some(UnknownMemberId));
}

#[test]
fn a_member_that_leaves_makes_the_others_rejoin() {
    let (mut group, at) = (stable(clock::now()), clock::now());
    group.leave("b", None, at).unwrap();
    assert_eq!(group.leave("b", None, at), Err(UnknownMemberId));
    assert_eq!(group.heartbeat("a", None, 2, at), Err(RebalanceInProgress));
    let mut alone = rejoin(&mut group, "a", "m", at);
    assert_eq!(alone.try_recv().unwrap().members.len(), 1);
    group.leave("a", None, at).unwrap();
    assert_eq!((group.state, group.generation), (GroupState::Empty, 4));
}

#[test]
fn a_silent_member_is_out_after_its_session_and_a_talking_one_is_not() {
    let at = clock::now();
    let mut group = stable(at);
    let half = at + SESSION / 2;
    group.heartbeat("a", None, 2, half).unwrap();
    group.expire(at + SESSION);
    assert_eq!(group.heartbeat("a", None, 2, half), Err(RebalanceInProgress));
    assert_eq!(group.heartbeat("b", None, 2, half), Err(UnknownMemberId));
}

#[test]
fn a_rebalance_goes_on_without_those_who_do_not_rejoin_in_time() {
    let at = clock::now();
    let mut group = stable(at);
    let mut third = join(&mut group, "c", at);
    let mut a = rejoin(&mut group, "a", "m", at);
    // b keeps its session alive but never rejoins.
    group.heartbeat("b", None, 2, at + REBALANCE - SESSION / 2).unwrap_err();
    group.expire(at + REBALANCE - Duration::from_millis(1));
    assert!(third.try_recv().is_err());
    group.expire(at + REBALANCE);
    assert_eq!(third.try_recv().unwrap().generation, 3);
    assert_eq!(a.try_recv().unwrap().members.len(), 2);
    assert_eq!(group.heartbeat("b", None, 3, at), Err(UnknownMemberId));
}

#[test]
fn a_leader_that_never_assigns_is_out_and_the_others_begin_again() {
    let at = clock::now();
    let mut group = stable(at);
    let _c = join(&mut group, "c", at);
    let (_a, _b) = (rejoin(&mut group, "a", "m", at), rejoin(&mut group, "b", "m", at));
    let mut b = later(sync(&mut group, "b", &[], at));
    let _waiting = later(sync(&mut group, "c", &[], at));
    group.expire(at + REBALANCE);
    assert_eq!(b.try_recv().unwrap().error, Some(RebalanceInProgress));
    assert_eq!(group.heartbeat("a", None, 3, at), Err(UnknownMemberId));
    assert_eq!(group.state, GroupState::PreparingRebalance);
}

#[test]
fn an_unchanged_follower_may_ask_again_but_changed_metadata_or_the_leader_rebalance() {
    let (mut group, at) = (stable(clock::now()), clock::now());
    let again = now(group.join(request("b", "m"), String::new(), at));
    assert_eq!((again.error, again.generation), (None, 2));
    let _b = rejoin(&mut group, "b", "owned: nothing", at);
    assert_eq!(group.state, GroupState::PreparingRebalance);
    let mut group = stable(at);
    let _a = rejoin(&mut group, "a", "m", at);
    assert_eq!(group.state, GroupState::PreparingRebalance);
}

#[test]
fn a_group_agrees_on_an_assignor_that_all_know() {
    let at = clock::now();
    let mut group = Group::default();
    let with = |names: &[&str]| Join {
        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
        ..request("", "")
    };
    let _a = later(group.join(with(&["range", "sticky"]), "a".to_owned(), at));
    let _b = later(group.join(with(&["sticky"]), "b".to_owned(), at));
    let other = now(group.join(with(&["roundrobin"]), "c".to_owned(), at));
    assert_eq!(other.error, Some(InconsistentGroupProtocol));
    let rejoin = Join { member_id: "a".to_owned(), ..with(&["range", "sticky"]) };
    let mut a = later(group.join(rejoin, String::new(), at));
    assert_eq!(a.try_recv().unwrap().protocol, "sticky");
}

#[test]
fn commits_are_checked_against_generation_and_member() {
    let at = clock::now();
    let mut group = stable(at);
    let mut check =
        |member: &str, generation, transactional| group.may_commit(member, None, generation, transactional, at);
    assert_eq!(check("a", 2, false), Ok(()));
    assert_eq!(check("a", 1, false), Err(IllegalGeneration));
    assert_eq!(check("a", 1, true), Err(IllegalGeneration));
    assert_eq!(check("who", 2, true), Err(UnknownMemberId));
    assert_eq!(check("", -1, false), Err(UnknownMemberId), "the group is live");
    assert_eq!(check("", -1, true), Ok(()), "unchecked, as in Kafka");
    assert_eq!(Group::default().may_commit("", None, -1, false, at), Ok(()), "a client that manages itself");
    let _c = join(&mut group, "c", at);
    assert_eq!(group.may_commit("a", None, 2, false, at), Ok(()), "before it rejoins");
    let (_a, _b) = (rejoin(&mut group, "a", "m", at), rejoin(&mut group, "b", "m", at));
    assert_eq!(group.may_commit("a", None, 3, false, at), Err(RebalanceInProgress));
    assert_eq!(group.may_commit("a", None, 3, true, at), Ok(()));
}

#[test]
fn a_static_member_that_returns_replaces_itself() {
    let at = clock::now();
    let mut group = Group::default();
    let named = || Join { instance_id: Some("pod-0".to_owned()), two_step: true, ..request("", "m") };
    let mut old = later(group.join(named(), "a".to_owned(), at));
    assert_eq!(old.try_recv().unwrap().member_id, "a");
    let mut new = later(group.join(named(), "b".to_owned(), at));
    assert_eq!(new.try_recv().unwrap().members.len(), 1, "the old one is gone");
    assert_eq!(group.heartbeat("a", None, 2, at), Err(UnknownMemberId));
    assert_eq!(group.heartbeat("a", Some("pod-0"), 2, at), Err(FencedInstanceId));
    group.leave("", Some("pod-0"), at).unwrap();
    assert_eq!(group.state, GroupState::Empty);
}
