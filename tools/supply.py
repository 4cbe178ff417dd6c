"""What Quantum is made of, by its lock: `sbom` writes a bill of materials, `audit` asks for known defects."""

from __future__ import annotations

import subprocess
import sys

from tools import prepare

BILL = prepare.ROOT / "dist" / "sbom.cdx.json"


def sbom(uv: str) -> int:
    """Write the bill of materials; return the exit status."""
    BILL.parent.mkdir(exist_ok=True)
    command = [uv, "export", "--format", "cyclonedx1.5", "--frozen", "--no-dev", "--quiet", "--output-file", str(BILL)]
    status = subprocess.run(command, cwd=prepare.ROOT, check=False).returncode
    if status == 0:
        print(f"wrote {BILL.relative_to(prepare.ROOT)}")
    return status


def audit(uv: str) -> int:
    """Ask OSV; return the exit status, which is not 0 if a defect is known or nobody could be asked."""
    return subprocess.run([uv, "audit", "--frozen", "--no-dev"], cwd=prepare.ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Do what is asked for."""
    works = {"sbom": sbom, "audit": audit}
    if len(arguments) != 1 or arguments[0] not in works:
        print(f"usage: python -m tools.supply {'|'.join(works)}", file=sys.stderr)
        return 2
    return works[arguments[0]](prepare.find_uv() or prepare.install_uv())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
