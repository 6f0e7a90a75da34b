"""What became of a model's versions: who promoted, held, refused or rolled back which one, when and why.

Each entry is a run of MLflow's experiment `graft-ledger`, so that a team has one ledger; entries are only ever added.
Each names the hash of the one before it: where one was changed or taken out, reading it says so.
"""

import getpass
import hashlib
import json
import os
import socket
from datetime import UTC, datetime
from typing import Literal

from tasks import tracking
from tasks.frozen import Frozen, GraftError

EXPERIMENT = "graft-ledger"
LONGEST = 1000  # characters of a reason
Action = Literal["promoted", "held", "rejected", "refused", "rolled back"]


class Entry(Frozen):
    """One thing that was done, or was not.

    Attributes:
        number: from 1 on, of the model.
        model: its name in the registry.
        action: "held" and "rejected" are the gate's words; "refused" came too late, another one had become champion.
        version: that it is about.
        before: the champion before it.
        champion: the champion after it.
        why: in a sentence.
        decision: the gate's, if it was asked: PROMOTE, HOLD or REJECT.
        test_hash: of the rows that it was judged on.
        run_id: of the version.
        who: user and machine.
        when: UTC, ISO 8601.
        previous: the hash of the entry before.
    """

    number: int
    model: str
    action: Action
    version: int
    before: int | None
    champion: int | None
    why: str
    decision: str = ""
    test_hash: str = ""
    run_id: str = ""
    who: str
    when: str
    previous: str = ""

    @property
    def mark(self) -> str:
        """The hash of all of it."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def reason(given: str) -> str:
    """A person's reason as it is kept.

    Raises:
        GraftError: it is empty or too long.
    """
    told = " ".join(given.split())
    if not told or len(told) > LONGEST:
        raise GraftError(
            f'The reason has {len(told)} characters. Give one of 1 to {LONGEST}: --because "fewer refunds".'
        )
    return told


def read(name: str) -> list[Entry]:
    """A model's entries in their order."""
    found: list[Entry] = []
    token = None
    with tracking.explained():
        place = tracking.experiment(EXPERIMENT)
        while token != "":
            page = tracking.client().search_runs([place], f"tags.`graft.ledger` = '{name}'", page_token=token)
            found += [Entry.model_validate_json(run.data.tags["graft.entry"]) for run in page]
            token = page.token or ""
    return sorted(found, key=lambda entry: entry.number)


def whole(name: str) -> list[Entry]:
    """A model's entries in their order, each seen to follow the one before.

    Raises:
        GraftError: one was changed, or is missing.
    """
    found = read(name)
    for number, entry in enumerate(found, 1):
        before = found[number - 2].mark if number > 1 else ""
        if (entry.number, entry.previous) != (number, before):
            raise GraftError(
                f"The ledger of {name!r} is not whole: what stands before entry {entry.number} is not what was written "
                f"there. Look at the runs of MLflow's experiment {EXPERIMENT}, the deleted ones too."
            )
    return found


def write(name: str, action: Action, version: int, before: int | None, champion: int | None, why: str,
          decision: str = "", test_hash: str = "", run_id: str = "") -> Entry:  # fmt: skip
    """Add an entry; the caller has the lock (see `tasks.champion`)."""
    known = read(name)
    entry = Entry(
        number=known[-1].number + 1 if known else 1, model=name, action=action, version=version, before=before,
        champion=champion, why=why[:LONGEST], decision=decision, test_hash=test_hash, run_id=run_id, who=_who(),
        when=datetime.now(UTC).isoformat(timespec="seconds"), previous=known[-1].mark if known else "",
    )  # fmt: skip
    tags = {"graft.ledger": name, "graft.entry": entry.model_dump_json(), "mlflow.note.content": why}
    with tracking.explained():
        title = f"{name} {entry.number}: version {version} {action}"
        made = tracking.client().create_run(tracking.experiment(EXPERIMENT), tags=tags, run_name=title)
        tracking.client().set_terminated(made.info.run_id)
    return entry


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
