"""Training and use of the models: train-detector, train-reconstructor, predict, export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from whim.cli.common import LABELS, VIDEOS, command, count, json_output, say, settings, show

DETECTOR_RUN = Path("runs/detector")
HANDS_RUN = Path("runs/reconstructor")


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, train_detector, "train the hand detector from labels, shards or image folders")
    sub.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"labels, pixel shards, COCO or YOLO folders (default: {LABELS}); labels are packed on the way",
    )
    sub.add_argument(
        "--out",
        type=Path,
        default=DETECTOR_RUN,
        help="run folder; a run there goes on (default: %(default)s)",
    )
    sub.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="recipe, for example configs/detector/paper-m.yaml (default: built in)",
    )
    sub.add_argument("--videos", type=Path, metavar="DIR", help=f"where the videos lie, when not in {VIDEOS}")
    sub.add_argument(
        "--smoke", action="store_true", help="a minute on made-up pictures, to see that everything works"
    )
    settings(sub, "detector.network.scale=m, training.epochs=50")
    json_output(sub)

    sub = command(
        commands,
        train_reconstructor,
        "train the hand reconstructor from labels or shards with hands in space",
    )
    sub.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"labels or pixel shards (default: {LABELS}); as above",
    )
    sub.add_argument(
        "--out", type=Path, default=HANDS_RUN, help="run folder; a run there goes on (default: %(default)s)"
    )
    sub.add_argument(
        "--config", type=Path, metavar="YAML", help="for example configs/reconstructor/tiny.yaml"
    )
    sub.add_argument(
        "--begin-with", type=Path, metavar="FILE", help="weights of another training or of the release"
    )
    sub.add_argument("--videos", type=Path, metavar="DIR", help=f"where the videos lie, when not in {VIDEOS}")
    sub.add_argument(
        "--smoke", action="store_true", help="a minute on rendered hands, to see that everything works"
    )
    settings(sub, "training.epochs=50, hand=MANO_RIGHT.pkl")
    json_output(sub)

    sub = command(commands, predict, "find hands in pictures and videos with a trained detector")
    sub.add_argument("source", metavar="PICTURE|VIDEO|DIR", type=Path)
    sub.add_argument(
        "--detector",
        type=Path,
        default=DETECTOR_RUN / "best.safetensors",
        metavar="FILE",
        help="weights (default: %(default)s)",
    )
    sub.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default: %(default)s)")
    sub.add_argument(
        "--size", type=count(32), default=640, metavar="N", help="longer side of the input, pixels"
    )
    sub.add_argument(
        "--score", type=float, default=0.3, metavar="S", help="least score (default: %(default)s)"
    )
    sub.add_argument("--device", default="auto", metavar="cpu|cuda|auto")
    mesh = sub.add_argument_group("hands in space, with a trained reconstructor")
    mesh.add_argument("--mesh", type=Path, metavar="FILE", help="its weights: meshes, parameters, files")
    mesh.add_argument(
        "--hand",
        default="open-hand",
        metavar="open-hand|FILE",
        help="the hand that it was trained with, or your MANO",
    )
    mesh.add_argument(
        "--mesh-format", choices=["glb", "obj", "none"], default="glb", help="(default: %(default)s)"
    )
    mesh.add_argument(
        "--focal", type=float, metavar="PX", help="focal length; the diagonal of the picture without it"
    )
    json_output(sub)

    sub = command(commands, export, "write a trained detector for ONNX Runtime, OpenVINO or TensorRT")
    sub.add_argument(
        "weights", metavar="WEIGHTS", type=Path, nargs="?", default=DETECTOR_RUN / "best.safetensors"
    )
    sub.add_argument("--out", type=Path, metavar="FILE.onnx", help="default: beside the weights")
    sub.add_argument(
        "--size", type=count(32), default=640, metavar="N", help="side of the input (default: %(default)s)"
    )
    sub.add_argument(
        "--openvino", action="store_true", help="also as OpenVINO XML and BIN; needs the extra openvino"
    )
    sub.add_argument("--tensorrt", action="store_true", help="also a script that builds a TensorRT engine")
    json_output(sub)


def train_detector(options: argparse.Namespace) -> int:
    """``whim train-detector``."""
    from whim.config import load_config
    from whim.detector.train import train
    from whim.detector.training.recipe import TrainDetectorConfig
    from whim.resources import user_or_shipped

    sets = [f"data.train={[{'path': str(path)} for path in options.data]}"] if options.data else []
    path = user_or_shipped(options.config) if options.config else None
    summary = train(
        load_config(TrainDetectorConfig, path, [*sets, *options.set]),
        out=options.out,
        videos=options.videos,
        smoke=options.smoke,
        say=say,
    )
    if summary.is_main:  # of several processes, one speaks
        show(options, summary.to_json, summary.render)
    return summary.exit_code


def train_reconstructor(options: argparse.Namespace) -> int:
    """``whim train-reconstructor``."""
    from whim.config import load_config
    from whim.reconstructor.train import train
    from whim.reconstructor.training.recipe import TrainReconstructorConfig
    from whim.resources import user_or_shipped

    sets = [f"data.train={[{'path': str(path)} for path in options.data]}"] if options.data else []
    if options.begin_with:
        sets += ["vitpose=null", f"begin_with={json.dumps(str(options.begin_with))}"]
    path = user_or_shipped(options.config) if options.config else None
    summary = train(
        load_config(TrainReconstructorConfig, path, [*sets, *options.set]),
        out=options.out,
        videos=options.videos,
        smoke=options.smoke,
        say=say,
    )
    if summary.is_main:
        show(options, summary.to_json, summary.render)
    return summary.exit_code


def predict(options: argparse.Namespace) -> int:
    """``whim predict``."""
    from whim.detector.command import predict as run
    from whim.detector.predict import load

    detector = load(options.detector, device=options.device, size=options.size)
    watcher = None
    if options.mesh:
        from whim.reconstructor.command import MeshWatcher
        from whim.reconstructor.predict import load as load_stack

        stack = load_stack(None, options.mesh, hand=options.hand, device=options.device)
        watcher = MeshWatcher(stack, options.out, form=options.mesh_format, focal=options.focal)
    summary = run(options.source, detector, options.out, least_score=options.score, watcher=watcher)
    show(options, summary.to_json, summary.render)
    return summary.exit_code


def export(options: argparse.Namespace) -> int:
    """``whim export``."""
    from whim.detector.export import export_onnx, export_openvino, write_tensorrt_script

    out = options.out or options.weights.with_suffix(".onnx")
    report = export_onnx(options.weights, out, height=options.size, width=options.size)
    show(options, report.to_json, report.render)
    if options.openvino:
        say(str(export_openvino(out, out.with_suffix(".xml"))))
    if options.tensorrt:
        say(str(write_tensorrt_script(out, out.with_suffix(".tensorrt.sh"))))
    return 0
