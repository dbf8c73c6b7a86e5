"""`python -m services.annotation`"""

from services.annotation.app import build_app
from services.annotation.settings import AnnotationSettings, DeskSettings
from shared.settings import SharedSettings
from shared.web import configure_logging, run_service, serve


def main() -> None:
    shared, settings = SharedSettings.load(), AnnotationSettings.load()
    configure_logging(shared.log_level)
    serve(build_app(shared, settings, DeskSettings.load()), shared.host, shared.annotation_port, shared.allowed_hosts)


if __name__ == "__main__":
    run_service(main)
