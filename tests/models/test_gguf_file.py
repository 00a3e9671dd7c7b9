"""GGUF files as models: the folder computes what the original does, and its tokenizer cuts and ends right."""

import pytest

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models import gguf_file
from gspo_lite.models.gguf_tokenizer import build_tokenizer, end_ids
from gspo_lite.models.names import is_local_model, resolve_name, weights_of
from gspo_lite.sizing.configs import find_config
from tests.models.tiny_gguf import byte_level_fields, random_model, sentencepiece_fields, write_gguf

pytest.importorskip("gguf")
ARCHITECTURE = {"general.architecture": "llama", "llama.context_length": 512}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GSPO_LITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A whole file of a kind that converts fast."""
    fields = byte_level_fields("qwen2")
    model = random_model("qwen3", len(fields["tokenizer.ggml.tokens"]))
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", "qwen3", model, fields)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3"])
def test_the_folder_computes_what_the_original_model_computes(kind, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    fields = sentencepiece_fields() if kind == "gemma3" else byte_level_fields("qwen2")
    original = random_model(kind, len(fields["tokenizer.ggml.tokens"]))
    file = write_gguf(tmp_path / "model.gguf", kind, original, fields)
    model = AutoModelForCausalLM.from_pretrained(resolve_name(str(file)))
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        gap = (model(ids).logits - original(ids).logits).abs().max() / original(ids).logits.abs().max()
    assert gap < 1e-5
    assert model.config.tie_word_embeddings == (kind != "qwen2")
    found, _ = find_config(str(file))
    assert found["tie_word_embeddings"] == (kind != "qwen2")
    assert {name: getattr(model.config, name) for name in found} == found


def test_a_file_is_converted_once_and_its_sha256_kept(small, capsys):
    from transformers import AutoTokenizer, GenerationConfig

    folder = resolve_name(str(small))
    assert capsys.readouterr().err.count("converting small.gguf") == 1
    assert resolve_name(str(small)) == folder
    assert "converting" not in capsys.readouterr().err
    assert weights_of(str(small), folder) == {"small.gguf": gguf_file.sha256(small)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == ("<|im_end|>", "<|im_end|>", 512)
    chat = [{"role": "user", "content": "the"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert asked == "<|im_start|>the<|im_end|><|im_start|>"
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.eos_token_id, generation.pad_token_id) == (2, 2)


def test_another_file_of_the_same_name_is_another_folder(small, tmp_path):
    fields = byte_level_fields("qwen2") | {"general.name": "another"}
    model = random_model("qwen3", len(fields["tokenizer.ggml.tokens"]))
    assert resolve_name(str(write_gguf(tmp_path / "small.gguf", "qwen3", model, fields))) != resolve_name(str(small))


def test_an_interrupted_conversion_leaves_nothing_behind(small, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_file, "build_tokenizer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve_name(str(small))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("kept", [0, 3, 40, 5000, -4000])
def test_a_damaged_file_is_refused(kept, small, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(small.read_bytes()[:kept])
    for reads in (resolve_name, find_config):
        with pytest.raises(UsageError, match=r"broken.gguf` is no whole GGUF file"):
            reads(str(broken))
    assert not list((tmp_path / "cache").glob("*"))


def test_a_missing_file_and_a_missing_package_are_named(small, monkeypatch, tmp_path):
    for reads in (resolve_name, find_config):
        with pytest.raises(UsageError, match=r"there is no file `no.gguf`"):
            reads("no.gguf")
    monkeypatch.setattr(gguf_file, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="pip install gguf"):
        resolve_name(str(small))


def test_an_unknown_architecture_is_refused(tmp_path):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UsageError, match="of the kind `bert`; known are `llama`, `qwen2`"):
        resolve_name(str(tmp_path / "bert.gguf"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split.count": 2}, "is one of 2 parts of a model"),
        ({"general.type": "adapter"}, "is of the type `adapter`, not `model`"),
    ],
)
def test_a_part_of_a_model_and_an_adapter_are_refused(change, message, tmp_path):
    fields = byte_level_fields("qwen2")
    model = random_model("qwen3", len(fields["tokenizer.ggml.tokens"]))
    file = write_gguf(tmp_path / "part.gguf", "qwen3", model, fields | change)
    for reads in (resolve_name, find_config):
        with pytest.raises(UsageError, match=message):
            reads(str(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.ggml.pre": "tekken"}, "pre-tokenizer is `tekken`; known are `default`"),
        ({"tokenizer.ggml.model": "bert"}, "vocabulary is of the kind `bert`; known are `gpt2`, `llama`"),
        ({"tokenizer.ggml.eos_token_id": None}, "names no end token"),
    ],
)
def test_a_vocabulary_of_an_unknown_kind_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        build_tokenizer(ARCHITECTURE | byte_level_fields("qwen2") | change)


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("smollm", "the 123", ["the", "Ġ", "1", "2", "3"]),
        ("gpt-2", "the 123", ["the", "Ġ123"]),
        ("qwen2", "the 123", ["the", "Ġ", "1", "2", "3"]),
        ("llama-bpe", "the 1234", ["the", "Ġ", "123", "4"]),
    ],
)
def test_text_is_cut_as_the_pre_tokenizer_says(pre, text, pieces):
    core = build_tokenizer(ARCHITECTURE | byte_level_fields(pre)).backend_tokenizer
    assert [piece for piece, _ in core.pre_tokenizer.pre_tokenize_str(text)] == pieces


@pytest.mark.parametrize("text", ["the 12 thé\n\n  ½ <tool>", "日本 <|im_end|>\tit's", ""])
@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "qwen2", "llama-bpe"])
def test_byte_level_text_comes_back(pre, text):
    tokenizer = build_tokenizer(ARCHITECTURE | byte_level_fields(pre))
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert tokenizer.tokenize("the the") == ["the", "Ġthe"]
    assert tokenizer.decode(tokenizer.encode("a<tool><|im_end|>"), skip_special_tokens=True).endswith("a<tool>")


def test_sentencepiece_joins_the_best_pair_first_and_begins_with_bos():
    tokenizer = build_tokenizer(ARCHITECTURE | sentencepiece_fields())
    assert tokenizer.tokenize("abc ab") == ["ab", "c", "\u2581ab"]
    assert tokenizer.tokenize("é") == ["<0xC3>", "<0xA9>"]
    assert tokenizer.encode("ab")[0] == tokenizer.bos_token_id == 2
    assert tokenizer.decode(tokenizer.encode(" abc é", add_special_tokens=False)) == " abc é"
    prefixed = build_tokenizer(ARCHITECTURE | sentencepiece_fields() | {"tokenizer.ggml.add_space_prefix": True})
    assert prefixed.tokenize("ab") == ["\u2581ab"]
    assert prefixed.decode(prefixed.encode("ab c", add_special_tokens=False)) == "ab c"


@pytest.mark.parametrize(
    ("pre", "says", "begins"), [("qwen2", None, False), ("llama-bpe", None, True), ("llama-bpe", False, False)]
)
def test_bos_is_put_in_front_where_the_file_or_llama_cpp_says_so(pre, says, begins):
    fields = ARCHITECTURE | byte_level_fields(pre) | ({} if says is None else {"tokenizer.ggml.add_bos_token": says})
    assert (build_tokenizer(fields).encode("the")[0] == 1) == begins


def test_every_token_that_ends_a_turn_ends_a_completion():
    assert end_ids(sentencepiece_fields()) == [1, 4]  # Gemma's file names <eos> only
    assert end_ids(byte_level_fields("qwen2")) == [2]
    assert end_ids(byte_level_fields("qwen2") | {"tokenizer.ggml.eos_token_id": 0}) == [0, 2]


def test_a_file_is_local_so_that_nothing_is_asked_of_the_hub(small):
    assert is_local_model(str(small))
    assert is_local_model("starter")
    assert not is_local_model("Qwen/Qwen3-0.6B")


def test_plan_reads_the_file_without_converting_it(small, tmp_path):
    config, source = find_config(str(small))
    assert source == f"the metadata of {small}"

    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("qwen3", 64, 2)
    assert not (tmp_path / "cache").exists()
