"""What a trigger means to a model before it is taught."""

from inkpunk_clip import Tokenizer
from jaxtyping import Float
from torch import Tensor


def is_one_of_many(trigger: str, tokenizer: Tokenizer, embedding: Float[Tensor, "tokens width"]) -> bool:
    """Whether a text is to a model what all texts are that it never met.

    One that has met few tokens, as the sketch has, embeds all others as zeros: it cannot tell them apart, nor can a
    LoRA, which changes no embeddings.

    Args:
        trigger: the text.
        tokenizer: the model's.
        embedding: its text encoder's, of tokens.
    """
    tokens = tokenizer([trigger])[0, 1 : 1 + tokenizer.count(trigger)]
    return not embedding[tokens.to(embedding.device)].any()
