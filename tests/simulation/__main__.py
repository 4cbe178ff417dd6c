"""`make simulate SEEDS=N SEED=S`: play N stories, the first of which is that of seed S, and say which went wrong."""

from __future__ import annotations

import argparse
import gc
import sys
import time

from tests.simulation import simulate

TELL_EVERY_S = 10.0


def main() -> int:
    """Play the stories that are asked for; return 1 if one went wrong."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many stories")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    asked = parser.parse_args()
    gc.freeze()
    failed = 0
    begin_s = told_s = time.monotonic()
    for played, seed in enumerate(range(asked.seed, asked.seed + asked.seeds), 1):
        verdict = simulate(seed)
        if verdict.wrongs:
            failed += 1
            print(*verdict.wrongs, verdict.command, sep="\n", flush=True)
        now_s = time.monotonic()
        if now_s - told_s > TELL_EVERY_S or played == asked.seeds:
            told_s = now_s
            print(f"{played} seeds, {failed} failed, {played / (now_s - begin_s):.1f} a second", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
