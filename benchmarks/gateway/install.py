"""Getting the peers, each in an environment of its own, by the native stack's installer: what is there is left alone.

Versions are those of `versions.toml`. Fails: NotInstalled, with the command that failed and what it said.
"""

import importlib.metadata
import subprocess
import tomllib
from pathlib import Path

from infra.native.install import Installer, NotInstalled, Say, run
from infra.native.versions import AptPackage, Versions

FILE = Path(__file__).with_name("versions.toml")
NGINX_MODULES = Path("/usr/lib/nginx/modules")
ECHO = NGINX_MODULES / "ngx_http_echo_module.so"
_SERVER_OF_PORTKEY = "node_modules/@portkey-ai/gateway/build/start-server.js"


class PeerInstaller(Installer):
    def __init__(self, folder: Path, say: Say) -> None:
        self._found = tomllib.loads(FILE.read_text("utf-8"))
        pinned = Versions(
            apt={name: AptPackage(**values) for name, values in self._found["apt"].items()},
            maven={},
            maven_plugin="",
            python={name: tuple(values["packages"]) for name, values in self._found["python"].items()},
        )
        super().__init__(folder, say, pinned)

    def tools(self) -> None:
        """nginx, which is the upstream, and wrk, which asks."""
        self.apt("nginx")
        self.apt("wrk")
        if not ECHO.exists():
            raise NotInstalled(
                f"nginx is here without {ECHO.name}: apt-get install {self._found['apt']['nginx']['package']}"
            )

    def portkey(self) -> Path:
        """The program to start with node."""
        self.apt("node")
        wanted = self._found["npm"]["portkey"]

        def make(folder: Path) -> None:
            self._say(f"installing {wanted} by npm")
            run(
                ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", wanted],
                attempts=2,
            )

        return self._once("portkey", [wanted], make) / _SERVER_OF_PORTKEY

    def versions(self) -> dict[str, str]:
        """What a report says of the peers."""
        python = {name: _pin(packages, name) for name, packages in self._pinned.python.items()}
        nginx = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True, check=True)
        return {
            "ratchet": importlib.metadata.version("ratchet"),
            "nginx": nginx.stderr.rpartition("/")[2].strip(),
            **python,
            "portkey": self._found["npm"]["portkey"].rpartition("@")[2],
        }


def _pin(packages: tuple[str, ...], name: str) -> str:
    return next(p.split("==")[1].split(" ")[0] for p in packages if p.split("==")[0].split("[")[0] == name)
