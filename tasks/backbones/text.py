"""Text networks: any sequence classifier of transformers, pretrained or not, and Graft's own Transformer."""

import hashlib
import inspect
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn, tensor

from tasks import runtime
from tasks.backbones.network import Batch, Network, Rows, by_block
from tasks.backbones.ways import Span, Way, embedded_way, spans_of
from tasks.backbones.weights import HubWeights, NoWeights, PackageWeights, PretrainedOn, Weights, explained
from tasks.backbones.wordpiece import train_tokenizer
from tasks.frozen import Frozen, GraftError
from tasks.results import Target
from tasks.scratch import TextTransformer
from tasks.tokens import Ragged, tokenised

PROBLEMS = {"class": "single_label_classification", "multilabel": "multi_label_classification", "number": "regression"}


@dataclass
class TextNetwork(Network):
    """A module that takes token ids, with its tokenizer."""

    tokenizer: Any
    max_length: int

    def encode(self, rows: Rows, seeds: Sequence[int] | None = None) -> Batch:
        rows = self.ready(rows)
        tokens = {name: [ids.tolist() for ids in own] for name, own in rows.items()}
        batch = self.tokenizer.pad(tokens, return_tensors="pt")
        return {name: batch[name] for name in self.tokenizer.model_input_names if name in batch}

    def ready(self, rows: Rows, content: str | None = None) -> Rows:
        if "input_ids" in rows:
            return rows
        mark = f"{content}-{self._mark()}" if content else None
        return tokenised(rows, self._tokens, mark)

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        return cast(Ragged, self.ready(rows)["input_ids"]).lengths

    def _tokens(self, rows: Rows) -> dict[str, list[list[int]]]:
        pair = list(rows["text_pair"]) if "text_pair" in rows else None
        found = self.tokenizer(list(rows["text"]), pair, truncation=True, max_length=self.max_length)
        return {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}

    def _mark(self) -> str:
        """16 hex digits of all that decides how a text is tokenised, the libraries' versions included."""
        import tokenizers
        import transformers

        digest = hashlib.sha256(f"{self.max_length} {transformers.__version__} {tokenizers.__version__}".encode())
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_pretrained(folder)
            for file in sorted(Path(folder).iterdir()):
                told = json.loads(file.read_text()) if file.suffix == ".json" else file.read_bytes().hex()
                if isinstance(told, dict):  # the last call's settings are kept in it too
                    told = {key: value for key, value in told.items() if key not in ("truncation", "padding")}
                digest.update(json.dumps([file.name, told], sort_keys=True).encode())
        return digest.hexdigest()[:16]

    def logits(self, batch: Batch) -> Tensor:
        out = self.module(**batch)
        return cast(Tensor, getattr(out, "logits", out))

    def way(self, row: Rows) -> Way:
        """From the row with mask (or pad) tokens for its texts, in embeddings [1, T, D]."""
        batch, tokenizer = self.encode(row), self.tokenizer
        blank = tokenizer.pad_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        own = tensor([[span is None for span in self.spans(row)]])
        return embedded_way(self.table, self.logits, batch, batch["input_ids"].where(own, blank))

    @property
    def table(self) -> nn.Module:
        module: Any = self.module
        found: nn.Module = (
            module.encoder.embedding if isinstance(module, TextTransformer) else module.get_input_embeddings()
        )
        return found

    def spans(self, row: Rows) -> list[Span | None]:
        """Of every token of one row its characters; None for a special token."""
        columns = {name: row[name][0] for name in ("text", "text_pair") if name in row}
        return spans_of(self.tokenizer, columns, self.max_length)

    def describe(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)
        config = getattr(self.module, "config", None)
        if config is not None:
            config.save_pretrained(folder)


class TransformersBackbone(Frozen):
    """A pretrained encoder or decoder of transformers with a sequence-classification head.

    A decoder is read at its last token, as its own classes do; a missing pad token is set to the end token.
    """

    library: Literal["transformers"]
    about: str = ""
    weights: Weights
    max_length: int = Field(128, ge=4, description="tokens kept of a row (both texts of a pair together)")
    pretrained_on: PretrainedOn = None

    accepts: ClassVar[Literal["text", "image"]] = "text"
    pretrained: ClassVar[bool] = True

    def check(self) -> None:
        """Raise a GraftError if the weights cannot be had; quick."""
        self.weights.check()

    def content(self) -> str:
        """What names the content of its weights (see `tasks.backbones.weights`)."""
        return self.weights.content()

    def load(self, target: Target, rows: Rows, pretrained: bool = True) -> Network:
        """The network with a new head, on pretrained weights or (for training from scratch) on random ones."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        place, options = self._place()
        with explained(self.weights, place):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
            config = _config(place, options, target, tokenizer)
            if pretrained:
                module = AutoModelForSequenceClassification.from_pretrained(
                    place, config=config, dtype="float32", **options
                )
            else:
                module = AutoModelForSequenceClassification.from_config(config)
        return _network(module, tokenizer, self.max_length)

    def rebuild(self, folder: Path, target: Target) -> Network:
        """The same network from what `describe` wrote, its weights still to be loaded."""
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        module = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
        return _network(module, AutoTokenizer.from_pretrained(folder), self.max_length)

    def _place(self) -> tuple[str, dict[str, Any]]:
        if isinstance(self.weights, HubWeights):
            return self.weights.id, {"revision": self.weights.revision}
        if isinstance(self.weights, PackageWeights) and self.weights.file.endswith(".gguf"):
            return str(_from_gguf(self.weights)), {}
        return str(self.weights.folder()), {}


def _config(place: str, options: dict[str, Any], target: Target, tokenizer: Any) -> Any:
    from transformers import AutoConfig

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise GraftError(f"The tokenizer of {place} has neither a pad nor an end token. Choose another backbone.")
    tokenizer.padding_side = "right"
    config = AutoConfig.from_pretrained(
        place,
        num_labels=target.outputs,
        id2label=dict(enumerate(target.names)),
        label2id={name: index for index, name in enumerate(target.names)},
        problem_type=PROBLEMS[target.kind],
        **options,
    )
    config.pad_token_id = tokenizer.pad_token_id
    config.dtype = "float32"  # published weights may be kept in 16 bits; random and rebuilt ones must not be
    return config


def _network(module: Any, tokenizer: Any, max_length: int) -> TextNetwork:
    tops = [name for name, child in module.named_children() if any(True for _ in child.parameters())]
    head = tuple(name for name in tops if name != module.base_model_prefix)
    layers = module.config.num_hidden_layers
    stack = next(name for name, m in module.named_modules() if isinstance(m, nn.ModuleList) and len(m) == layers)
    blocks = [[f"{stack}.{index}"] for index in range(layers)]
    longest = min(tokenizer.model_max_length, getattr(module.config, "max_position_embeddings", max_length))
    if max_length > longest:
        raise GraftError(f"max_length is {max_length}, but the network takes {longest} tokens at most.")
    accepted = inspect.signature(module.forward).parameters
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in accepted]
    return TextNetwork(module, head, by_block(module, blocks, head), tokenizer, max_length)


def _from_gguf(weights: PackageWeights) -> Path:
    """The weights as safetensors, dequantised once into the home folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = weights.place()
    kept = runtime.home() / "weights" / f"{file.stem}-{weights.sha256[:8]}"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
        model = AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
        del model.config.quantization_config  # its weights are fp32 now, but transformers would refuse to save it
        model.hf_quantizer = None
        made = Path(tempfile.mkdtemp(dir=kept.parent))
        model.save_pretrained(made)
        AutoTokenizer.from_pretrained(**source).save_pretrained(made)
        made.rename(kept)
    return kept


class ScratchTransformer(NoWeights):
    """The classic Transformer encoder (or, with `causal`, a GPT-style one), trained from nothing.

    It trains its own WordPiece tokenizer on the training rows.
    """

    library: Literal["scratch_transformer"]
    about: str = ""
    vocabulary: int = Field(8000, ge=100)
    width: int = 128
    heads: int = 4
    hidden: int = 512
    layers: int = Field(2, ge=1)
    max_length: int = Field(128, ge=4)
    dropout: float = Field(0.1, ge=0, lt=1)
    causal: bool = False

    accepts: ClassVar[Literal["text", "image"]] = "text"

    def load(self, target: Target, rows: Rows, pretrained: bool = False) -> Network:
        """A new network with a tokenizer trained on the rows given."""
        columns = [rows[name] for name in ("text", "text_pair") if name in rows]
        return self._network(train_tokenizer(columns, self.vocabulary), target)

    def rebuild(self, folder: Path, target: Target) -> Network:
        """The same network from what `describe` wrote, its weights still to be loaded."""
        from transformers import PreTrainedTokenizerFast

        return self._network(PreTrainedTokenizerFast.from_pretrained(folder), target)

    def _network(self, tokenizer: Any, target: Target) -> Network:
        shape = self.model_dump(exclude={"library", "about", "vocabulary", "max_length"})
        module = TextTransformer(
            len(tokenizer), target.outputs, length=self.max_length, padding_index=tokenizer.pad_token_id, **shape
        )
        blocks = [[f"encoder.layers.{index}"] for index in range(self.layers)]
        return TextNetwork(module, ("head",), by_block(module, blocks, ("head",)), tokenizer, self.max_length)
