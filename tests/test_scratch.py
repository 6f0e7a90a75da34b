"""The from-scratch networks against independent ones that hold the same weights."""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasks.scratch import (
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    ImageCNN,
    MultiHeadAttention,
    TextTransformer,
    causal_mask,
)

WIDTH, HEADS, HIDDEN = 16, 4, 32
B, T, S = 3, 7, 5


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """In double precision: in single, a value that rounding moves over a ReLU's or a max-pool's edge moves the
    gradient by far more than rounding, on some machines and not on others."""
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keras on its torch backend; its settings file goes to a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "KERAS_BACKEND", "torch")
        patch.setitem(os.environ, "KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        module = pytest.importorskip("keras")
    if module.backend.backend() != "torch":
        pytest.skip("keras was already imported with another backend")
    module.config.set_floatx("float64")
    return module


# ---- helpers: copy our weights into the other network, compare values and gradients ----


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def twin(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Two separate leaves with the same values, so that their gradients can be compared."""
    return tensor.clone().requires_grad_(), tensor.clone().requires_grad_()


def randomise(module: nn.Module) -> None:
    """Move every parameter off its initial value (norms start at one and zero)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def attention_pairs(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> list[tuple[Sequence[Tensor], Any]]:
    parts = [ours.query, ours.key, ours.value]
    return [
        ([part.weight for part in parts], theirs.in_proj_weight),
        ([part.bias for part in parts], theirs.in_proj_bias),
        ([ours.output.weight], theirs.out_proj.weight),
        ([ours.output.bias], theirs.out_proj.bias),
    ]


def plain_pairs(ours: nn.Module, theirs: nn.Module) -> list[tuple[Sequence[Tensor], Any]]:
    return [([mine], other) for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True)]


def encoder_pairs(ours: EncoderLayer, theirs: nn.TransformerEncoderLayer) -> list[tuple[Sequence[Tensor], Any]]:
    return (
        attention_pairs(ours.attention, theirs.self_attn)
        + plain_pairs(ours.feed_forward, nn.ModuleList([theirs.linear1, theirs.linear2]))
        + plain_pairs(ours.attention_norm, theirs.norm1)
        + plain_pairs(ours.feed_forward_norm, theirs.norm2)
    )


def decoder_pairs(ours: DecoderLayer, theirs: nn.TransformerDecoderLayer) -> list[tuple[Sequence[Tensor], Any]]:
    return (
        attention_pairs(ours.self_attention, theirs.self_attn)
        + attention_pairs(ours.memory_attention, theirs.multihead_attn)
        + plain_pairs(ours.feed_forward, nn.ModuleList([theirs.linear1, theirs.linear2]))
        + plain_pairs(ours.self_norm, theirs.norm1)
        + plain_pairs(ours.memory_norm, theirs.norm2)
        + plain_pairs(ours.feed_forward_norm, theirs.norm3)
    )


def copy(pairs: list[tuple[Sequence[Tensor], Any]]) -> None:
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(torch.cat(list(mine)))


def compare_gradients(pairs: list[tuple[Sequence[Tensor], Any]]) -> None:
    for mine, other in pairs:
        close(torch.cat([parameter.grad for parameter in mine if parameter.grad is not None]), other.grad)


def padding(batch: int, length: int) -> Tensor:
    """A [B, T] mask, True at real tokens: row i has i fewer of them than the row length."""
    return torch.arange(length) < (length - torch.arange(batch))[:, None]


def backward(output: Tensor) -> None:
    """A loss with a different gradient at every entry, the same for equal shapes."""
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()


# ---- attention ----


@pytest.mark.parametrize("masked", ["none", "padding", "causal"])
def test_attention_equals_torchs_with_the_same_weights(masked: str) -> None:
    ours = MultiHeadAttention(WIDTH, HEADS).eval()
    randomise(ours)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    pairs = attention_pairs(ours, theirs)
    copy(pairs)
    sources = T if masked == "causal" else S
    (q, q2), (k, k2), (v, v2) = (twin(torch.randn(B, size, WIDTH)) for size in (T, sources, sources))
    keep, lower = padding(B, sources), causal_mask(T)
    mask = {"none": None, "padding": keep[:, None, None], "causal": lower}[masked]
    result = ours(q, k, v, mask)
    expected, _ = theirs(
        q2, k2, v2,
        key_padding_mask=~keep if masked == "padding" else None,
        attn_mask=~lower if masked == "causal" else None,
    )  # fmt: skip
    assert result.shape == (B, T, WIDTH)
    close(result, expected)
    backward(result)
    backward(expected)
    compare_gradients(pairs)
    for mine, other in ((q, q2), (k, k2), (v, v2)):
        assert mine.grad is not None and other.grad is not None
        close(mine.grad, other.grad)


def test_attention_equals_keras_with_the_same_weights(keras: Any) -> None:
    ours = MultiHeadAttention(WIDTH, HEADS).cpu().eval()
    randomise(ours)
    size = WIDTH // HEADS
    with keras.device("cpu"):
        theirs = keras.layers.MultiHeadAttention(num_heads=HEADS, key_dim=size)
        queries, source = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
        theirs.build(queries.shape, source.shape, source.shape)
        weights = []
        for part in (ours.query, ours.key, ours.value):
            weights += [part.weight.T.reshape(WIDTH, HEADS, size), part.bias.reshape(HEADS, size)]
        weights += [ours.output.weight.T.reshape(HEADS, size, WIDTH), ours.output.bias]
        theirs.set_weights([weight.detach().numpy() for weight in weights])
        keep = padding(B, S)
        (q, q2), (s, s2) = twin(queries), twin(source)
        expected = theirs(q2, s2, s2, attention_mask=keep[:, None, :].expand(B, T, S))
    result = ours(q, s, s, keep[:, None, None])
    close(result, expected)
    backward(result)
    backward(expected)
    assert q.grad is not None and q2.grad is not None and s.grad is not None and s2.grad is not None
    close(q.grad, q2.grad)
    close(s.grad, s2.grad)


def test_attention_equals_the_formula_in_numbers() -> None:
    """One head of width 1 with identity weights: softmax([0, ln 3]) is [1/4, 3/4]."""
    attention = MultiHeadAttention(1, 1)
    with torch.no_grad():
        for part in (attention.query, attention.key, attention.value, attention.output):
            part.weight.fill_(1.0)
            part.bias.zero_()
    keys = torch.tensor([[[0.0], [math.log(3)]]])
    result = attention(torch.ones(1, 1, 1), keys, torch.tensor([[[4.0], [8.0]]]), None)
    assert result.item() == pytest.approx(0.25 * 4 + 0.75 * 8)


def test_row_with_every_key_masked_gives_the_output_bias_and_finite_gradients() -> None:
    attention = MultiHeadAttention(WIDTH, HEADS)
    x = torch.randn(2, T, WIDTH, requires_grad=True)
    mask = torch.tensor([True, False])[:, None, None, None].expand(2, 1, 1, T)
    with torch.autograd.set_detect_anomaly(True):
        result = attention(x, x, x, mask)
        backward(result)
    close(result[1], attention.output.bias.expand(T, WIDTH))
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_integer_mask_means_the_same_as_a_boolean_one() -> None:
    attention = MultiHeadAttention(WIDTH, HEADS)
    x, keep = torch.randn(B, T, WIDTH), padding(B, T)[:, None, None]
    close(attention(x, x, x, keep.long()), attention(x, x, x, keep), 0.0)


def test_masked_keys_and_values_change_nothing() -> None:
    attention = MultiHeadAttention(WIDTH, HEADS)
    x, keep = torch.randn(B, T, WIDTH), padding(B, T)
    other = torch.where(keep[..., None], x, 1000 * torch.randn_like(x))
    mask = keep[:, None, None]
    close(attention(x, other, other, mask), attention(x, x, x, mask), 0.0)


def test_width_that_heads_do_not_divide_is_an_error_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"10.*4"):
        MultiHeadAttention(10, 4)


def test_causal_mask_lets_a_token_see_itself_and_earlier_ones() -> None:
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_attention_dropout_acts_in_training_only() -> None:
    attention, x = MultiHeadAttention(WIDTH, HEADS, dropout=0.5), torch.randn(B, T, WIDTH)
    assert not torch.equal(attention(x, x, x, None), attention(x, x, x, None))
    attention.eval()
    assert torch.equal(attention(x, x, x, None), attention(x, x, x, None))


# ---- layers ----


@pytest.mark.parametrize("causal", [False, True])
def test_encoder_layer_equals_torchs_with_the_same_weights(causal: bool) -> None:
    ours = EncoderLayer(WIDTH, HEADS, HIDDEN, 0.1).eval()
    randomise(ours)
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.1, batch_first=True).eval()
    pairs = encoder_pairs(ours, theirs)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    copy(pairs)
    (x, x2), keep = twin(torch.randn(B, T, WIDTH)), padding(B, T)
    mask = keep[:, None, None] & causal_mask(T) if causal else keep[:, None, None]
    result = ours(x, mask)
    expected = theirs(x2, src_mask=~causal_mask(T) if causal else None, src_key_padding_mask=~keep)
    close(result, expected)
    backward(result)
    backward(expected)
    compare_gradients(pairs)
    assert x.grad is not None and x2.grad is not None
    close(x.grad, x2.grad)


def test_decoder_layer_equals_torchs_with_the_same_weights() -> None:
    ours = DecoderLayer(WIDTH, HEADS, HIDDEN, 0.1).eval()
    randomise(ours)
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, 0.1, batch_first=True).eval()
    pairs = decoder_pairs(ours, theirs)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    copy(pairs)
    (x, x2), (memory, memory2) = twin(torch.randn(B, T, WIDTH)), twin(torch.randn(B, S, WIDTH))
    keep, seen = padding(B, T), padding(B, S)
    result = ours(x, memory, keep[:, None, None], seen[:, None, None])
    expected = theirs(x2, memory2, tgt_mask=~causal_mask(T), tgt_key_padding_mask=~keep, memory_key_padding_mask=~seen)
    close(result, expected)
    backward(result)
    backward(expected)
    compare_gradients(pairs)
    for mine, other in ((x, x2), (memory, memory2)):
        assert mine.grad is not None and other.grad is not None
        close(mine.grad, other.grad)


def test_decoder_layer_without_masks_is_still_causal() -> None:
    layer = DecoderLayer(WIDTH, HEADS, HIDDEN, 0.0).eval()
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
    later = torch.cat([x[:, :4], torch.randn(B, T - 4, WIDTH)], dim=1)
    close(layer(later, memory, None, None)[:, :4], layer(x, memory, None, None)[:, :4], 1e-6)


def test_dropout_of_one_leaves_the_residual_path_alone() -> None:
    """In training every sublayer's output is dropped before it is added, as the paper has it."""
    x = torch.randn(B, T, WIDTH)
    normal = nn.functional.layer_norm(x, [WIDTH])
    close(EncoderLayer(WIDTH, HEADS, HIDDEN, 1.0)(x, None), normal, 1e-4)
    close(DecoderLayer(WIDTH, HEADS, HIDDEN, 1.0)(x, x, None, None), normal, 1e-4)


def test_feed_forward_and_embeddings_have_dropout_in_training() -> None:
    block, x = FeedForward(WIDTH, HIDDEN, 1.0), torch.randn(B, T, WIDTH)
    close(block(x), block.contract.bias.expand(B, T, WIDTH))
    ids = torch.ones(B, T, dtype=torch.long)
    assert Encoder(30, WIDTH, HEADS, HIDDEN, 0, T, 1.0, 0)(ids, ids, False).abs().sum() == 0


def test_feed_forward_is_two_linear_layers_with_relu_between() -> None:
    block, x = FeedForward(WIDTH, HIDDEN, 0.5).eval(), torch.randn(B, T, WIDTH)
    first, second = (part for part in block.children() if isinstance(part, nn.Linear))
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    close(block(x), expected)


# ---- encoder ----


def encoder(layers: int = 2, length: int = 12) -> Encoder:
    made = Encoder(30, WIDTH, HEADS, HIDDEN, layers, length, 0.1, 0).eval()
    assert isinstance(made, Encoder)
    return made


def test_positions_are_the_papers_sinusoids_and_stay_out_of_the_checkpoint() -> None:
    table = encoder().positions
    assert table.shape == (12, WIDTH)
    assert table[0].tolist() == [0.0, 1.0] * (WIDTH // 2)
    for position, column in ((1, 0), (3, 5), (11, 14), (11, 15)):
        angle = position / 10000 ** ((column - column % 2) / WIDTH)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert table[position, column].item() == pytest.approx(expected, abs=1e-6)
    assert not any("positions" in name for name in encoder().state_dict())


def test_odd_width_has_one_sine_more_than_cosines() -> None:
    table = Encoder(30, 5, 1, 8, 1, 4, 0.0, 0).positions
    assert table.shape == (4, 5)
    assert table[1, 4].item() == pytest.approx(math.sin(10000 ** (-4 / 5)))


def test_encoder_without_layers_is_scaled_embedding_plus_position() -> None:
    bare, ids = encoder(layers=0), torch.tensor([[3, 4, 0]])
    expected = bare.embedding.weight[ids] * math.sqrt(WIDTH) + bare.positions[:3]
    close(bare(ids, torch.ones_like(ids), False), expected, 1e-6)
    assert bare.embedding.weight[0].abs().sum() == 0


def test_scaled_embeddings_start_with_deviation_one() -> None:
    weight = Encoder(2000, 64, 4, 8, 1, 4, 0.0, 0).embedding.weight
    assert (weight[1:] * math.sqrt(64)).std().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("causal", [False, True])
def test_encoder_equals_torchs_stack_with_the_same_weights(causal: bool) -> None:
    ours = encoder()
    randomise(ours)
    theirs = [nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.1, batch_first=True).eval() for _ in ours.layers]
    for mine, other in zip(ours.layers, theirs, strict=True):
        assert isinstance(mine, EncoderLayer)
        copy(encoder_pairs(mine, other))
    ids, keep = torch.randint(1, 30, (B, T)), padding(B, T)
    expected = ours.embedding(ids) * math.sqrt(WIDTH) + ours.positions[:T]
    for other in theirs:
        expected = other(expected, src_mask=~causal_mask(T) if causal else None, src_key_padding_mask=~keep)
    close(ours(ids, keep, causal), expected)


def test_later_token_changes_no_earlier_output_when_causal() -> None:
    model, ids = encoder(), torch.randint(1, 30, (B, T))
    changed = ids.clone()
    changed[:, 4] = (ids[:, 4] % 29) + 1
    mask = torch.ones_like(ids)
    before, after = model(ids, mask, True), model(changed, mask, True)
    close(after[:, :4], before[:, :4], 0.0)
    assert not torch.allclose(after[:, 4:], before[:, 4:], atol=1e-3)
    assert not torch.allclose(model(changed, mask, False)[:, :4], model(ids, mask, False)[:, :4], atol=1e-3)


def test_causal_output_equals_that_of_the_sequence_cut_there() -> None:
    model, ids = encoder(), torch.randint(1, 30, (B, T))
    full = model(ids, torch.ones_like(ids), True)
    for end in range(1, T + 1):
        cut = ids[:, :end]
        close(model(cut, torch.ones_like(cut), True)[:, -1], full[:, end - 1], 1e-6)


def test_sequence_that_is_too_long_is_an_error_with_both_numbers() -> None:
    ids = torch.ones(1, 13, dtype=torch.long)
    with pytest.raises(ValueError, match=r"13.*12"):
        encoder()(ids, ids, False)


# ---- text classifier ----


def text(causal: bool = False, **changes: Any) -> TextTransformer:
    settings: dict[str, Any] = {"width": WIDTH, "heads": HEADS, "hidden": HIDDEN, "length": 40}
    made = TextTransformer(30, 5, causal=causal, **(settings | changes)).eval()
    assert isinstance(made, TextTransformer)
    return made


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("filler", [0, 9])
def test_logits_do_not_depend_on_how_much_padding_a_batch_has(causal: bool, filler: int) -> None:
    model, lengths = text(causal), (7, 3, 1)
    rows = [torch.randint(1, 30, (1, size)) for size in lengths]
    alone = torch.cat([model(row, torch.ones_like(row)) for row in rows])
    for width in (7, 8, 23, 40):
        ids = torch.full((3, width), filler)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : row.shape[1]], mask[index, : row.shape[1]] = row[0], 1
        close(model(ids, mask), alone, 1e-6)


def test_pooling_is_the_mean_of_real_tokens_or_the_last_one_when_causal() -> None:
    ids, keep = torch.randint(1, 30, (B, T)), padding(B, T)
    for causal in (False, True):
        model = text(causal)
        states = model.encoder(ids, keep, causal)
        rows = [row[real] for row, real in zip(states, keep, strict=True)]
        pooled = torch.stack([row[-1] if causal else row.mean(0) for row in rows])
        close(model(ids, keep), model.head(pooled))


@pytest.mark.parametrize("causal", [False, True])
def test_text_with_every_token_masked_gives_finite_logits_and_gradients(causal: bool) -> None:
    model, ids = text(causal), torch.tensor([[3, 4], [0, 0]])
    logits = model(ids, (ids != 0).long())
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_text_transformer_has_an_encoder_and_a_head() -> None:
    model = TextTransformer(100, 4)
    assert [name for name, _ in model.named_children()] == ["encoder", "head"]
    assert model(torch.ones(2, 128, dtype=torch.long), torch.ones(2, 128)).shape == (2, 4)


def test_text_transformer_too_long_and_bad_width_are_errors_with_the_numbers() -> None:
    ids = torch.ones(1, 41, dtype=torch.long)
    with pytest.raises(ValueError, match=r"41.*40"):
        text()(ids, ids)
    with pytest.raises(ValueError, match=r"18.*4"):
        text(width=18)


def test_text_transformer_parameter_count_follows_the_formula() -> None:
    vocabulary, classes, width, hidden, layers = 100, 4, 128, 512, 2
    attention = 4 * (width * width + width)
    feed_forward = width * hidden + hidden + hidden * width + width
    norms = 2 * 2 * width
    total = vocabulary * width + layers * (attention + feed_forward + norms) + width * classes + classes
    model = TextTransformer(vocabulary, classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == total == 409_860


def accuracy_after_training(model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor, steps: int) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(*inputs), labels).backward()
        optimizer.step()
    model.eval()
    return float((model(*inputs).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("causal", [False, True])
def test_tiny_text_transformer_learns_32_examples(causal: bool) -> None:
    """Token 1 or token 2 stands first; the rest is noise of differing length."""
    labels = torch.arange(32) % 2
    ids = torch.randint(3, 30, (32, 10))
    ids[:, 0] = labels + 1
    mask = (torch.arange(10) < torch.randint(2, 11, (32, 1))).long()
    assert accuracy_after_training(text(causal), (ids, mask), labels, 80) == 1.0


# ---- image classifier ----


def keras_twin(keras: Any, ours: ImageCNN, channels: int, size: int, classes: int) -> Any:
    """The classic network in Keras, channels last, with our weights put in its order."""
    layers, convolutions = keras.layers, [part for part in ours.features if isinstance(part, nn.Conv2d)]
    stack: list[Any] = [keras.Input((size, size, channels))]
    for part in convolutions:
        stack += [
            layers.Conv2D(part.out_channels, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
        ]
    stack += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(classes)]
    model = keras.Sequential(stack)
    weights: list[Any] = []
    for part in convolutions:
        weights += [part.weight.permute(2, 3, 1, 0), part.bias]
    last = convolutions[-1].out_channels
    side = math.isqrt(ours.hidden.in_features // last)
    dense = ours.hidden.weight.reshape(128, last, side, side).permute(2, 3, 1, 0).reshape(-1, 128)
    weights += [dense, ours.hidden.bias, ours.head.weight.T, ours.head.bias]
    model.set_weights([weight.detach().numpy() for weight in weights])
    return model


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 9), (3, 66)])
def test_image_cnn_equals_keras_with_the_same_weights(keras: Any, channels: int, size: int) -> None:
    ours = ImageCNN(channels, size, 6, dropout=0.3).eval()
    x, x2 = twin(torch.rand(2, channels, size, size))
    with keras.device("cpu"):
        theirs = keras_twin(keras, ours, channels, size, 6)
        expected = theirs(x2.permute(0, 2, 3, 1))
    result = ours(x)
    close(result, expected)
    backward(result)
    backward(expected)
    assert x.grad is not None and x2.grad is not None
    close(x.grad, x2.grad)
    close(ours.head.weight.grad.T, theirs.layers[-1].kernel.value.grad)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [4, 8, 9, 28, 32, 64])
def test_small_images_get_exactly_the_classic_network(size: int) -> None:
    model, side = ImageCNN(3, size, 10), size // 4
    kinds = [type(part) for part in model.features]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 2
    count = (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * side * side * 128 + 128) + (128 * 10 + 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert model(torch.rand(2, 3, size, size)).shape == (2, 10)


@pytest.mark.parametrize(
    ("size", "channels", "side"),
    [(65, [32, 64, 128], 8), (96, [32, 64, 128, 128], 6), (160, [32, 64, 128, 128, 128], 5)],
)
def test_larger_images_get_more_stages_until_the_map_is_small(size: int, channels: list[int], side: int) -> None:
    model = ImageCNN(3, size, 4)
    assert [part.out_channels for part in model.features if isinstance(part, nn.Conv2d)] == channels
    assert model.hidden.in_features == channels[-1] * side * side
    assert model.head.in_features == 128
    assert model(torch.rand(2, 3, size, size)).shape == (2, 4)


def test_image_too_small_for_two_pools_is_an_error_with_the_number() -> None:
    with pytest.raises(ValueError, match="3"):
        ImageCNN(1, 3, 2)


def test_image_cnn_dropout_acts_in_training_only() -> None:
    model, x = ImageCNN(1, 8, 2, dropout=0.5), torch.rand(4, 1, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(("size", "steps"), [(8, 60), (66, 12)])
def test_image_cnn_learns_32_examples(size: int, steps: int) -> None:
    """A brighter square stands in one of the four corners."""
    labels, half = torch.arange(32) % 4, size // 2
    images = 0.5 * torch.rand(32, 1, size, size)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = half * (label // 2), half * (label % 2)
        image[0, row : row + half, column : column + half] += 0.5
    assert accuracy_after_training(ImageCNN(1, size, 4), (images,), labels, steps) == 1.0
