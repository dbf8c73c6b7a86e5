"""`python -m services.promotion`: the registry, the gate and the serving plan."""

from services.promotion.app import main
from shared.web import run_service

if __name__ == "__main__":
    run_service(main)
