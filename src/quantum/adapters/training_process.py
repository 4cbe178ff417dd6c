"""Training in a process of its own: within bounds of memory and time, killed when nobody waits for it any more.

The two processes talk in frames over pipes: four bytes of length, then the written form of a value. Nothing is
pickled, nothing is forked; a crash of the trainer is a failed run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from quantum.adapters import wire
from quantum.domain.errors import QuantumError, Rejected
from quantum.domain.models import ModelKind, Training, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from quantum.application.training import Progress

MEMORY_BYTES: Final = 6 << 30
"""Address space of the trainer; libraries and the compiler take half of it without using it."""
TIMEOUT_S: Final = 1800.0
MAX_FRAME: Final = 256 << 20
NICENESS: Final = 10
PROGRAM: Final = "from quantum.adapters.training_process import main; main()"
HEAD: Final = 4
LACKING: Final = "training of a deep-forecaster needs TensorFlow, which is not installed: install quantum[deep]"


def lacking(kind: ModelKind, find: Callable[[str], object] = find_spec) -> str:
    """Return what is missing here to train a kind, as a sentence; the empty string if nothing is."""
    return LACKING if kind is ModelKind.DEEP and find("tensorflow") is None else ""


async def train_apart(job: TrainingJob, progress: Progress, timeout_s: float = TIMEOUT_S) -> Training:
    """Return what a training leaves that runs in a process of its own; cancelled, it is killed.

    Raises:
        Rejected: the training refused the job, took too long (`training_time`) or died (`training_died`).
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_FRAME,
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await _converse(process, job, progress)
    except TimeoutError:
        raise Rejected("training_time", f"the training took longer than {timeout_s:g} s") from None
    except (ConnectionError, asyncio.IncompleteReadError):
        raise Rejected("training_died", f"the training died; it may use {MEMORY_BYTES} bytes of memory") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _converse(process: asyncio.subprocess.Process, job: TrainingJob, progress: Progress) -> Training:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(wire.encode(job)))
    await process.stdin.drain()
    process.stdin.close()
    while True:
        size = int.from_bytes(await process.stdout.readexactly(HEAD), "big")
        kind, first, second = msgspec.msgpack.decode(await process.stdout.readexactly(size))
        match kind:
            case "progress":
                progress(first, second)
            case "refused":
                raise Rejected(first, second)
            case _:
                return wire.decode(first, Training)


def framed(data: bytes) -> bytes:
    """Return data with its length before it."""
    return len(data).to_bytes(HEAD, "big") + data


def main() -> None:
    """Be the trainer: read a job from standard input, tell the progress and the end on standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Do one job."""
    from quantum.adapters import deep_training, forest_training  # noqa: PLC0415 - only the trainer needs numba

    def say(kind: str, first: object, second: object) -> None:
        answers.write(framed(msgspec.msgpack.encode((kind, first, second))))
        answers.flush()

    asked.read(HEAD)
    job = wire.decode(asked.read(), TrainingJob)
    module = deep_training if job.model.kind is ModelKind.DEEP else forest_training
    try:
        training = module.train(job, lambda share, message: say("progress", share, message))
    except QuantumError as error:
        say("refused", getattr(error, "reason", "training_refused"), str(error))
    except MemoryError:
        say("refused", "training_memory", f"the training needs more than {MEMORY_BYTES} bytes of memory")
    else:
        say("done", wire.encode(training), None)
