"""`python -m services.gateway`: the only public door. Settings: RATCHET_GATEWAY_* and the shared ones."""

from services.gateway.app import build
from services.gateway.http_server import serve
from services.gateway.settings import GatewaySettings
from shared.settings import SharedSettings
from shared.web import configure_logging, run_service


def main() -> None:
    shared, settings = SharedSettings.load(), GatewaySettings.load()
    configure_logging(shared.log_level)
    app, port = build(shared, settings), shared.gateway_port
    serve(app, shared.host, port, settings.body_timeout_seconds, settings.total_timeout_seconds)


if __name__ == "__main__":
    run_service(main)
