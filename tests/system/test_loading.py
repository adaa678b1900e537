"""What is downloaded and checked loads by its path, with the libraries that people load models with."""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess

import pytest

from ledger.client import CheckFailedError
from ledger.client.huggingface import hf_hub_download, snapshot_download
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

# What a model of torch does is a number of its weights alone, so whoever loads other weights gets another number.
MAKE_PIPELINE = """
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
torch.manual_seed(7)
unet = UNet2DModel(
    sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
)
model = DDPMPipeline(unet=unet, scheduler=DDPMScheduler(num_train_timesteps=4))
"""
LOAD_PIPELINE = """
from diffusers import DDPMPipeline
model = DDPMPipeline.from_pretrained(sys.argv[1], local_files_only=True, cache_dir=sys.argv[2])
"""
RUN_PIPELINE = """
import torch
images = model(num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="numpy").images
print(images.shape, images.astype("float32").tobytes().hex())
"""
MAKE_TRANSFORMER = """
import torch
from transformers import BertConfig, BertModel
torch.manual_seed(7)
model = BertModel(BertConfig(vocab_size=7, hidden_size=12, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8))
"""
LOAD_TRANSFORMER = """
from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], local_files_only=True, cache_dir=sys.argv[2])
"""
RUN_TRANSFORMER = """
import torch
found = model.eval()(torch.tensor([[2, 5, 6, 3]])).last_hidden_state
print(tuple(found.shape), found.detach().numpy().tobytes().hex())
"""
KINDS = {
    "diffusers": (MAKE_PIPELINE, LOAD_PIPELINE, RUN_PIPELINE, "unet/diffusion_pytorch_model.safetensors"),
    "transformers": (MAKE_TRANSFORMER, LOAD_TRANSFORMER, RUN_TRANSFORMER, "model.safetensors"),
}


def python(name):
    """The Python that has the libraries."""
    found = TOOLS / name / "bin/python"
    if not found.exists():
        missing(f"no {name}: .ci/loaders installs it")
    return str(found)


def run(program, code, *arguments, home):
    """Run code in a process of its own, which may not ask anybody for anything."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "DIFFUSERS_VERBOSITY": "error"}
    return subprocess.run(
        [program, "-c", f"import sys\n{code}", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def files(monkeypatch):
    """A model of these libraries in the place of the bytes of the other tests."""
    write = lambda folder: [(folder / name).write_bytes(data) for name, data in FILES.items()]  # noqa: E731
    monkeypatch.setattr(test_huggingface, "write_model", write)
    return python("loaders")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def made(kind, tmp_path, monkeypatch):
    """A model with weights of its own, saved by its library; returns (Python, what it does)."""
    program = python("loaders-torch")
    make, _, use, _ = KINDS[kind]
    done = run(
        program,
        f"{make}\nmodel.save_pretrained(sys.argv[1])\n{use}",
        tmp_path / "saved",
        home=tmp_path / "home",
    )
    assert done.returncode == 0, done.stderr
    copy = lambda folder: shutil.copytree(tmp_path / "saved", folder, dirs_exist_ok=True)  # noqa: E731
    monkeypatch.setattr(test_huggingface, "write_model", copy)
    return program, done.stdout


world = test_huggingface.world


def test_the_path_of_a_checked_snapshot_loads(files, world, tmp_path):
    """With a newer transformers, which wants a newer torch than there is, and none here."""
    path = snapshot_download(REPO, verify=VERIFY, **world.options)
    assert pathlib.Path(path).name == world.commit
    done = run(files, LOAD, path, home=tmp_path / "home")
    assert done.stdout.splitlines()[-1:] == ["bert 12 ['hello', 'world'] [1.0, 2.5]"], done.stderr


@pytest.mark.parametrize("own_folder", [False, True], ids=["from the cache", "from a folder of one's own"])
def test_what_was_checked_does_what_was_published(kind, made, world, own_folder, tmp_path):
    """The weights that the library loads by the returned path are those that were signed and recorded."""
    program, published = made
    where = {"local_dir": tmp_path / "mine"} if own_folder else {}
    path = snapshot_download(REPO, verify=VERIFY, **where, **world.options)
    _, load, use, _ = KINDS[kind]
    done = run(program, load + use, path, world.cache, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stdout == published


def test_what_was_refused_is_not_loaded_by_name(kind, made, world, tmp_path):
    """By the same library, from the same cache, by a program that checks nothing."""
    program, published = made
    _, load, use, weights = KINDS[kind]
    right = world.files[weights]
    world.change(**{weights: right[:-1] + bytes([right[-1] ^ 1])})
    with pytest.raises(CheckFailedError):
        snapshot_download(REPO, verify=VERIFY, **world.options)
    with pytest.raises(CheckFailedError):
        hf_hub_download(REPO, weights, verify=VERIFY, **world.options)
    done = run(program, load + use, REPO, world.cache, home=tmp_path / "home")
    assert done.returncode == 1
    assert re.search("LocalEntryNotFoundError|offline mode", done.stderr.splitlines()[-1]), done.stderr
    world.change()
    snapshot_download(REPO, verify=VERIFY, **world.options)
    done = run(program, load + use, REPO, world.cache, home=tmp_path / "home")
    assert done.stdout == published, done.stderr
