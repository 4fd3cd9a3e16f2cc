//! Committed offsets and the metadata beside them.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::PATIENCE;

fn at(topic: &str, offset: i64, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(topic, 0);
    element.set_offset(Offset::Offset(offset)).unwrap();
    element.set_metadata(metadata);
    list
}

on_both! {
    fn commit_metadata_comes_back_as_it_was(running) {
        let events = running.topic("events", 1);
        let consumer = running.consumer("g", &[]);
        let metadata = "hw1:".to_owned() + &"QUJD".repeat(1023);
        assert_eq!(metadata.len(), 4096, "the most that Kafka takes");
        consumer.commit(&at(&events, 42, &metadata), CommitMode::Sync).unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&events, 0);
        let committed = running.consumer("g", &[]).committed_offsets(asked, PATIENCE).unwrap();
        let element = &committed.elements()[0];
        assert_eq!((element.offset(), element.metadata()), (Offset::Offset(42), metadata.as_str()));
    }

    fn metadata_above_4096_bytes_is_refused(running) {
        let events = running.topic("events", 1);
        let consumer = running.consumer("g", &[]);
        let refused = consumer.commit(&at(&events, 1, &"x".repeat(4097)), CommitMode::Sync).unwrap_err();
        assert_eq!(refused, KafkaError::ConsumerCommit(RDKafkaErrorCode::OffsetMetadataTooLarge));
    }
}
