use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::super::server::{APIS, Caller, encode, handle};
use super::super::state::State;
use super::super::{BrokerConfig, Shared, decode};

fn shared() -> Arc<Shared> {
    let mut state = State::new(1 << 20);
    state.create_topic("events", 2, Default::default(), false).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
    Arc::new(Shared { config: BrokerConfig::default(), address, state: Mutex::new(state) })
}

fn caller() -> Caller {
    Caller { wake: Arc::new(Notify::new()), host: "/127.0.0.1".to_owned(), client_id: "c".to_owned() }
}

/// The encoders refuse fields that a version lacks, so each answer is encoded in each version that is offered.
#[tokio::test]
async fn every_request_is_answered_in_every_version_that_is_offered() {
    let requests = decode::empty_requests();
    assert_eq!(requests.len(), APIS.len());
    for (api, min, max) in APIS {
        let (_, request) = requests.iter().find(|(key, _)| key == api).unwrap();
        for version in *min..=*max {
            let response = handle(&shared(), &caller(), request.clone(), version).await;
            match response {
                Some(response) => assert!(encode(*api, version, 1, &response).is_ok(), "{api:?} {version}"),
                None => assert_eq!(*api, ApiKey::Produce, "acks 0 alone wants no answer"),
            }
        }
    }
}

fn filled(api: ApiKey, version: i16) -> RequestKind {
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
    use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
    use kafka_protocol::messages::leave_group_request::MemberIdentity;
    use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::StrBytes;
    let text = StrBytes::from_static_str;
    let name = || TopicName(text("events"));
    match api {
        ApiKey::Produce => {
            let partition = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"nonsense")));
            let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![partition]);
            RequestKind::Produce(ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]))
        }
        ApiKey::Fetch => {
            let partitions = vec![FetchPartition::default(), FetchPartition::default().with_partition(9)];
            let topic = FetchTopic::default().with_topic(name()).with_partitions(partitions);
            let request = FetchRequest::default().with_topics(vec![topic]).with_max_bytes(1000);
            RequestKind::Fetch(request.with_isolation_level(1))
        }
        ApiKey::ListOffsets => {
            let at = |timestamp| ListOffsetsPartition::default().with_timestamp(timestamp);
            let partitions = [-1, -2, -3, 0].map(at).into();
            let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(partitions);
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![topic]))
        }
        ApiKey::Metadata => {
            let missing = MetadataRequestTopic::default().with_name(Some(TopicName(text("missing"))));
            let topics = vec![MetadataRequestTopic::default().with_name(Some(name())), missing];
            RequestKind::Metadata(MetadataRequest::default().with_topics(Some(topics)))
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::default().with_key(text("g"));
            RequestKind::FindCoordinator(request.with_coordinator_keys(vec![text("g")]))
        }
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest::default().with_group_id(GroupId(text("g"))).with_session_timeout_ms(6000);
            let request = request.with_protocol_type(text("consumer")).with_rebalance_timeout_ms(6000);
            let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
            RequestKind::JoinGroup(request.with_protocols(vec![protocol]))
        }
        ApiKey::LeaveGroup => {
            let member = MemberIdentity::default().with_member_id(text("m"));
            RequestKind::LeaveGroup(LeaveGroupRequest::default().with_members(vec![member]))
        }
        ApiKey::OffsetFetch => {
            let topic = OffsetFetchRequestTopic::default().with_name(name()).with_partition_indexes(vec![0, 1]);
            let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(None);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default().with_topics(Some(vec![topic])).with_groups(vec![group]),
            )
        }
        ApiKey::DescribeGroups => {
            RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]))
        }
        ApiKey::CreateTopics => {
            let topic = CreatableTopic::default().with_name(TopicName(text("new"))).with_num_partitions(2);
            let topic = topic.with_replication_factor(-1);
            RequestKind::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic.clone(), topic]))
        }
        ApiKey::DeleteTopics => {
            let topic = DeleteTopicState::default().with_name(Some(name()));
            let request = DeleteTopicsRequest::default().with_topics(vec![topic]);
            RequestKind::DeleteTopics(if version < 6 { request.with_topic_names(vec![name()]) } else { request })
        }
        ApiKey::DescribeConfigs => {
            let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text("events"));
            let resource = resource.with_configuration_keys(None);
            RequestKind::DescribeConfigs(DescribeConfigsRequest::default().with_resources(vec![resource]))
        }
        other => decode::empty_requests().into_iter().find(|(key, _)| *key == other).unwrap().1,
    }
}

#[tokio::test]
async fn requests_with_content_are_answered_in_every_version_too() {
    for (api, min, max) in APIS {
        for version in *min..=*max {
            let response = handle(&shared(), &caller(), filled(*api, version), version).await;
            if let Some(response) = response {
                assert!(encode(*api, version, 1, &response).is_ok(), "{api:?} {version}: {response:?}");
                if let ResponseKind::DeleteTopics(deleted) = response {
                    assert_eq!(deleted.responses[0].error_code, 0, "version {version}");
                }
            }
        }
    }
}

#[test]
fn an_array_that_claims_more_entries_than_bytes_are_left_is_refused() {
    let metadata = |version: i16, rest: &[u8]| {
        let mut frame = BytesMut::new();
        frame.put_i16(ApiKey::Metadata as i16);
        frame.put_i16(version);
        frame.put_i32(5);
        frame.put_i16(-1);
        frame.extend_from_slice(rest);
        decode::request(&frame.freeze(), ApiKey::Metadata, version)
    };
    assert!(metadata(1, &[0x7f, 0xff, 0xff, 0xff]).is_err());
    assert!(metadata(1, &[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a', 0, 1, b'b']).is_err());
    assert!(metadata(1, &[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b']).is_ok());
    assert!(metadata(9, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "the compact form");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever follows a known header: an error or a request, never the end of the process.
    #[test]
    fn any_bytes_decode_or_are_refused(api in 0..APIS.len(), pick in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..80)) {
        let (api, min, max) = APIS[api];
        let version = min + (pick as i16 & 0x7fff) % (max - min + 1);
        let mut frame = BytesMut::new();
        frame.put_i16(api as i16);
        frame.put_i16(version);
        frame.put_i32(5);
        frame.put_i16(-1);
        frame.extend_from_slice(&body);
        if let Ok((header, _)) = decode::request(&frame.freeze(), api, version) {
            prop_assert_eq!(header.correlation_id, 5);
        }
    }
}
