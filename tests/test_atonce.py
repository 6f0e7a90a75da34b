"""Work in processes of its own: which piece becomes what, one that dies, and that no process is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from pieces import Heard, count, wait_for_ever, work

from flows import atonce
from flows.atonce import Died
from flows.beside import fitting, longest_first
from tasks.comparison.asked import asked, composed

ROOT = Path(__file__).parents[1]


def done(*orders: str, jobs: int = 2) -> Heard:
    heard = Heard()
    atonce.each(work, dict(enumerate(orders)), jobs, {"OMP_NUM_THREADS": "3"}, heard)
    assert multiprocessing.active_children() == []
    return heard


def test_every_piece_gives_its_own_in_a_process_that_does_one_after_another_and_is_as_it_was_told(
    tmp_path: Path,
) -> None:
    waits = str(tmp_path / "waits.txt")
    orders = [waits, "a", "b", f"{waits} ends it"]
    heard = done(*orders)

    assert [heard.made[place][0] for place in range(4)] == orders
    assert {heard.made[place][1:] for place in (1, 2, 3)} == {(heard.made[1][1], "3", True)}, "beside the first"
    assert len({made[1] for made in heard.made.values()} | {os.getpid()}) == 3
    assert sorted(heard.lines) == [(place, f"{order} is done") for place, order in enumerate(orders)]
    assert [place for place, told in heard.at if told == "begins"] == [0, 1, 2, 3]
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"


def test_a_process_that_dies_takes_its_own_piece_alone(capfd: pytest.CaptureFixture[str]) -> None:
    heard = done("die", "a", "raise", "b", "c")

    killed = "Its process was killed by SIGKILL, as the system does where memory is short."
    assert heard.made[0] == Died(reason=killed)
    assert heard.made[2] == Died(reason="Its process ended with exit code 1.")
    assert [heard.made[place][0] for place in (1, 3, 4)] == ["a", "b", "c"]
    assert "ValueError: nobody catches this" in capfd.readouterr().err
    assert done("die", "die", "a").made[2][0] == "a", "where all have died, a new one goes on"


def _waiting(folder: Path, count: int) -> list[int]:
    until = time.monotonic() + 60
    while len(found := [int(file.name) for file in folder.iterdir()]) < count:
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("elsewhere", [False, True], ids=["told of it", "another thread is told of it"])
def test_a_stop_lets_every_process_tidy_up_and_leaves_none(tmp_path: Path, elsewhere: bool) -> None:
    def stop() -> None:
        group = (*_waiting(tmp_path, 2), os.getpid())  # all of it, as Ctrl-C does; else this process alone
        for process in group[-1:] if elsewhere else group:
            os.kill(process, signal.SIGINT)

    threading.Thread(target=stop).start()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} if elsewhere else ())
    try:
        with pytest.raises(KeyboardInterrupt):
            atonce.each(wait_for_ever, dict.fromkeys(range(5), str(tmp_path)), 2, {}, Heard())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    assert multiprocessing.active_children() == []
    assert [file.read_text() for file in tmp_path.iterdir()] == ["tidied"] * 2, "and the others never began"


def test_where_the_parent_is_killed_its_processes_end(tmp_path: Path) -> None:
    program = (
        "from flows import atonce\nfrom pieces import Heard, wait_for_ever\n"
        "if __name__ == '__main__':\n"
        f"    atonce.each(wait_for_ever, {{0: {str(tmp_path)!r}, 1: {str(tmp_path)!r}}}, 2, {{}}, Heard())\n"
    )
    (tmp_path.parent / "program.py").write_text(program)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path.parent / "program.py")], env={**os.environ, "PYTHONPATH": paths}
    )
    found = [psutil.Process(process) for process in _waiting(tmp_path, 2)]
    parent.kill()
    parent.wait()

    assert psutil.wait_procs(found, timeout=20)[1] == []


def test_the_cores_and_decoding_processes_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    monkeypatch.delenv("GRAFT_WORKERS", raising=False)

    assert atonce.share(2, 9) == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4", "GRAFT_WORKERS": "2"}
    assert atonce.share(5, 2)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("GRAFT_WORKERS", "3")
    assert "GRAFT_WORKERS" not in atonce.share(2, 4)


@pytest.mark.parametrize(
    ("children", "cores", "free", "jobs"), [(15, 2, 20, 2), (3, 8, 64, 3), (15, 8, 13, 3), (15, 8, 1, 1), (0, 8, 64, 1)]
)
def test_as_many_at_once_as_there_are_children_cores_and_memory(
    children: int, cores: int, free: int, jobs: int
) -> None:
    assert fitting(children, cores, free * 2**30) == jobs


def test_what_trains_longest_begins_first_and_equals_keep_their_order(home: Path) -> None:
    methods = "scratch,linear_probe,bitfit,lora,full"
    children = composed(asked("digits_lora", methods, "0,1", "50,all", 2.0, []))

    order = longest_first([child.recipe for child in children])

    first, *_, last = [(child.method, child.limit, child.recipe.seed) for child in map(children.__getitem__, order)]
    assert [(children[place].method, children[place].limit) for place in order[::2]] == [
        (method, limit) for limit in (None, 50) for method in ("full", "lora", "bitfit", "scratch", "linear_probe")
    ]
    assert (first, last) == (("full", None, 0), ("linear_probe", 50, 1))


def test_a_bar_tells_how_far_it_is() -> None:
    heard = Heard()
    atonce.each(count, {0: 3}, 1, {}, heard)

    assert heard.at == [(0, "begins"), (0, "train 33 %"), (0, "train 100 %")]
    assert heard.made == {0: 3}
