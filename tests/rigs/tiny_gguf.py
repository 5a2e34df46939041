"""A llama model of half a megabyte with random weights: enough for a real server to load, tokenise and stream.

What it writes is nonsense, and the same nonsense each time: the weights come from a seeded generator.
"""

from pathlib import Path

import gguf
import numpy as np

CONTEXT = 2048
EMBEDDING = 64
BLOCKS = 2
FEED_FORWARD = 128
HEADS = 4
SPACE = "\u2581"  # SentencePiece writes a space as this
WORDS = ("the", "and", "of", "to", "in", "is", "you", "that", "it", "he", "was", "for")
TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{{ 'assistant:' }}"


def vocabulary() -> tuple[list[str], list[float], list[gguf.TokenType]]:
    """Tokens, scores and types: specials, the 256 bytes, then readable pieces with falling scores."""
    tokens = ["<unk>", "<s>", "</s>"]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [gguf.TokenType.BYTE] * 256
    scores = [0.0] * len(tokens)
    letters = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))]
    pieces = [SPACE, *map(chr, range(33, 127))]
    pieces += [SPACE + letter for letter in letters] + [SPACE + word for word in WORDS if len(word) > 1]
    tokens += pieces
    types += [gguf.TokenType.NORMAL] * len(pieces)
    scores += [-1.0 - number for number in range(len(pieces))]
    return tokens, scores, types


def write_tiny_gguf(path: Path) -> Path:
    tokens, scores, types = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)  # float32
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(TEMPLATE)

    random = np.random.default_rng(20260101)

    def matrix(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    ones = np.ones(EMBEDDING, dtype=np.float32)
    output = matrix(len(tokens), EMBEDDING, 0.5)
    output[:259] *= 0.01  # specials and raw bytes stay unlikely, so that answers are readable and rarely end early
    writer.add_tensor("token_embd.weight", matrix(len(tokens), EMBEDDING, 1.0))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)
    for block in range(BLOCKS):
        name = f"blk.{block}."
        writer.add_tensor(name + "attn_norm.weight", ones)
        writer.add_tensor(name + "ffn_norm.weight", ones)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{name}{part}.weight", matrix(EMBEDDING, EMBEDDING, 0.05))
        for part in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{name}{part}.weight", matrix(FEED_FORWARD, EMBEDDING, 0.05))
        writer.add_tensor(name + "ffn_down.weight", matrix(EMBEDDING, FEED_FORWARD, 0.05))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
