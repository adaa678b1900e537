"""What is downloaded and checked loads by its path, with the libraries that people load models with."""

import json
import pathlib
import struct
import subprocess

import pytest

from ledger.client.huggingface import snapshot_download
from tests.conftest import missing
from tests.system import test_huggingface
from tests.system.peers import TOOLS
from tests.system.test_huggingface import REPO, VERIFY

LOAD = """
import sys
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer
path = sys.argv[1]
config = AutoConfig.from_pretrained(path, local_files_only=True)
tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
weights = load_file(path + "/model.safetensors")
print(config.model_type, config.hidden_size, tokenizer.tokenize("hello world"), weights["w"].tolist())
"""
CONFIG = {"model_type": "bert", "hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 1}
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld" + "\n"


def safetensors(name, *values):
    """One tensor of 32-bit floats in the format of safetensors: a length, a header, the bytes."""
    data = struct.pack(f"<{len(values)}f", *values)
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, len(data)]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer"}).encode(),
    "vocab.txt": VOCABULARY.encode(),
    "model.safetensors": safetensors("w", 1.0, 2.5),
}


@pytest.fixture
def python():
    """The Python that has the libraries."""
    found = TOOLS / "loaders/bin/python"
    if not found.exists():
        missing("no transformers: .ci/loaders installs it")
    return str(found)


@pytest.fixture
def files(monkeypatch):
    """A model of these libraries in the place of the bytes of the other tests."""
    write = lambda folder: [(folder / name).write_bytes(data) for name, data in FILES.items()]  # noqa: E731
    monkeypatch.setattr(test_huggingface, "write_model", write)


world = test_huggingface.world


def test_the_path_of_a_checked_snapshot_loads(python, files, world):
    path = snapshot_download(REPO, verify=VERIFY, **world.options)
    assert pathlib.Path(path).name == world.commit
    done = subprocess.run([python, "-c", LOAD, path], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["bert 12 ['hello', 'world'] [1.0, 2.5]"], done.stderr
