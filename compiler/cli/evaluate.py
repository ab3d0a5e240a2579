"""`rnnc eval`: loss and metrics of a checkpoint, on what its training held out or on other data."""

from pathlib import Path

import rnnc
from rnnc.cli import corpus, dataset, held, report
from rnnc.cli.console import Refusal, json_line, note, patience
from rnnc.cli.record import Job
from rnnc.cli.sources import add_progress
from rnnc.cli.train import signal_file


def add(commands) -> None:
    command = commands.add_parser("eval", help="loss and metrics of a trained model")
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    command.add_argument("--text", metavar="F", help="score this text instead of the held-out data")
    command.add_argument("--data", metavar="F.npz", help="score these arrays (.npz) or this table (.csv)")
    command.add_argument("--set", metavar="NAME=FILE", type=signal_file, action="append",
                         help="a .wav or .npy by signal")
    command.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(command)
    command.set_defaults(run=evaluate)


def evaluate(options) -> int:
    job = Job.read(options.checkpoint)
    with patience("compiling", options.progress):
        net = job.trained(options.checkpoint)
    data = chosen(options, job, net)
    from rnnc.runtime.score import evaluate as score
    with patience("scoring", options.progress):
        found = score(net, data)
    if job.vocabulary is not None and "loss" in found:
        found = {"bits per character": found["loss"] * report.BITS, **found}
    if options.format == "json":
        print(json_line(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}")
    return 0


def chosen(options, job: Job, net):
    """The data that the flags name, or what the checkpoint keeps."""
    frames = job.training["frames"]
    where = dataset.place(options, set(), None)
    if where is None:
        note(f"scoring what was held out of {job.source.get('name') or job.source.get('path') or 'the data'}")
        return held.kept(options.checkpoint, frames, job.training["batch"])
    if where.kind != dataset.TEXT:
        return dataset.checked(where, {**net.inputs, **net.targets}, net.targets, net.dtype, frames=frames)
    if job.vocabulary is None:
        raise Refusal(f"{options.checkpoint} holds no text model")
    found = corpus.from_file(where.path)
    (reads,), (writes,) = net.inputs, net.targets
    return rnnc.data.text(found.text if "\n" in found.text else where.path, 1, frames, vocabulary=job.vocabulary,
                          input=reads, target=writes)
