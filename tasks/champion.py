"""How a model's champion changes: one change at a time, each with its reason in the ledger, and back again."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks import ledger, registry, runtime, tracking
from tasks.files import locked
from tasks.frozen import GraftError
from tasks.ledger import Entry
from tasks.results import Reason, Registered, Verdict
from tasks.steps import step

VERDICT = "verdict.json"  # an artifact of the version's run
LONGEST = 4000  # characters of a tag


class Overtaken(GraftError):
    """Another version became champion meanwhile."""


@step
def settle(candidate: Registered, verdict: Verdict, because: str = "") -> Verdict:
    """Keep the verdict with the version and in the ledger, and make the version the champion if it passed.

    The same call again, after a crash, adds nothing that is there already. Where another version became champion
    since the verdict, nothing is moved, and the verdict that comes back says so.

    Args:
        candidate: the version.
        verdict: the gate's.
        because: a person's reason, if one asked for it.
    """
    _keep(candidate, verdict)
    if not verdict.passed:
        _note(candidate, verdict, because)
        return verdict
    try:
        move(candidate, verdict.against, "promoted", _why(because, verdict), verdict)
    except Overtaken as error:
        verdict = _late(verdict, error)
        _keep(candidate, verdict)
    return verdict


@step
def overrule(to: Registered, against: int | None, because: str) -> Verdict:
    """Make a version the champion without asking the gate, whose own verdict on it stays as it is.

    Args:
        to: the version.
        against: the champion that it replaces.
        because: a person's reason.
    """
    told = "A person's decision: the gate was not asked."
    verdict = Verdict(judged=(Reason(about="override", outcome="passed", told=told),), against=against)
    try:
        move(to, against, "promoted", f"{because} (a person's decision: the gate was not asked)")
    except Overtaken as error:
        return _late(verdict, error)
    registry.describe(to, {"graft.override": because})
    return verdict


def _late(verdict: Verdict, error: Overtaken) -> Verdict:
    late = Reason(about="champion", outcome="open", told=str(error))
    return verdict.model_copy(update={"judged": (*verdict.judged, late)})


def _why(because: str, verdict: Verdict) -> str:
    """For the ledger: a person's reason, then the gate's first."""
    return f"{because}: {verdict.reasons[0]}" if because else verdict.reasons[0]


def _keep(candidate: Registered, verdict: Verdict) -> None:
    tracking.keep(candidate.run_id, VERDICT, verdict.model_dump(mode="json"))
    told = {"graft.verdict": verdict.decision, "graft.reasons": " ".join(verdict.reasons)[:LONGEST]}
    registry.describe(candidate, told)


def kept_verdict(run_id: str) -> Verdict | None:
    """The verdict that `settle` kept with a run; None if there is none yet."""
    found = tracking.kept(run_id, VERDICT)
    return Verdict.model_validate(found) if found else None


def _note(candidate: Registered, verdict: Verdict, because: str) -> None:
    with _changing():
        if not because and any(entry.version == candidate.version for entry in ledger.read(candidate.name)):
            return  # a run that goes on after a crash
        held = registry.champion(candidate.name)
        own = held.version if held else None
        action: ledger.Action = "rejected" if verdict.decision == "REJECT" else "held"
        _written(candidate, action, own, own, _why(because, verdict), verdict)


def move(
    to: Registered, expected: int | None, action: ledger.Action, why: str, verdict: Verdict | None = None
) -> Entry:
    """Make a version the champion, if the champion is still the expected one.

    Raises:
        Overtaken: it is another one; the ledger has the attempt.
    """
    with _changing():
        held = registry.champion(to.name)
        before = held.version if held else None
        if before not in (expected, to.version):
            told = (
                f"The champion of {to.name!r} changed from {expected or 'none'} to {before or 'none'} meanwhile, and "
                f"version {to.version} was to follow that. `graft promote {to.name} {to.version}` judges it again."
            )
            _written(to, "refused", before, before, told, verdict)
            raise Overtaken(told)
        entry = _begun(to, before) or _written(to, action, before, to.version, why, verdict)
        registry.crown(to.name, to.version)
        return entry


def _begun(to: Registered, before: int | None) -> Entry | None:
    """The last entry, if it is of this very change: a crash came between it and the alias, or after both."""
    for last in ledger.read(to.name)[-1:]:
        if last.version == last.champion == to.version and before in (last.before, to.version):
            return last
    return None


def previous(name: str) -> int:
    """The version that was the champion before the present one.

    Raises:
        GraftError: there is no champion, or the ledger knows of none before it.
    """
    held = registry.champion(name)
    if held is None:
        raise GraftError(f"{name!r} has no champion in {runtime.tracking_uri()}: there is nothing to roll back.")
    for entry in reversed(ledger.whole(name)):
        if entry.action == "promoted" and entry.version == held.version and entry.before:
            return entry.before
    raise GraftError(
        f"The ledger knows of no champion of {name!r} before version {held.version}. "
        f"Name one: `graft rollback {name} --to VERSION`."
    )


@contextmanager
def _changing() -> Iterator[None]:
    """One change at a time in this home."""
    with locked(runtime.home() / "champions.lock", wait=True):
        yield


def _written(
    one: Registered, action: ledger.Action, before: int | None, after: int | None, why: str, verdict: Verdict | None
) -> Entry:
    return ledger.write(
        one.name, action, one.version, before, after, why,
        verdict.decision if verdict else "", verdict.test_hash if verdict else "", one.run_id,
    )  # fmt: skip
