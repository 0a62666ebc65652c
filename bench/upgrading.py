"""How long the upgrade of a database of version 0.1.0 takes that has many invites, half of them used.

Run it with `python bench/upgrading.py`, or with another number of invites than a million.
"""

import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from common import HOUSE

from database import sqlite
from upkeep import upgrade

RELEASED = HOUSE / "tests" / "released" / "0.1.0.sql"
_INVITES = """
INSERT INTO invites (id, nonce, token_hash, role, plan, makes_admin, max_uses, uses, created_at, expires_at, made_by)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT lower(hex(randomblob(16))), 'x', lower(hex(randomblob(32))), 'member', 'solo', 0, 1, n % 2,
    strftime('%Y-%m-%d %H:%M:%S.000000', '2026-01-01', n || ' seconds'), '2026-02-01 00:00:00.000000', 'bench'
FROM numbers
"""
_USES = """
INSERT INTO redemptions (id, invite_id, redeemed_at)
SELECT lower(hex(randomblob(16))), id, created_at FROM invites WHERE uses = 1 AND made_by = 'bench'
"""


def main(count: int) -> None:
    """Make such a database, upgrade it, and print the seconds that each step took."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "invites.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(RELEASED.read_text())
            connection.execute(_INVITES, [count])
            connection.execute(_USES)
            connection.commit()
        with sqlite.connect(file) as connection:
            opened = sqlite.ExclusiveSqlite(connection)
            began = time.perf_counter()
            for step in upgrade.migrate(opened, upgrade.steps(upgrade.version_of(opened))):
                print(f"{step}: {time.perf_counter() - began:.1f} s")
                began = time.perf_counter()
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
            print(f"{count:,} invites, {events:,} events")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
