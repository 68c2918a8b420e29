"""The user's MANO file on fabricated ones: equal to smplx, strict, private, and deaf to code."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from whim.conventions import MANO_TO_OPENPOSE
from whim.errors import BadFileError, UsageError
from whim.hands import kinematics
from whim.hands.mano import TIP_VERTICES, check_mano_left, load_mano, pose_from_pca
from whim.hands.unpickle import UnsafePickleError, load_object_npy, load_pickle

Content = dict[str, Any]
Writer = Callable[..., Path]


def left(content: Content, wrong_sign: bool = False) -> Content:
    """The same hand as MANO_LEFT.pkl has it."""
    flip = np.array([-1.0, 1.0, 1.0])
    shapedirs = content["shapedirs"] * flip[:, None]
    if wrong_sign:
        shapedirs[:, 0, 0] *= -1.0
    return {
        **content,
        "v_template": content["v_template"] * flip,
        "shapedirs": shapedirs,
        "f": content["f"][:, ::-1],
    }


# ---- what the model is


def test_arrays_arrive_as_they_are(mano_content: Content, write_pickle: Writer) -> None:
    model = load_mano(write_pickle(mano_content))
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        np.testing.assert_array_equal(getattr(model, key), mano_content[key])
    np.testing.assert_array_equal(model.J_regressor, mano_content["J_regressor"].toarray())
    np.testing.assert_array_equal(model.pose_mean.ravel(), mano_content["hands_mean"])
    np.testing.assert_array_equal(model.tip_template, model.v_template[list(TIP_VERTICES)])
    assert model.topology.startswith("mano-")


def test_the_wrist_is_closed(mano_content: Content, write_pickle: Writer) -> None:
    model = load_mano(write_pickle(mano_content))
    assert model.faces.shape == (1538, 3)
    assert model.faces_closed.shape == (1552, 3)
    edges = {(int(a), int(b)) for f in model.faces_closed for a, b in zip(f, np.roll(f, -1), strict=True)}
    assert len(edges) == 3 * 1552
    assert all((b, a) in edges for a, b in edges)


def test_chumpy_objects_become_arrays(mano_content: Content, write_pickle: Writer, chumpy_classes) -> None:
    """As in the real file: posedirs a constant, shapedirs a selection from twenty components."""
    plain = load_mano(write_pickle(mano_content, "plain.pkl"))
    posedirs = chumpy_classes.Ch()
    posedirs.x = mano_content["posedirs"]
    whole = chumpy_classes.Ch()
    whole.x = np.concatenate([mano_content["shapedirs"], np.ones((778, 3, 10))], axis=2)
    chosen = chumpy_classes.Select()
    chosen.a, chosen.preferred_shape = whole, (778, 3, 10)
    chosen.idxs = np.arange(778 * 3 * 20).reshape(778, 3, 20)[:, :, :10].ravel()
    regressor = scipy.sparse.csr_matrix(mano_content["J_regressor"])
    path = write_pickle({**mano_content, "posedirs": posedirs, "shapedirs": chosen, "J_regressor": regressor})
    chumpy_classes.drop()
    assert load_mano(path).topology == plain.topology


def test_python_2_pickles_are_read(
    mano_content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 2 wrote arrays as text: protocol 0 and str buffers, which come as latin1."""
    monkeypatch.setenv("WHIM_CACHE", str(tmp_path / "cache"))
    mano_content["J_regressor"] = mano_content["J_regressor"].toarray()
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(mano_content, protocol=0))
    np.testing.assert_array_equal(load_mano(path).posedirs, mano_content["posedirs"])


@pytest.mark.parametrize("shape_of_the_file", ["csc", "csr"])
def test_it_equals_smplx(
    mano_content: Content, write_pickle: Writer, random_hands, shape_of_the_file: str
) -> None:
    torch = pytest.importorskip("torch", reason="smplx needs torch")
    smplx = pytest.importorskip("smplx", reason="the reference implementation")
    if shape_of_the_file == "csr":
        mano_content["J_regressor"] = scipy.sparse.csr_matrix(mano_content["J_regressor"])
    path = write_pickle(mano_content)
    model = load_mano(path)
    hands = random_hands(6)
    options = {"is_rhand": True, "batch_size": 6, "dtype": torch.float64}
    reference = smplx.MANO(str(path), use_pca=False, flat_hand_mean=True, **options)
    betas, pose, orient, shift = (torch.as_tensor(x.reshape(6, -1)) for x in hands)
    out = reference(betas=betas, hand_pose=pose, global_orient=orient, transl=shift)
    np.testing.assert_allclose(kinematics.vertices(model, *hands), out.vertices.numpy(), atol=1e-6)
    tips = out.vertices[:, list(TIP_VERTICES)]
    expected = torch.cat([out.joints[:, :16], tips], dim=1)[:, list(MANO_TO_OPENPOSE)].numpy()
    np.testing.assert_allclose(kinematics.keypoints(model, *hands), expected, atol=1e-6)

    coefficients = np.random.default_rng(3).normal(size=(6, 12))
    for flat in (True, False):
        reference = smplx.MANO(str(path), use_pca=True, num_pca_comps=12, flat_hand_mean=flat, **options)
        out = reference(
            betas=betas, hand_pose=torch.as_tensor(coefficients), global_orient=orient, transl=shift
        )
        full = pose_from_pca(path, coefficients, flat_hand_mean=flat)
        found = kinematics.vertices(model, hands[0], full, hands[2], hands[3])
        np.testing.assert_allclose(found, out.vertices.numpy(), atol=1e-6)


def test_pose_from_pca(mano_content: Content, write_pickle: Writer) -> None:
    path = write_pickle(mano_content)
    coefficients = np.random.default_rng(1).normal(size=(3, 15))
    expected = coefficients @ mano_content["hands_components"][:15]
    np.testing.assert_allclose(
        pose_from_pca(path, coefficients, flat_hand_mean=True).reshape(3, 45), expected, atol=1e-12
    )
    np.testing.assert_allclose(
        pose_from_pca(path, coefficients).reshape(3, 45), expected + mano_content["hands_mean"], atol=1e-12
    )
    for wrong in (np.zeros(15), np.zeros((2, 46))):
        with pytest.raises(ValueError, match="coefficients"):
            pose_from_pca(path, wrong)


# ---- the cache


def test_it_is_converted_once_for_the_user_alone(
    mano_content: Content, write_pickle: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pickle(mano_content)
    first = load_mano(path)
    copies = list((tmp_path / "cache" / "hands").iterdir())
    assert len(copies) == 1
    assert stat.S_IMODE(copies[0].stat().st_mode) == 0o600
    monkeypatch.setattr("whim.hands.mano.load_pickle", lambda _: pytest.fail("the pickle was read again"))
    second = load_mano(path)
    assert second.topology == first.topology
    np.testing.assert_array_equal(second.faces_closed, first.faces_closed)


def test_a_damaged_copy_is_made_again(mano_content: Content, write_pickle: Writer, tmp_path: Path) -> None:
    path = write_pickle(mano_content)
    topology = load_mano(path).topology
    (copy,) = (tmp_path / "cache" / "hands").iterdir()
    for content in (b"", copy.read_bytes()[:5000]):
        copy.write_bytes(content)
        assert load_mano(path).topology == topology


def test_another_file_gets_its_own_copy(mano_content: Content, write_pickle: Writer) -> None:
    first = load_mano(write_pickle(mano_content))
    mano_content["v_template"][5, 0] += 1e-3
    assert load_mano(write_pickle(mano_content)).topology != first.topology


# ---- the left hand


def test_a_left_hand_is_named_as_such(mano_content: Content, write_pickle: Writer) -> None:
    with pytest.raises(BadFileError, match=r"is the left hand.*MANO_RIGHT"):
        load_mano(write_pickle(left(mano_content), "MANO_LEFT.pkl"))


@pytest.mark.parametrize("wrong_sign", [False, True])
def test_the_left_hand_can_be_checked(mano_content: Content, write_pickle: Writer, wrong_sign: bool) -> None:
    right = load_mano(write_pickle(mano_content))
    check = check_mano_left(write_pickle(left(mano_content, wrong_sign), "MANO_LEFT.pkl"), right)
    assert check.template_m < 1e-12
    assert check.first_shape_sign_wrong is wrong_sign
    assert (check.shapedirs > 1e-4) is wrong_sign
    with pytest.raises(BadFileError, match="not a left hand"):
        check_mano_left(write_pickle(mano_content), right)


# ---- wrong files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_template": np.zeros((10475, 3))}, "is SMPL-X, not MANO"),
        ({"v_template": np.zeros((6890, 3))}, "is SMPL or SMPL-H, not MANO"),
        ({"v_template": np.zeros((777, 3))}, r"v_template has the shape \(777, 3\), not \(778, 3\)"),
        ({"shapedirs": np.zeros((778, 3, 300))}, "shapedirs has the shape"),
        ({"posedirs": None}, "lacks posedirs"),
        ({"hands_mean": None, "hands_components": None}, "lacks hands_components, hands_mean"),
        ({"weights": np.full((778, 16), np.nan)}, "weights holds numbers that are not finite"),
        ({"weights": "abc"}, "weights is not an array of numbers"),
        ({"f": np.full((1538, 3), 900)}, "faces name vertices that do not exist"),
        ({"kintree_table": np.zeros((2, 16))}, "joints hang together differently"),
    ],
)
def test_what_is_wrong_is_said(
    mano_content: Content, write_pickle: Writer, changes: Content, message: str
) -> None:
    content = {key: value for key, value in {**mano_content, **changes}.items() if value is not None}
    with pytest.raises(BadFileError, match=message):
        load_mano(write_pickle(content))


def test_other_containers_are_refused(write_pickle: Writer, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="holds a list"):
        load_mano(write_pickle([1, 2]))
    with pytest.raises(UsageError, match="no such file"):
        load_mano(tmp_path / "nowhere.pkl")
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", v_template=np.zeros((10475, 3)), shapedirs=np.zeros(3))
    with pytest.raises(BadFileError, match=r"body model as npz \(SMPL-X\)"):
        load_mano(tmp_path / "SMPLX_NEUTRAL.npz")
    np.savez(tmp_path / "mano_v1_2.zip.npz", readme=np.zeros(3))
    with pytest.raises(BadFileError, match="unpack it first"):
        load_mano(tmp_path / "mano_v1_2.zip.npz")


def test_truncated_and_foreign_bytes(mano_content: Content, write_pickle: Writer) -> None:
    path = write_pickle(mano_content)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    pieces = [
        b"",
        b"\x80",
        b"not a pickle",
        rng.bytes(4000),
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
    ]
    for content in pieces:
        path.write_bytes(content)
        with pytest.raises(BadFileError, match=r"MANO_RIGHT\.pkl"):
            load_mano(path)


def test_flipped_bytes_never_escape_as_other_errors(write_pickle: Writer) -> None:
    """Whatever a damaged pickle asks for, the answer is data or a BadFileError."""
    path = write_pickle(
        {"a": np.arange(6.0).reshape(2, 3), "b": scipy.sparse.csc_matrix(np.eye(3)), "c": [1, "x"]}
    )
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            load_pickle(path)
        except BadFileError:
            refused += 1
    assert refused > 100


# ---- hostile files


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, Any]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "posix.system": Call(os.system, f"touch {marker}"),
        "builtins.eval": Call(builtins.eval, touch),
        "builtins.exec": Call(builtins.exec, touch),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "builtins.getattr": Call(getattr, Call(__import__, "os"), "system"),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {marker}"))),
        "numpy.load": Call(np.load, str(marker), None, True),
        "_io.open": Call(io.open, str(marker), "w"),
    }


@pytest.mark.parametrize("name", sorted(hostile(Path("x"))))
@pytest.mark.parametrize("place", ["alone", "value", "deep", "object array", "state"])
def test_code_is_refused_and_named(
    name: str, place: str, tmp_path: Path, mano_content: Content, write_pickle: Writer, chumpy_classes
) -> None:
    marker = tmp_path / "marker"
    evil = hostile(marker)[name]
    if place == "value":
        evil = {**mano_content, "bs_type": evil}
    elif place == "deep":
        evil = {**mano_content, "bs_type": [({"a": [evil]},)]}
    elif place == "object array":
        evil = np.array([evil, None], dtype=object)
    elif place == "state":
        holder = chumpy_classes.Ch()
        holder.x = evil
        evil = {**mano_content, "shapedirs": holder}
    with pytest.raises(UnsafePickleError, match="refused") as refused:
        load_mano(write_pickle(evil))
    asked = str(refused.value)
    accepted = {"builtins.getattr": ("getattr", "__import__"), "numpy.load": ("load",), "_io.open": ("open",)}
    assert any(part in asked for part in accepted.get(name, (name.split(".")[-1],)))
    assert not marker.exists()
    assert refused.value.code == "unsafe-pickle"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cnumpy\nndarray\n(I1000\ntR.",  # an array that nobody filled
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nobject\n(I0\ntS'b'\ntR.",
        b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
        b"c_codecs\nencode\n(S'eJwDAAAAAAE='\nS'zlib'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'x'\ntR.",
        b"cchumpy.ch\nCh\n)\x81I5\nb.",  # a state that is no dict
        b"cchumpy.ch\nCh\n)\x81.",  # no value at all
        b"\x82\x01.",  # an extension code
        b"Pwhatever\n.",  # a persistent id
    ],
)
def test_crafted_programs_are_refused(program: bytes, tmp_path: Path) -> None:
    path = tmp_path / "crafted.pkl"
    path.write_bytes(program)
    with pytest.raises(BadFileError, match=r"crafted\.pkl"):
        load_pickle(path)


def test_refusing_needs_no_chumpy_and_leaves_no_module(mano_content: Content, write_pickle: Writer) -> None:
    assert "chumpy" not in sys.modules
    load_mano(write_pickle(mano_content))
    assert "chumpy" not in sys.modules


# ---- pickles inside .npy, as ARCTIC has them


def test_an_object_npy_is_read_without_allow_pickle(tmp_path: Path) -> None:
    sequence = {
        "right": {"rot": np.ones((4, 3)), "pose": np.zeros((4, 45)), "fitting_err": np.arange(4.0)},
        "n": 4,
    }
    path = tmp_path / "box_grab_01.mano.npy"
    np.save(path, np.array(sequence, dtype=object), allow_pickle=True)
    found = load_object_npy(path)
    assert found["n"] == 4
    np.testing.assert_array_equal(found["right"]["rot"], np.ones((4, 3)))
    np.testing.assert_array_equal(found["right"]["fitting_err"], np.arange(4.0))


def test_a_hostile_or_wrong_npy_is_refused(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.npy", tmp_path / "marker"
    np.save(path, np.array({"x": Call(os.system, f"touch {marker}")}, dtype=object), allow_pickle=True)
    with pytest.raises(UnsafePickleError, match="system"):
        load_object_npy(path)
    assert not marker.exists()
    np.save(path, np.arange(3.0))
    with pytest.raises(BadFileError, match="plain array"):
        load_object_npy(path)
    for content in (b"", b"\x93NUMPY\x09\x00", b"PK"):
        path.write_bytes(content)
        with pytest.raises(BadFileError, match=r"a\.npy"):
            load_object_npy(path)
