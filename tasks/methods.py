"""How a backbone is adapted: which weights train, which layers get an adapter, how fast they learn."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import allclose, nn, no_grad

from tasks.backbones.network import Network, Rows, adaptable, logits_of, transposed
from tasks.frozen import Frozen, GraftError


class MethodSpec(Frozen):
    """What every method says of itself."""

    about: str = ""
    learning_rate: float = Field(gt=0, description="at its highest, after the warm-up")

    pretrained: ClassVar[bool] = True  # starts from pretrained weights
    whole: ClassVar[bool] = False  # the trunk trains as a whole, its dropout and statistics with it

    def adapt(self, network: Network) -> None:
        """Prepare the network's module for training; exactly the weights to train require a gradient after it.

        Raises:
            GraftError: the method finds nothing in this network that it can train.
        """
        raise NotImplementedError

    def train_mode(self, network: Network) -> None:
        """Switch dropout and batch-norm statistics on where something trains, off in the frozen trunk."""
        network.module.train(self.whole)


class Whole(MethodSpec):
    """Everything trains."""

    whole: ClassVar[bool] = True

    def adapt(self, network: Network) -> None:
        network.module.requires_grad_(True)


class Scratch(Whole):
    """Everything trains, from random weights."""

    kind: Literal["scratch"]
    learning_rate: float = Field(1e-3, gt=0)

    pretrained: ClassVar[bool] = False


class Full(Whole):
    """Everything trains, from pretrained weights."""

    kind: Literal["full"]
    learning_rate: float = Field(1e-4, gt=0)
    dropout: bool = Field(True, description="whether the network's own dropout acts; without it a step is faster")

    def train_mode(self, network: Network) -> None:
        """As every method; without dropout, statistics of batches alone."""
        network.module.train(self.dropout)
        for module in network.module.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


class LinearProbe(MethodSpec):
    """The head alone trains, on the frozen trunk's features."""

    kind: Literal["linear_probe"]
    learning_rate: float = Field(5e-3, gt=0)

    def adapt(self, network: Network) -> None:
        _train_head_only(network)


class BitFit(MethodSpec):
    """The biases and the head train. Source: Ben Zaken et al., BitFit (2022)."""

    kind: Literal["bitfit"]
    learning_rate: float = Field(2e-3, gt=0)

    def adapt(self, network: Network) -> None:
        _train_head_only(network)
        biases = [weight for name, weight in network.module.named_parameters() if name.endswith("bias")]
        inside = sum(weight.requires_grad for weight in biases)
        if len(biases) == inside:
            raise GraftError("BitFit found no bias in the trunk. Use method=lora or method=linear_probe.")
        for bias in biases:
            bias.requires_grad_(True)


class Lora(MethodSpec):
    """Low-rank adapters on linear maps and ungrouped convolutions, with the head.

    Source: Hu et al., LoRA (2021); Liu et al., DoRA (2024); Kalajdzievski, rsLoRA (2023).
    """

    kind: Literal["lora"]
    learning_rate: float = Field(5e-4, gt=0)
    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="ends of the names of the modules to adapt; planned from the network if not given",
    )
    layers: int | None = Field(None, ge=1, description="adapt only so many blocks, counted from the output")
    dora: bool = False
    rslora: bool = False

    def adapt(self, network: Network) -> None:
        from peft import LoraConfig, get_peft_model

        targets = self.plan(network)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=all(transposed(network.module.get_submodule(name)) for name in targets),
            modules_to_save=list(network.head),
            use_dora=self.dora,
            use_rslora=self.rslora,
        )
        network.module = get_peft_model(network.module, config)

    def plan(self, network: Network) -> list[str]:
        """The full names of the modules that get an adapter.

        Raises:
            GraftError: `targets` match nothing, or a module that LoRA does not fit.
        """
        groups = network.groups[-self.layers :] if self.layers else network.groups
        names = [name for group in groups for name in group]
        if self.targets is None:
            if not names:
                raise GraftError("LoRA found no linear map or ungrouped convolution in the trunk. Use method=full.")
            return names
        found: list[str] = []
        for target in self.targets:
            matched = [name for name in names if name == target or name.endswith(f".{target}")]
            if not matched:
                raise GraftError(_no_match(target, network, names))
            found += matched
        return found

    def train_mode(self, network: Network) -> None:
        network.module.eval()
        for name, module in network.module.named_modules():
            if name.endswith("lora_dropout"):
                module.train()


Method = Annotated[Scratch | LinearProbe | BitFit | Lora | Full, Field(discriminator="kind")]


def _no_match(target: str, network: Network, names: list[str]) -> str:
    valid = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
    unfit = [
        name
        for name, module in network.module.named_modules()
        if name.endswith(target) and not adaptable(module) and not list(module.children())
    ]
    if unfit:
        return f"LoRA does not fit target {target!r} (a {_kind(network.module, unfit[0])}). Valid here: {valid}."
    return f"LoRA target {target!r} matches no module that can be adapted. Valid here: {valid}."


def _kind(module: nn.Module, name: str) -> str:
    child = module.get_submodule(name)
    groups = getattr(child, "groups", 1)
    return f"grouped {type(child).__name__}" if groups != 1 else type(child).__name__


def _train_head_only(network: Network) -> None:
    network.module.requires_grad_(False)
    for name in network.head:
        network.module.get_submodule(name).requires_grad_(True)


def count_trained(network: Network) -> tuple[int, int]:
    """How many weights train outside the head (the adapter, or the trunk) and in it."""
    adapter = head = 0
    for name, weight in network.module.named_parameters():
        if weight.requires_grad:
            inside = in_head(name, network.head)
            head += weight.numel() * inside
            adapter += weight.numel() * (not inside)
    return adapter, head


@no_grad()
def cool(network: Network, temperature: float, rows: Rows) -> None:
    """Divide all that the network will answer by a temperature: its head's last layer, weights and bias.

    Raises:
        GraftError: its logits for `rows` did not shrink by it.
    """
    warm = logits_of(network, rows)
    head = {name: weight for name, weight in network.module.named_parameters() if in_head(name, network.head)}
    trained = {name: weight for name, weight in head.items() if weight.requires_grad}  # without peft's frozen copy
    last = list(trained)[-1].rpartition(".")[0]
    for name, weight in trained.items():
        if name.rpartition(".")[0] == last:
            weight.div_(temperature)
    if not allclose(logits_of(network, rows), warm / temperature, rtol=1e-3, atol=1e-3):
        raise GraftError(
            "The temperature does not fit this network's head: the logits did not shrink by it. Set "
            "decision.temperature=null, and report the backbone."
        )


def in_head(weight: str, head: tuple[str, ...]) -> bool:
    """Whether a weight's name, as it is or below peft's wrapper, lies in one of the head's modules."""
    return weight.removeprefix("base_model.model.").startswith(tuple(f"{name}." for name in head))
