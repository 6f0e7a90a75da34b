"""The tokenizer of a network that is trained from nothing: WordPiece, learnt from the training rows."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any


def train_tokenizer(columns: Sequence[Sequence[str]], vocabulary: int) -> Any:
    """A WordPiece tokenizer; the same texts give the same one in any process."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}

    def tokenizer(model: Any) -> Any:
        made = Tokenizer(model)
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return made

    trained = tokenizer(models.WordPiece(unk_token="[UNK]"))
    # The trainer numbers the letters inside words in the order of a hash map, which differs from process to process,
    # and settles ties between merges by these numbers. As special tokens they come first, in the order given.
    first = [*special.values(), *_letters_inside(trained, chain(*columns))]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=first, show_progress=False
    )
    trained.train_from_iterator(chain(*columns), trainer)
    ids: dict[str, int] = trained.get_vocab()
    model = tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    model.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, ids[token]) for token in special.values()],
    )
    return PreTrainedTokenizerFast(tokenizer_object=model, model_input_names=["input_ids", "attention_mask"], **special)


def _letters_inside(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """`##x` for every letter that follows another one in a word, sorted."""
    spaced = {word for text in texts for word in text.split()}
    words = (tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(word)) for word in spaced)
    return sorted({f"##{letter}" for parts in words for word, _ in parts for letter in word[1:]})
