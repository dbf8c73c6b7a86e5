"""`python -m services.scheduler`: decides when to train, and runs trainings and evaluations as child processes."""

from services.scheduler.app import main
from shared.web import run_service

if __name__ == "__main__":
    run_service(main)
