"""The one training loop. Killed at any step and started again, it ends with the very same weights (on CPU)."""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from tasks import checkpoint, memory, resume, runtime, saved, verify
from tasks.backbones.network import Network, logits_of
from tasks.batches import Feed, epoch_batches
from tasks.curves import Curves
from tasks.decision import coverage, decided
from tasks.files import locked, write_file
from tasks.frozen import GraftError
from tasks.methods import cool, count_trained
from tasks.metrics import score
from tasks.moved import check_moved, hashes
from tasks.objective import Objective, answers
from tasks.optimizer import adamw, trained
from tasks.prepare import inputs_of, rows_of
from tasks.recipe import Recipe
from tasks.results import Checkpoint, Covered, Prepared, Target
from tasks.screen import Bar, bar, say
from tasks.speed import heap, mixed
from tasks.speed.behind import spared
from tasks.speed.few_words import FewWords
from tasks.speed.quick import quicken, slow_down
from tasks.steps import step

LOOK = 0.02  # seconds between two looks at the memory
FEATURES = "features"  # the folder of what frozen layers gave
COOLED = 8  # rows on which the head is seen to answer by its temperature


@step
def train(recipe: Recipe, data: Prepared, work: Path, run_id: str, start: Path | None = None) -> Checkpoint:
    """Train a recipe on prepared rows, from the last checkpoint in `work` if there is one.

    `start` is the folder of the saved model of `recipe.start_from`; it is read at step 0 alone.

    Raises:
        GraftError: the method does not fit, the loss is no number, or the disk is full.
    """
    receipt = work / "trained.json"
    if receipt.exists():
        return Checkpoint.model_validate_json(receipt.read_text())
    memory.tidy()
    with memory.Watch(every=LOOK) as watch:
        done = Training(recipe, data, work, run_id, start).run()
    done = done.model_copy(update={"peak_memory": memory.device_peak() or watch.most})
    write_file(receipt, done.model_dump_json().encode())
    return done


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Keep all other processes out of a folder of work.

    Raises:
        GraftError: one is there already.
    """
    with locked(work / "train.lock") as ours:
        if not ours:
            raise GraftError(f"Another process trains this recipe now (in {work}). Wait for it, or change seed=.")
        yield


class Training:
    """A training under way. What changes while it runs is in `progress` and the module, and so in a checkpoint."""

    def __init__(self, recipe: Recipe, data: Prepared, work: Path, run_id: str, start: Path | None = None) -> None:
        self.recipe, self.target, self.work, self.start = recipe, data.target, work, start
        self.rows, self.validation = rows_of(data, "train"), rows_of(data, "validation")
        self.metrics = Curves(run_id, work / "metrics.jsonl")
        torch.manual_seed(recipe.seed)
        found = checkpoint.last_step(work / "checkpoints")
        self.network = self._network(found is not None)
        self.inputs = self.network.ready(inputs_of(self.rows), data.hashes["train"])
        self.scored = self.network.ready(inputs_of(self.validation), data.hashes["validation"])
        self.lengths = self.network.lengths(self.inputs)
        self.feed = Feed(self.network, self.inputs, self.rows.labels, recipe.schedule.draws)
        self.per_epoch = math.ceil(len(self.rows) / recipe.schedule.batch_size)
        self.steps = self.per_epoch * recipe.schedule.epochs
        labels = torch.tensor(self.rows.labels)
        self.objective = Objective(self.target, labels, recipe.schedule.class_weights == "auto")
        self._place()
        heap.keep(self.network.module)
        self.run_on, self.judged = self.network, self.scored
        torch.manual_seed(recipe.seed)
        self.progress = resume.restore(found, self.network, self.optimizer) if found else resume.Progress()
        with torch.random.fork_rng(devices=[]):
            self.quickened = quicken(self.network, inputs_of(self.rows))  # of the restored: statistics are worked in
        self.words = FewWords(self.network, self.inputs, self.optimizer)
        self.resumed_at = self.progress.step or None
        self.metrics.forget_after(self.progress.step)

    def _network(self, resumed: bool) -> Network:
        folder = self.work / "model"
        if resumed:
            return saved.reopen(folder).network
        for left in (folder, self.work / FEATURES):  # by a start that was killed: it holds no weights that train
            shutil.rmtree(left, ignore_errors=True)
        return saved.begin(folder, self.recipe, self.target, inputs_of(self.rows), self.start).network

    def _place(self) -> None:
        """Put the module on the device, with its optimizer."""
        self.precision = runtime.precision()
        AcceleratorState._reset_state(reset_partial_state=True)  # a run before this one may have had another device
        self.accelerator = Accelerator(
            mixed_precision="no" if self.precision == "fp32" else self.precision, cpu=runtime.device() == "cpu"
        )
        method, schedule = self.recipe.method, self.recipe.schedule
        optimizer = adamw(self.network.module, method.learning_rate, schedule.weight_decay)
        self.network.module, self.optimizer = self.accelerator.prepare(self.network.module, optimizer)
        self.objective.to(self.accelerator.device)

    def run(self) -> Checkpoint:
        """All steps that are left; then the kept epoch's weights are the model."""
        if self.resumed_at:
            say(f"Going on from step {self.resumed_at} of {self.steps}.")
        began, features, labels = time.perf_counter(), self.work / FEATURES, self.rows.labels
        self.run_on, self.feed, self.judged = spared(
            self.network, self.recipe, features, self.inputs, self.scored, labels
        )
        self.progress.seconds += time.perf_counter() - began  # the frozen layers' run is training too
        with bar("train", self.steps, self.progress.step) as shown:
            while self.progress.step < self.steps and not self.progress.stopped(self.recipe.schedule.patience):
                self._epoch(shown)
        self.metrics.settle()
        return self.finish()

    def finish(self) -> Checkpoint:
        """Make the kept epoch's weights the model, fit how it answers, and note what it does."""
        self.network.module = self.accelerator.unwrap_model(self.network.module, keep_fp32_wrapper=False)
        slow_down(self.quickened)
        shutil.rmtree(self.work / FEATURES, ignore_errors=True)
        saved.restore(self.network, self.progress.best_state, "trained")
        target, covered = self._decide()
        write_file(self.work / "model" / "trained.safetensors", checkpoint.pack(saved.trained_state(self.network)))
        self._probe()
        return self._receipt(target, covered)

    def _decide(self) -> tuple[Target, tuple[Covered, ...]]:
        """Fit temperature and thresholds on the validation rows; gives them, and how sure the answers there are."""
        headline, truth = self.recipe.dataset.scored[0], self.validation.labels
        logits = logits_of(self.network, self.scored)
        target = decided(self.recipe.decision, self.target, headline, truth, logits)
        if target.temperature != 1:
            few = self.validation.table(range(min(COOLED, len(self.validation))))
            cool(self.network, target.temperature, inputs_of(few))
        write_file(self.work / "model" / "target.json", target.model_dump_json(indent=1).encode())
        return target, coverage(target, truth, logits / target.temperature)

    def _epoch(self, shown: Bar) -> None:
        """The rest of the current epoch, its validation, and a checkpoint."""
        seed, done = self.recipe.seed, self.progress
        epoch, first = divmod(done.step, self.per_epoch)
        batches = epoch_batches(self.lengths, self.recipe.schedule.batch_size, seed, epoch)
        self.recipe.method.train_mode(self.network)
        kept = began = time.perf_counter()
        for inputs, labels in self.feed.epoch(batches, seed, epoch, first):
            rate = self.rate()
            loss = self.update(inputs, labels, rate)
            now = time.perf_counter()
            done.seconds, began, speed = done.seconds + now - began, now, len(labels) / (now - began)
            done.step, done.rows = done.step + 1, done.rows + len(labels)
            self.metrics.add(
                done.step, {"train/loss": loss, "train/learning_rate": rate, "train/rows_per_second": speed}
            )
            shown.advance(f"loss {loss:.3f}  {done.rows / done.seconds:.0f} rows/s")
            if now - kept > runtime.checkpoint_seconds() and done.step % self.per_epoch:
                self.keep()
                kept = began = time.perf_counter()
        shown.advance("validating", steps=0)
        self._validate(epoch + 1)
        self.keep()

    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.recipe.method.learning_rate * self.recipe.schedule.rate(self.progress.step, self.steps)

    def update(self, inputs: dict[str, Tensor], labels: Tensor, rate: float) -> float:
        """One optimizer step, the first one watched. Returns the batch's loss."""
        device, module = self.accelerator.device, self.network.module
        if self.progress.step:  # the first step is watched on the table itself
            self.words.shorten()
        with mixed.precision(self.precision, device):
            logits = self.run_on.logits({name: t.to(device, non_blocking=True) for name, t in inputs.items()})
        loss = self.objective(logits, labels.to(device, non_blocking=True))
        value = float(loss.item())
        if not math.isfinite(value):
            raise GraftError(
                f"The loss is {value} at step {self.progress.step}. Lower method.learning_rate (now {rate:g})."
            )
        before = hashes(module) if self.progress.step == 0 else None
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(trained(self.optimizer), self.recipe.schedule.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.words.stepped()
            if before is not None:
                check_moved(before, module, self.network.head, self.recipe.method.whole)
        self.optimizer.zero_grad()
        return value

    def _validate(self, epoch: int) -> None:
        """Score the validation rows, and keep the weights if they are the best so far."""
        self.words.whole()
        logits = logits_of(self.run_on, self.judged)
        labels = torch.tensor(self.validation.labels)
        headline = self.recipe.dataset.scored[0]
        value = score(headline, labels.numpy(), answers(self.target, logits).numpy())
        loss = float(self.objective.cpu()(logits, labels).item())
        self.objective.to(self.accelerator.device)
        self.metrics.add(self.progress.step, {f"validation/{headline}": value, "validation/loss": loss})
        keep_last = self.recipe.schedule.keep == "last"
        self.progress.judge(epoch, value, loss, saved.trained_state(self.network), keep_last)

    def keep(self) -> None:
        """A checkpoint; then the metrics up to it can be sent, since no step before it will run again."""
        self.words.whole()
        resume.save(self.work, self.network, self.optimizer, self.progress)
        self.metrics.ship()

    def _probe(self) -> None:
        """Note the answers of the network in memory, on CPU in fp32: the saved model must give the same."""
        self.network.module.cpu()
        rows = self.rows.table(range(min(verify.ROWS, len(self.rows))))
        verify.keep(self.work, rows, logits_of(self.network, inputs_of(rows)))

    def _receipt(self, target: Target, covered: tuple[Covered, ...]) -> Checkpoint:
        done = self.progress
        adapter, head = count_trained(self.network)
        whole = sum(w.numel() for name, w in self.network.module.named_parameters() if "original_module" not in name)
        return Checkpoint(
            folder=self.work / "model", target=target, adapter_weights=adapter, head_weights=head, total_weights=whole,
            steps=done.step, epochs=done.step // self.per_epoch, best_epoch=done.best_epoch,
            validation=done.best_score, seconds=done.seconds, rows_per_second=done.rows / done.seconds,
            resumed_at=self.resumed_at, covered=covered,
        )  # fmt: skip
