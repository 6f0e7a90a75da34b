"""The command that times Graft, beside other programs or at several sizes. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="end stdout with one JSON object; all else goes to stderr")]


Against = Annotated[
    str | None, typer.Option(help="trainer (transformers with peft), timm, or both with a comma, as if not given")
]
Only = Annotated[str | None, typer.Option(help="works with commas, such as text,images; all if not given")]
Means = Annotated[
    bool, typer.Option("--means", help="instead: Graft by itself, with none, each and all of its means of speed")
]
Whole = Annotated[bool, typer.Option("--whole", help="instead: whole commands by wall clock, against their goals")]
Growth = Annotated[
    str | None,
    typer.Option(help="instead, how Graft's own training grows: rows, length, image, model with commas, or all"),
]
Quick = Annotated[bool, typer.Option("--quick", help="a few hundred rows, one epoch, one turn: minutes, and no proof")]
Repeats = Annotated[int | None, typer.Option(help="turns, in which each side runs once; 3 if not given")]
To = Annotated[Path | None, typer.Option(help="a new folder for the files; one in GRAFT_HOME if not given")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps for both sides; else as GRAFT_DEVICE has it")]
Readme = Annotated[
    Path | None,
    typer.Option(
        help="a file whose table, between `<!-- bench -->` and `<!-- /bench -->` (`growth`, `means` or `whole` "
        "with that option), is replaced"
    ),
]


@app.command()
def bench(
    against: Against = None,
    only: Only = None,
    means: Means = False,
    whole: Whole = False,
    growth: Growth = None,
    quick: Quick = False,
    repeats: Repeats = None,
    to: To = None,
    device: Device = None,
    readme: Readme = None,
    json: Json = False,
) -> None:
    """Time Graft beside what its users would run instead, here and now; exit code 1 if a side failed.

    Both sides train on the same rows for the same epochs, in turn (A B A B), each in a fresh process, with a seed of
    its own in every turn. Works:
    text-padded, text, text-top3, text-full and predict against transformers' Trainer with peft and its pipeline;
    images and probe against timm. The table has rows a second, how many times as fast with the range over turns and the
    goal, both scores on the same test rows with the paired interval of their difference, peak memory, and for LoRA on
    text the share of the machine's own matrix product. GRAFT_DATA must have glue and imagenet10.

    It writes bench.csv (every side of every turn, at once: Ctrl-C loses nothing), bench.md, bench.png, machine.json.

    With --growth nothing stands beside Graft: LoRA trains for one epoch at several numbers of rows (1,000 to 64,000),
    tokens a row (16 to 512), pixels a side (96 to 288) and sizes of the network, each in a fresh process, once a turn.
    Each curve has time, peak memory and the exponent of its power law with its interval: growth.csv, growth.md, a
    picture for each curve, machine.json.

    With --means it is what GRAFT_MEANS names, each alone: rows a second, how many times as fast as with none, peak
    memory (means.csv, means.md). With --whole it is whole commands: `graft compare` by the same runs as single commands
    (at most 0.5), what `graft finetune` takes beyond its bare loop (12 s + 2 %), its seconds to a first step (10),
    `graft --help` (0.8 s) (whole.csv, whole.md).

    Let nothing else run meanwhile: the figures are of the machine as it is.
    """
    from tasks import runtime
    from tasks.bench.works import asked, kind_of

    kinds = {"--means": means, "--whole": whole, "--growth": growth is not None}
    kind = kind_of(kinds, {"--against": against, "--only": only})
    with runtime.setting({"GRAFT_DEVICE": device} if device else {}):  # every side is a process that inherits it
        runtime.device()
        if kind:
            raise SystemExit(_alone(kind, growth or "", repeats, quick, (to, readme, json)))
        wanted = asked(against, repeats, quick, only)
        from flows import bench as measuring

        raise SystemExit(measuring.main(wanted, to, readme, json))


def _alone(kind: str, growth: str, repeats: int | None, quick: bool, out: tuple[Path | None, Path | None, bool]) -> int:
    """Run a benchmark of Graft by itself; returns the exit code."""
    if kind == "--growth":
        from flows.growth import main as of_growth
        from tasks.bench.growth import curves

        return of_growth(curves.asked(growth, repeats, quick), *out)
    if kind == "--means":
        from flows.means import main as of_means
        from tasks.bench import gains

        return of_means(gains.asked(repeats, quick), *out)
    from flows.whole import main as of_whole
    from tasks.bench import whole

    return of_whole(whole.asked(repeats, quick), *out)
