"""`python -m tests.images.standins`: make the images of the parts in Compose's files where none can be pulled.

They get the names that `compose.yaml` and `compose.roles.yaml` give, so that these files are tried as they are: order,
health checks, networks, volumes, limits. What is in them is Debian's, and Kafka's jars from Maven Central.
`debian:bookworm-slim` has to be there; `debootstrap --variant=minbase bookworm rootfs` and
`tar -C rootfs -c . | docker import - debian:bookworm-slim` make one that is good enough.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.parts.kafka import jars

HERE: Final = Path(__file__).parent
IMAGES: Final = {"postgres": "postgres:15", "redis": "redis:7", "kafka": "apache/kafka:4.1.1"}


def main() -> int:
    """Build what this machine does not have; return the exit status of the first that fails."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        shutil.copytree(HERE, context)
        (context / "libs").mkdir()
        for jar in jars().glob("*.jar"):
            shutil.copy(jar, context / "libs")
        for name, image in IMAGES.items():
            build: list[str | Path] = [
                "docker",
                "build",
                "--file",
                context / f"{name}.Dockerfile",
                "--tag",
                image,
                context,
            ]
            there = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
            if there.returncode and (status := subprocess.run(build, check=False).returncode):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
