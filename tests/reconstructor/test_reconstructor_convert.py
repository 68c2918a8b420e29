"""Foreign checkpoints: the published layout entry by entry, and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import sys
import types
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from whim.errors import BadFileError, UsageError
from whim.models.torch_file import read_torch_file
from whim.reconstructor.beginning import begin_with_vitpose
from whim.reconstructor.config import NetworkConfig, VitConfig
from whim.reconstructor.convert import convert_checkpoint, convert_vitpose
from whim.reconstructor.convert.released import expected_entries, read_checkpoint
from whim.reconstructor.hand import RightHand
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.weights import load_network, save_network

RELEASED = {"refinement__alignment": "released", "refinement__pyramid": "separate"}
TYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Names, shapes and types of the published checkpoint without its discriminator."""
    entries = {}
    lines = (Path(__file__).parent / "released_entries.tsv").read_text().splitlines()[1:]
    for name, shape, kind in (line.split("\t") for line in lines):
        size = () if shape == "scalar" else tuple(int(n) for n in shape.split("x"))
        for block in range(32 if "*" in name else 1):
            entries[name.replace("*", str(block))] = size, TYPES[kind]
    return entries


def lightning(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A checkpoint as Lightning writes it, with an object of a class that is not installed here."""
    module = types.ModuleType("yacs.config")
    module.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config", "__qualname__": "CfgNode"})
    node = module.CfgNode(MODEL=module.CfgNode(IMAGE_SIZE=256))
    with mock.patch.dict(sys.modules, {"yacs": types.ModuleType("yacs"), "yacs.config": module}):
        torch.save({"epoch": 3, "state_dict": tensors, "hyper_parameters": {"cfg": node}}, path)
    return path


@pytest.fixture
def tiny_checkpoint(make_network, tmp_path):
    """The entries of a small network by the published names, MANO's and others beside them; and the network."""
    network = make_network(**RELEASED)
    ours = network.state_dict()
    names = expected_entries(network.config)
    tensors = {name: ours[mine] for name, (mine, _) in names.items()}
    extra = {"mano.shapedirs": torch.randn(778, 3, 10), "discriminator.D_conv1.bias": torch.randn(32)}
    path = lightning(tmp_path / "tiny.ckpt", {"initialized": torch.tensor(True), **tensors, **extra})
    return path, network, tensors


def test_the_published_layout_fits_the_huge_network(published, tmp_path, open_hand) -> None:
    """All 430 entries, full size; each holds one number that is repeated, so that the file stays small."""
    tensors = {name: torch.zeros((), dtype=kind).expand(size) for name, (size, kind) in published.items()}
    found, about = read_checkpoint(
        lightning(tmp_path / "wilor_final.ckpt", tensors), NetworkConfig.released()
    )
    assert len(found) == 430
    assert about["entries_left_out"] == {"initialized": 1, "mano": 13}
    assert about["classes_not_loaded"] == ["yacs.config.CfgNode"]
    with torch.device("meta"):
        network = Reconstructor(NetworkConfig.released(), open_hand)
    network.load_state_dict(found, strict=True, assign=True)
    backbone = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("refinement."))
    assert backbone == 630_964_499
    assert sum(p.numel() for p in network.refinement.parameters()) == 8_316_429


def test_a_converted_checkpoint_computes_the_same(tiny_checkpoint, tmp_path, open_hand, mano_named) -> None:
    path, network, tensors = tiny_checkpoint
    out = convert_checkpoint(path, tmp_path / "out" / "wilor.safetensors", config=network.config)
    stored = load_file(out)
    assert len(stored) == len(tensors)
    assert not any(name.startswith("mano") for name in stored)
    assert (out.stat().st_mode & 0o777) == (out.with_suffix(".json").stat().st_mode & 0o777)
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["source"]["entries_left_out"] == {"discriminator": 1, "initialized": 1, "mano": 1}
    assert "NC-ND" in about["licence"]
    loaded = load_network(out, mano_named)
    pictures = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(loaded(pictures).final.vertices, network(pictures).final.vertices)
    assert all(p.requires_grad for p in loaded.parameters())
    aligned = load_network(out, mano_named, alignment="correct")
    assert (aligned(pictures).final.vertices - network(pictures).final.vertices).abs().max() > 1e-4
    with pytest.raises(UsageError, match=r"MANO_RIGHT\.pkl"):
        load_network(out, open_hand)


@pytest.fixture
def mano_named(open_hand):
    """The open hand under MANO's name: MANO itself cannot be shipped."""
    return dataclasses.replace(open_hand, name="mano")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda t: t.pop("backbone.blocks.1.attn.qkv.bias"),
            r"missing: backbone\.blocks\.1\.attn\.qkv\.bias",
        ),
        (lambda t: t.update({"refine_net.more": torch.zeros(2)}), r"unknown: refine_net\.more"),
        (
            lambda t: t.update({"backbone.decpose.weight": torch.zeros(6, 31)}),
            r"decpose\.weight: \(6, 31\), not",
        ),
    ],
)
def test_another_layout_is_refused_by_name(tiny_checkpoint, tmp_path, change, complaint) -> None:
    _, network, tensors = tiny_checkpoint
    change(tensors)
    out = tmp_path / "out.safetensors"
    with pytest.raises(BadFileError, match=complaint):
        convert_checkpoint(lightning(tmp_path / "changed.ckpt", tensors), out, config=network.config)
    assert not out.exists()


class Evil:
    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_is_run(tmp_path) -> None:
    evil = Evil()
    evil.path = tmp_path / "ran"
    torch.save({"state_dict": {"a": torch.arange(3.0)}, "evil": evil}, tmp_path / "evil.ckpt")
    file = read_torch_file(tmp_path / "evil.ckpt")
    assert file.content["state_dict"]["a"].tolist() == [0.0, 1.0, 2.0]
    assert file.ignored == ("posix.mkdir",)
    assert not evil.path.exists()


def test_tensors_come_out_as_they_were_saved(tmp_path) -> None:
    base = torch.randn(4, 6)
    saved = {
        "view": base[1:, ::2],
        "same storage": base.t(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "long": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base),
    }
    torch.save(saved, tmp_path / "some.pth")
    found = read_torch_file(tmp_path / "some.pth").content
    assert found.keys() == saved.keys()
    for name, value in saved.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype


def test_damaged_files_are_named(tmp_path) -> None:
    whole = tmp_path / "whole.ckpt"
    torch.save({"a": torch.arange(1000.0)}, whole)
    data = whole.read_bytes()
    size = pickle.dumps(1000, protocol=2)[2:-1]  # claims more numbers than there are
    large = tmp_path / "large.ckpt"
    large.write_bytes(data.replace(size + b"\x85", pickle.dumps(1001, protocol=2)[2:-1] + b"\x85"))
    assert large.read_bytes() != data
    with pytest.raises(BadFileError, match="large"):
        read_torch_file(large)
    cut = tmp_path / "cut.ckpt"
    bare = tmp_path / "bare.ckpt"
    bare.write_bytes(pickle.dumps({"a": 1}))
    for size in (10, len(data) // 2, len(data) - 30):
        cut.write_bytes(data[:size])
        with pytest.raises(BadFileError, match="cut"):
            read_torch_file(cut)
    with pytest.raises(BadFileError, match="bare"):
        read_torch_file(bare)
    with pytest.raises(UsageError, match="no such file"):
        read_torch_file(tmp_path / "none.ckpt")


def test_weights_round_trip(make_network, open_hand, tmp_path) -> None:
    network = make_network(refinement__hidden=8)
    save_network(network, tmp_path / "a.safetensors", note="made by a test")
    loaded = load_network(tmp_path / "a.safetensors", open_hand)
    assert loaded.config == network.config
    pictures = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded(pictures).final.keypoints, network(pictures).final.keypoints)
    names = load_file(tmp_path / "a.safetensors").keys()
    assert not any(name.startswith("hand.") for name in names)  # the user's MANO stays at home
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(BadFileError, match="damaged"):
        load_network(tmp_path / "a.safetensors", open_hand)


VIT = VitConfig(size="tiny", width=32, depth=2, heads=4)


def vitpose(make_network) -> dict[str, torch.Tensor]:
    """The backbone of a network for 256 x 192 pixels."""
    network = make_network(crop=256, width=192)
    return {k: v.detach() for k, v in network.backbone.state_dict().items()}


def as_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights as the transformers library names them."""
    renamed = {}
    for name, value in weights.items():
        if "attn.qkv" in name:
            layer, kind = name.split(".")[1], name.split(".")[-1]
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                key = f"backbone.encoder.layer.{layer}.attention.attention.{part}.{kind}"
                renamed[key] = piece.contiguous()
            continue
        for ours, theirs in (
            ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
            ("pos_embed", "embeddings.position_embeddings"),
            ("blocks.", "encoder.layer."),
            ("attn.proj", "attention.output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("last_norm", "layernorm"),
        ):
            name = name.replace(ours, theirs)
        renamed[f"backbone.{name}"] = value
    return {**renamed, "head.conv.weight": torch.zeros(17, 32, 1, 1)}


@pytest.mark.parametrize("kind", ["vitpose", "hamer", "bare", "transformers"])
def test_vitpose_is_a_beginning(make_network, tmp_path, kind) -> None:
    weights = vitpose(make_network)
    path = tmp_path / ("v.safetensors" if kind == "transformers" else "v.pth")
    if kind == "transformers":
        save_file(as_transformers(weights), path)
    elif kind == "bare":
        torch.save(weights, path)
    else:
        head = "keypoint_head.final_layer.bias" if kind == "vitpose" else "mano_head.deccam.bias"
        content = {**{f"backbone.{name}": value for name, value in weights.items()}, head: torch.zeros(3)}
        if kind == "hamer":
            lightning(path, content)
        else:
            torch.save({"meta": {"epoch": 210}, "state_dict": content}, path)
    out = convert_vitpose(path, tmp_path / "vit.safetensors", config=VIT)
    network = make_network()
    heads = network.tokens.pose_out.weight.clone()
    begin_with_vitpose(network, out)
    for name, value in network.backbone.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, weights[name]), name
    assert network.backbone.pos_embed.shape == (1, 13, 32)
    assert torch.equal(network.tokens.pose_out.weight, heads)
    with pytest.raises(BadFileError, match="no ViTPose backbone of size B"):
        convert_vitpose(path, tmp_path / "b.safetensors", size="B")


def test_the_hand_is_real_after_loading(make_network, open_hand, tmp_path) -> None:
    """The network is built without memory first; what is not in the file must not stay so."""
    save_network(make_network(), tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors", open_hand)
    assert isinstance(loaded.hand, RightHand)
    assert not any(t.is_meta for t in [*loaded.buffers(), *loaded.parameters()])
