"""Our topics on a broker: made as the table says, never changed; how they differ from the table is told."""

import logging
from collections.abc import Mapping, Sequence

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.kafka_bus.connection import ANSWER_MS, Cluster, told_as_unavailable
from shared.topics import TOPICS, Topic, broker_settings, differences

log = logging.getLogger(__name__)


class BrokerTopics:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._said: set[str] = set()  # how the topics differ from the table

    def ensure(self) -> None:
        """Topics that exist stay as they are; how they differ from the table is said once."""
        with told_as_unavailable("making topics"):
            admin = KafkaAdminClient(**self._cluster.client)
            try:
                there = self._topics_there(admin)
                self._create(admin, [topic for topic in TOPICS if self._cluster.prefix + topic.name not in there])
                self._compare(admin, there)
            finally:
                admin.close()

    def _topics_there(self, admin: KafkaAdminClient) -> dict[str, int]:
        """Name on the broker -> partitions, of ours."""
        described = admin.describe_topics([self._cluster.prefix + topic.name for topic in TOPICS])
        return {topic["name"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}

    def _create(self, admin: KafkaAdminClient, missing: Sequence[Topic]) -> None:
        safe = (
            {"min.insync.replicas": str(max(1, self._cluster.replication - 1))} if self._cluster.replication > 0 else {}
        )
        wanted = {
            self._cluster.prefix + topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": self._cluster.replication,
                "configs": broker_settings(topic) | safe,
            }
            for topic in missing
        }
        if not wanted:
            return
        for answer in admin.create_topics(wanted, timeout_ms=ANSWER_MS, raise_errors=False)["topics"]:
            refusal = for_code(answer["error_code"])
            if answer["error_code"] and refusal is not TopicAlreadyExistsError:  # another service was quicker
                raise refusal(f"{answer['name']}: {answer['error_message']}")
        admin.wait_for_topics(list(wanted), timeout_ms=ANSWER_MS)  # a broker knows them a moment later

    def _compare(self, admin: KafkaAdminClient, there: Mapping[str, int]) -> None:
        try:
            found = self._differences(admin, there)
        except KafkaError as error:  # not allowed to look, or too old a broker: publishing works all the same
            log.info("how the topics are kept cannot be seen: %s: %s", type(error).__name__, error)
            return
        for sentence in found:
            if sentence not in self._said:
                self._said.add(sentence)
                log.warning("%s", sentence)

    def _differences(self, admin: KafkaAdminClient, there: Mapping[str, int]) -> list[str]:
        names = {
            self._cluster.prefix + topic.name: topic for topic in TOPICS if self._cluster.prefix + topic.name in there
        }
        asked = [ConfigResource("TOPIC", name) for name in names]
        found = admin.describe_configs(asked, config_filter="all")["topic"] if asked else {}
        settings = {name: {key: setting["value"] for key, setting in found.get(name, {}).items()} for name in names}
        return [s for name, topic in names.items() for s in differences(topic, name, there[name], settings[name])]

    def objections(self) -> tuple[list[str], list[str]]:
        """Topics the broker has not, and how the others differ from the table: a look, nothing is made."""
        with told_as_unavailable("looking at the topics"):
            admin = KafkaAdminClient(**self._cluster.client)
            try:
                there = self._topics_there(admin)
                missing = [self._cluster.prefix + t.name for t in TOPICS if self._cluster.prefix + t.name not in there]
                return missing, self._differences(admin, there)
            finally:
                admin.close()
