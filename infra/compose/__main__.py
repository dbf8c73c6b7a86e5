"""`python -m infra.compose`: writes docker-compose.yml and infra/env.example; a test compares both with the code."""

from infra.compose.document import as_yaml, document
from infra.compose.parts import ROOT
from infra.compose.variables import example

FILES = {
    ROOT / "docker-compose.yml": lambda: as_yaml(document()),
    ROOT / "infra" / "env.example": example,
}

if __name__ == "__main__":
    for path, made in FILES.items():
        path.write_text(made(), "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
