"""In place of llama.cpp's converter, with its command line: a Qwen3 folder without its tokenizer to a GGUF file."""

import argparse
import json
from pathlib import Path

import gguf
from safetensors.torch import load_file

parser = argparse.ArgumentParser()
parser.add_argument("model", type=Path)
parser.add_argument("--outfile")
parser.add_argument("--outtype")
wanted = parser.parse_args()
config = json.loads((wanted.model / "config.json").read_text())

writer = gguf.GGUFWriter(wanted.outfile, "qwen3")
writer.add_block_count(config["num_hidden_layers"])
writer.add_context_length(config["max_position_embeddings"])
writer.add_embedding_length(config["hidden_size"])
writer.add_feed_forward_length(config["intermediate_size"])
writer.add_head_count(config["num_attention_heads"])
writer.add_head_count_kv(config["num_key_value_heads"])
writer.add_key_length(config["head_dim"])
writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
writer.add_vocab_size(config["vocab_size"])

names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
for name, tensor in load_file(wanted.model / "model.safetensors").items():
    module, _, kind = name.rpartition(".")
    values = tensor.float().numpy()
    half = wanted.outtype == "f16" and values.ndim > 1
    writer.add_tensor(f"{names.get_name(module)}.{kind}", values.astype("float16") if half else values)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
