"""The bus on Kafka. The only package that knows kafka-python.

No idempotent producer: kafka-python 3.0 wedges for ever with it once a sent batch times out; event ids find duplicates
instead. One request in flight keeps the order per key. Each publish waits for its acknowledgements, so memory is
bounded; one that gets none in time abandons its producer and the next call builds another. `publish` and `poll` block
for seconds while the broker is away, and the client's thread spins: never call them on a request path or an event loop.
A lone broker with acks=all survives kill -9, not a power cut. Every value is what `shared.bus` was given; beside it
stand CloudEvents' headers, for other readers.
"""

from shared.kafka_bus.bus import KafkaBus
from shared.kafka_bus.connection import Cluster

__all__ = ["Cluster", "KafkaBus"]
