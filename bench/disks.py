"""What disks that take longer to sync leave of what one commit after the other makes; writes bench/DISKS.md.

Run it with `python bench/disks.py` (wrk and strace from Debian's packages), or `--smoke` for a glance. strace lets
each sync of the server, and of the program that only commits, take so much longer. Each round measures both.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from common import instance, machine, middle, row, serving
from run import FULL, SMOKE, Plan, asked_of, furnish

HERE = Path(__file__).resolve().parent
LONGER = (0, 0.5, 2, 10)  # milliseconds
NAMES = ("create by key", "create by /v1", "hold, complete", "accept")
COMMITS = "from load import commits; print(commits({seconds}))"


def slowed(milliseconds: float) -> list[str]:
    """The beginning of a command of which each sync takes so much longer; [] for one that is left as it is."""
    if not milliseconds:
        return []
    syncs = "fsync,fdatasync"
    slow = f"inject={syncs}:delay_exit={int(milliseconds * 1000)}"
    return ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={syncs}", "-e", slow]


def committed(under: list[str], plan: Plan) -> float:
    """How many commits a second are made one after the other."""
    command = [*under, sys.executable, "-c", COMMITS.format(seconds=plan.seconds)]
    done = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True)
    return float(done.stdout)


def rows(milliseconds: float, plan: Plan) -> Iterator[str]:
    """What is made on such a disk, a line for each number of connections."""
    under = slowed(milliseconds)
    ratios, bare = defaultdict[tuple[str, int], list[float]](list), list[float]()
    with instance() as settings:
        calls = furnish(settings, plan.stored[0], plan.accepts)
        with serving(settings, *under) as served:
            found = asked_of(served, calls, plan)
            for _ in range(plan.rounds):
                for many in plan.connections:
                    bare.append(committed(under, plan))
                    for name in NAMES:
                        ratios[name, many].append(found[name](many).rate / bare[-1])
    for many in plan.connections:
        of_them = [middle(ratios[name, many]) for name in NAMES]
        yield row(f"{milliseconds:g}", f"{statistics.median(bare):,.0f}", many, *of_them)


def main() -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a glance: short rounds, one disk, nothing written")
    plan = SMOKE if parser.parse_args().smoke else FULL
    if absent := [each for each in ("wrk", "strace") if not shutil.which(each)]:
        raise SystemExit(f"apt-get install {' '.join(absent)}")
    lines = [
        "# What is made on slower disks\n",
        f"{machine()}. Rounds of {plan.seconds} s, {plan.rounds} of each, alternating. `python bench/disks.py`.\n",
        "Of what one commit after the other makes on the same disk: median (least to most).\n",
        row("a sync takes longer by, ms", "commits a second", "connections", *NAMES),
        row(*["---"] * (3 + len(NAMES))),
    ]
    for milliseconds in LONGER[-1:] if plan is SMOKE else LONGER:
        lines += rows(milliseconds, plan)
    text = "\n".join(lines) + "\n"
    print(text)
    if plan is FULL:
        (HERE / "DISKS.md").write_text(text)


if __name__ == "__main__":
    main()
