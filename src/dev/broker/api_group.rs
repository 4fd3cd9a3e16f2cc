//! Consumer groups: join, sync, heartbeat, leave; list, describe, delete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::group::{Group, GroupState};
use super::member::{Join, JoinReply, Reply, SyncReply};
use super::server::Caller;
use crate::clock;

/// Kafka's `group.max.session.timeout.ms`. (Its minimum of 6 s is not enforced, so that tests need not wait for it.)
const MAX_SESSION: Duration = Duration::from_secs(1800);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Joins, and waits until everyone has.
pub async fn join(shared: &Arc<Shared>, caller: &Caller, request: JoinGroupRequest, version: i16) -> JoinGroupResponse {
    let session_timeout = millis(request.session_timeout_ms);
    // Version 0 has no rebalance timeout: the session's counts.
    let rebalance_timeout = if version >= 1 { millis(request.rebalance_timeout_ms) } else { session_timeout };
    let join = Join {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(|id| id.to_string()),
        client_id: caller.client_id.clone(),
        client_host: caller.host.clone(),
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type.to_string(),
        // Copied, so that the group does not hold the whole request's memory.
        protocols: request.protocols.iter().map(|p| (p.name.to_string(), p.metadata.to_vec().into())).collect(),
        two_step: version >= 4,
    };
    let member_id = join.member_id.clone();
    let refused = |error| JoinReply::refused(error, &member_id);
    let step = if session_timeout.is_zero() || session_timeout > MAX_SESSION {
        Reply::Now(refused(ResponseError::InvalidSessionTimeout))
    } else {
        let new_id = format!("{}-{:032x}", caller.client_id, fastrand::u128(..));
        match shared.state.lock().group(request.group_id.as_str()) {
            Ok(entry) => entry.group.join(join, new_id, clock::now()),
            Err(error) => Reply::Now(refused(error)),
        }
    };
    let reply = match step {
        Reply::Now(reply) => reply,
        Reply::Later(answer) => answer.await.unwrap_or_else(|_| refused(ResponseError::UnknownMemberId)),
    };
    let member = |(id, instance, metadata): (String, Option<String>, _)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(id))
            .with_group_instance_id(instance.map(StrBytes::from_string).filter(|_| version >= 5))
            .with_metadata(metadata)
    };
    // Protocol type and name may be null only since version 7.
    let named = |name: String| (!name.is_empty() || version < 7).then(|| StrBytes::from_string(name));
    JoinGroupResponse::default()
        .with_error_code(reply.error.map_or(0, |error| error.code()))
        .with_generation_id(reply.generation)
        .with_protocol_type(named(reply.protocol_type))
        .with_protocol_name(named(reply.protocol))
        .with_leader(StrBytes::from_string(reply.leader))
        .with_member_id(StrBytes::from_string(reply.member_id))
        .with_members(reply.members.into_iter().map(member).collect())
}

/// Brings the leader's assignment, or waits for one's own.
pub async fn sync(shared: &Arc<Shared>, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments: HashMap<_, _> =
        request.assignments.iter().map(|a| (a.member_id.to_string(), a.assignment.to_vec().into())).collect();
    let protocol =
        (request.protocol_type.as_ref().map(|p| p.as_str()), request.protocol_name.as_ref().map(|p| p.as_str()));
    let step = match shared.state.lock().groups.get_mut(request.group_id.as_str()) {
        Some(entry) => {
            let member_id = request.member_id.as_str();
            let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
            entry.group.sync(member_id, instance, request.generation_id, protocol, assignments, clock::now())
        }
        None => Reply::Now(SyncReply::refused(ResponseError::UnknownMemberId)),
    };
    let reply = match step {
        Reply::Now(reply) => reply,
        Reply::Later(answer) => answer.await.unwrap_or_else(|_| SyncReply::refused(ResponseError::RebalanceInProgress)),
    };
    let named = |name: String| (!name.is_empty()).then(|| StrBytes::from_string(name));
    SyncGroupResponse::default()
        .with_error_code(reply.error.map_or(0, |error| error.code()))
        .with_protocol_type(named(reply.protocol_type))
        .with_protocol_name(named(reply.protocol))
        .with_assignment(reply.assignment)
}

/// A sign of life.
pub fn heartbeat(shared: &Shared, request: &HeartbeatRequest) -> HeartbeatResponse {
    let mut state = shared.state.lock();
    let answered = match state.groups.get_mut(request.group_id.as_str()) {
        Some(entry) => {
            let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
            entry.group.heartbeat(request.member_id.as_str(), instance, request.generation_id, clock::now())
        }
        None => Err(ResponseError::UnknownMemberId),
    };
    HeartbeatResponse::default().with_error_code(answered.err().map_or(0, |error| error.code()))
}

/// Leaves; since version 3 several at once.
pub fn leave(shared: &Shared, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let mut state = shared.state.lock();
    let mut leave = |member_id: &str, instance: Option<&str>| {
        let left = match state.groups.get_mut(request.group_id.as_str()) {
            Some(entry) => entry.group.leave(member_id, instance, clock::now()),
            None => Err(ResponseError::UnknownMemberId),
        };
        left.err().map_or(0, |error| error.code())
    };
    if version < 3 {
        return LeaveGroupResponse::default().with_error_code(leave(request.member_id.as_str(), None));
    }
    let members = request.members.into_iter().map(|member| {
        let code = leave(member.member_id.as_str(), member.group_instance_id.as_ref().map(|id| id.as_str()));
        MemberResponse::default()
            .with_error_code(code)
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

/// All groups, by state and type if asked.
pub fn list(shared: &Shared, request: &ListGroupsRequest) -> ListGroupsResponse {
    const TYPE: &str = "classic";
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.as_str().eq_ignore_ascii_case(value))
    };
    let state = shared.state.lock();
    let listed = state.groups.iter().filter(|(_, entry)| {
        passes(&request.states_filter, entry.group.state.name()) && passes(&request.types_filter, TYPE)
    });
    let groups = listed.map(|(name, entry)| {
        ListedGroup::default()
            .with_group_id(GroupId(text(name)))
            .with_protocol_type(text(&entry.group.protocol_type))
            .with_group_state(StrBytes::from_static_str(entry.group.state.name()))
            .with_group_type(StrBytes::from_static_str(TYPE))
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

/// Groups with their members. One that does not exist is `Dead`, as in Kafka before version 6.
pub fn describe(shared: &Shared, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let state = shared.state.lock();
    let groups = request.groups.into_iter().map(|name| {
        let described = match state.groups.get(name.as_str()) {
            Some(entry) => describe_group(&entry.group),
            None => DescribedGroup::default().with_group_state(StrBytes::from_static_str("Dead")),
        };
        described.with_group_id(name)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe_group(group: &Group) -> DescribedGroup {
    // Protocol, metadata and assignments are shown once they are agreed upon.
    let stable = group.state == GroupState::Stable;
    let members = group.members.iter().map(|(id, member)| {
        let metadata = if stable { member.metadata(&group.protocol) } else { Default::default() };
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_client_id(text(&member.join.client_id))
            .with_client_host(text(&member.join.client_host))
            .with_member_metadata(metadata)
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(if stable { &group.protocol } else { "" }))
        .with_members(members.collect())
}

/// Deletes groups without members.
pub fn delete(shared: &Shared, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut state = shared.state.lock();
    let results = request.groups_names.into_iter().map(|name| {
        let found = state.groups.get(name.as_str()).map(|entry| entry.group.state);
        let code = match found {
            None => ResponseError::GroupIdNotFound.code(),
            Some(GroupState::Empty) => {
                state.groups.remove(name.as_str());
                0
            }
            Some(_) => ResponseError::NonEmptyGroup.code(),
        };
        DeletableGroupResult::default().with_group_id(name).with_error_code(code)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
