"""What users of timm run: its model, loader and train transform in the usual loop; and the plain loop of a probe."""

import io
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm import create_model
from timm.data import create_loader, resolve_model_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tasks import memory, runtime
from tasks.backbones.image import TimmBackbone
from tasks.backbones.keymaps import KEY_MAPS
from tasks.backbones.weights import PackageWeights
from tasks.bench.orders import Order, Taken, digest
from tasks.frozen import GraftError
from tasks.prepare import rows_of
from tasks.recipe import Recipe
from tasks.rows import Rows

ANSWERED = 64  # rows in a batch that is only answered
SMOOTHING = 0.1  # of the labels: the default of timm's train recipe
TRAIN = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "hflip": 0.5, "color_jitter": 0.4}  # so are these

Logits = Callable[[Tensor], Tensor]


class Pictures(Dataset[tuple[Any, int]]):
    """Rows as timm's loader takes them: it gives the data set its transform."""

    transform: Any = None

    def __init__(self, rows: Rows, count: int) -> None:
        self._files, self._labels = rows["image"], rows.labels[:count].tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.transform(Image.open(io.BytesIO(self._files[row])).convert("RGB")), self._labels[row]

    @property
    def seen(self) -> str:
        """The digest of what it gives."""
        return digest(islice(self._files, len(self)), self._labels)


def train(order: Order) -> tuple[Taken, NDArray[np.float32] | None]:
    """Train all weights of timm's model.

    Raises:
        GraftError: the recipe is not for timm's weights in a package.
    """
    entered = time.perf_counter()
    module = _module(order.recipe, order.data.target.outputs)
    module.train()
    loss = LabelSmoothingCrossEntropy(SMOOTHING)
    return _trained(order, entered, module, list(module.parameters()), module, loss)


def probe(order: Order) -> tuple[Taken, NDArray[np.float32] | None]:
    """Train the head alone: the trunk is in eval mode, and asked again for every row in every epoch.

    Raises:
        GraftError: the recipe is not for timm's weights in a package.
    """
    entered = time.perf_counter()
    module = _module(order.recipe, order.data.target.outputs)
    module.requires_grad_(False).eval()
    head: Any = module.get_classifier()
    head.requires_grad_(True)

    def logits(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            features = module.forward_head(module.forward_features(pixels), pre_logits=True)
        out: Tensor = head(features)
        return out

    return _trained(order, entered, module, list(head.parameters()), logits, nn.CrossEntropyLoss())


def _module(recipe: Recipe, outputs: int) -> Any:
    """The same weights as Graft's, read by timm."""
    backbone = recipe.backbone
    if not isinstance(backbone, TimmBackbone) or not isinstance(backbone.weights, PackageWeights):
        raise GraftError(f"Backbone {backbone.library!r} has no timm weights in a package to bench with.")
    torch.manual_seed(recipe.seed)
    module = create_model(backbone.name)
    state = torch.load(backbone.weights.place(), map_location="cpu", weights_only=True)
    module.load_state_dict(KEY_MAPS[backbone.key_map](state, module) if backbone.key_map else state)
    module.reset_classifier(outputs)
    return module.to(runtime.device())


def _loader(recipe: Recipe, pictures: Pictures, module: Any, batch_size: int | None = None) -> Any:
    """timm's loader, of training where a batch size is given.

    It would drop a last short batch of training: here no row is left out on either side.
    """
    training, size = batch_size is not None, cast(TimmBackbone, recipe.backbone).image_size
    data = resolve_model_data_config(module, args={"input_size": (3, size, size)} if size else {})
    loader = create_loader(
        pictures,
        input_size=data["input_size"],
        batch_size=batch_size or ANSWERED,
        is_training=training,
        interpolation="random" if training else data["interpolation"],
        mean=data["mean"],
        std=data["std"],
        crop_pct=data["crop_pct"],
        num_workers=runtime.workers(),
        use_prefetcher=False,
        pin_memory=runtime.device() == "cuda",
        device=torch.device(runtime.device()),
        **(TRAIN if training else {}),
    )
    if not training:
        return loader
    kept = ("batch_size", "collate_fn", "worker_init_fn", "num_workers", "pin_memory", "persistent_workers")
    return DataLoader(loader.dataset, shuffle=True, **{name: getattr(loader, name) for name in kept})


def _trained(
    order: Order, entered: float, module: Any, weights: list[nn.Parameter], logits: Logits, loss: nn.Module
) -> tuple[Taken, NDArray[np.float32] | None]:
    """The loop on the clock, then the answers to all test rows if it saw all training rows."""
    recipe, rows = order.recipe, rows_of(order.data, "train")
    pictures = Pictures(rows, order.rows or len(rows))
    epochs, whole = order.epochs or recipe.schedule.epochs, order.rows is None and order.epochs is None
    loader = _loader(recipe, pictures, module, recipe.schedule.batch_size)
    began = time.perf_counter()
    steps = _loop(recipe, loader, epochs, weights, logits, loss)
    seconds = time.perf_counter() - began
    taken = Taken(
        seconds=seconds,
        ready=began - entered,
        rows=len(pictures),
        epochs=epochs,
        steps=steps,
        trained=sum(weight.numel() for weight in weights),
        peak=memory.device_peak() or memory.peak(),
        seen=pictures.seen,
    )
    return taken, np.concatenate(list(_answers(order, module))) if whole else None


def _loop(
    recipe: Recipe, loader: Any, epochs: int, weights: list[nn.Parameter], logits: Logits, loss: nn.Module
) -> int:
    """All epochs; the rate follows the recipe's schedule. Returns the steps."""
    schedule, device = recipe.schedule, runtime.device()
    optimizer = create_optimizer_v2(
        weights, opt="adamw", lr=recipe.method.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    step, steps = 0, len(loader) * epochs
    for _ in range(epochs):
        for pixels, labels in loader:
            for group in optimizer.param_groups:
                group["lr"] = recipe.method.learning_rate * schedule.rate(step, steps)
            optimizer.zero_grad()
            loss(logits(pixels.to(device)), labels.to(device)).backward()
            nn.utils.clip_grad_norm_(weights, schedule.clip)
            optimizer.step()
            step += 1
    if device == "cuda":
        torch.cuda.synchronize()  # else the clock would stop before the last step has
    return step


@torch.inference_mode()
def _answers(order: Order, module: Any) -> Iterator[NDArray[np.float32]]:
    """Logits of the test rows in their order, a batch at a time."""
    module.eval()
    rows = rows_of(order.data, "test")
    for pixels, _ in _loader(order.recipe, Pictures(rows, len(rows)), module):
        yield module(pixels.to(runtime.device())).float().cpu().numpy()
