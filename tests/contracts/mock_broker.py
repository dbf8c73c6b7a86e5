"""A broker in this process that speaks Kafka's protocol: the mock cluster inside librdkafka, reached by ctypes.

confluent-kafka's own switch for it can neither set the number of partitions nor take the broker down and up again.
"""

import ctypes
from pathlib import Path

import confluent_kafka

from shared.topics import TOPICS

_PRODUCER = 0
_BROKER = 1


class MockBroker:
    def __init__(self) -> None:
        self._library = _load()
        reason = ctypes.create_string_buffer(512)
        self._client = self._library.rd_kafka_new(_PRODUCER, None, reason, len(reason))
        assert self._client, reason.value
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        # The real default of 3 s is there to let many members join at once.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 100)
        for topic in TOPICS:
            self._library.rd_kafka_mock_topic_create(self._cluster, topic.name.encode(), topic.partitions, 1)
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def down(self) -> None:
        self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER)

    def up(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER)

    def stall(self, seconds: float) -> None:
        """Connections are accepted, answers come this much later."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER, int(seconds * 1000))

    def refuse_next_produce(self, errors: list[int]) -> None:
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, 0, len(errors), codes)

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


def _load() -> ctypes.CDLL:
    bundled = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(bundled.glob("librdkafka-*.so*"))))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_broker_set_down", number, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_up", number, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_rtt", number, [pointer, ctypes.c_int32, number]),
        (
            "rd_kafka_mock_push_request_errors_array",
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
