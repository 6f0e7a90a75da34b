"""The last block of a BERT-like encoder, worked out for the first token alone where the head reads nothing else.

Keys and values still come from every token; queries, the attention's output and the feed-forward half do not.
"""

from typing import Any

from torch import Tensor, nn

from tasks.backbones.network import mixed


class FirstToken:
    """Mixed into a network's own attention class: hidden states [B, T, D] to [B, 1, D]."""

    def forward(self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any) -> tuple[Tensor, Any]:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        inner, first = self.self, hidden_states[:, :1]

        def by_head(states: Tensor) -> Tensor:
            return states.view(*states.shape[:2], -1, int(inner.attention_head_size)).transpose(1, 2)

        attend = ALL_ATTENTION_FUNCTIONS[inner.config._attn_implementation]
        mixed, weights = attend(
            inner,
            by_head(inner.query(first)),
            by_head(inner.key(hidden_states)),
            by_head(inner.value(hidden_states)),
            attention_mask[:, :, :1] if attention_mask is not None else None,
            dropout=inner.dropout.p if inner.training else 0.0,
            scaling=inner.scaling,
            is_causal=False,
        )
        return self.output(mixed.flatten(2), first), weights


def swaps(module: nn.Module) -> dict[nn.Module, type[nn.Module]]:
    """The last attention with the class that it may take; empty where no module has the parts of BERT's.

    Whether the head reads the first token alone is not seen here: compare the logits.
    """
    found = [child for child in module.modules() if _bert_like(child)]
    kind: Any = type(found[-1]) if found else None
    return {found[-1]: mixed(FirstToken, kind)} if found else {}


def _bert_like(module: Any) -> bool:
    inner = getattr(module, "self", None)
    parts = ("query", "key", "value", "dropout", "attention_head_size", "scaling", "config")
    if inner is None or not hasattr(module, "output") or not all(hasattr(inner, part) for part in parts):
        return False
    return not inner.is_causal and inner.config._attn_implementation == "sdpa"
