"""TensorZero's HTTP gateway, run by the Python of its own environment: prints its address, serves until it is ended.

Without a database it keeps no log of what it answers.
"""

import signal
import sys

from tensorzero import tensorzero

if __name__ == "__main__":
    gateway = tensorzero._start_http_gateway(
        config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
    )
    print(gateway.base_url, flush=True)
    signal.pause()
