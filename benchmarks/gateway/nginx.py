"""nginx twice: as the model server that always says the same, and as the plainest proxy in front of it.

An answer and a stream come from ports of their own, since nginx does not read what it is asked.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.gateway.install import ECHO
from benchmarks.gateway.traffic import ANSWER, EVENT_SECONDS, events

_FRAME = """\
load_module {echo};
worker_processes 1;
daemon off;
user root;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 600s;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/{name}-bodies;
    proxy_temp_path {folder}/{name}-proxied;
    fastcgi_temp_path {folder}/{name}-unused;
    uwsgi_temp_path {folder}/{name}-unused;
    scgi_temp_path {folder}/{name}-unused;
    client_body_buffer_size 1m;
{servers}
}}
"""
_WHOLE = """\
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}"""
_STREAMED = """\
    server {{
        listen 127.0.0.1:{port};
        location / {{
            default_type text/event-stream;
            echo_read_request_body;
            {said}
        }}
    }}"""
_PROXY = """\
    upstream model_{to} {{ server 127.0.0.1:{to}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://model_{to};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}"""


def model_server(folder: Path, whole_port: int, stream_port: int) -> Sequence[str | Path]:
    """The command that answers at one port and streams at the other."""
    wait = f"echo_flush; echo_sleep {EVENT_SECONDS};\n            "
    said = wait.join(f"echo '{event[:-1]}';\n            " for event in events())  # echo adds the line's end
    streamed = _STREAMED.format(port=stream_port, said=said)
    return _command(folder, "model", [_WHOLE.format(port=whole_port, answer=ANSWER), streamed])


def proxy(folder: Path, ports: tuple[int, int], to: tuple[int, int]) -> Sequence[str | Path]:
    """proxy_pass of each port to its model server. Unbuffered, since a buffered stream arrives in one piece."""
    return _command(folder, "proxy", [_PROXY.format(port=p, to=t) for p, t in zip(ports, to, strict=True)])


def _command(folder: Path, name: str, servers: Sequence[str]) -> Sequence[str | Path]:
    file = folder / f"{name}.conf"
    file.write_text(_FRAME.format(echo=ECHO, folder=folder, name=name, servers="\n".join(servers)), "utf-8")
    return ["/usr/sbin/nginx", "-p", folder, "-e", "stderr", "-c", file]
