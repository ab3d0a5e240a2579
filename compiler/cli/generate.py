"""`rnnc generate`: a text model writes, character by character, from what its checkpoint holds."""

import argparse
import math
import os
import sys
from pathlib import Path

from rnnc.cli.console import Refusal, Usage, patience
from rnnc.cli.record import Job
from rnnc.cli.sources import add_progress, nonnegative, number, seed


def add(commands) -> None:
    command = commands.add_parser("generate", help="text from a trained text model")
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    command.add_argument("--prompt", default="", help="what the text begins with")
    command.add_argument("--length", type=nonnegative, default=500, help="characters after the prompt (500)")
    command.add_argument("--temperature", type=temperature, default=0.8,
                         help="0: always the likeliest; 1: as learned (0.8)")
    command.add_argument("--top-k", type=nonnegative, default=0, help="only among the k likeliest (0: all)")
    command.add_argument("--seed", type=seed, default=0)
    add_progress(command)
    command.set_defaults(run=generate)


def generate(options) -> int:
    import numpy as np
    job = Job.read(options.checkpoint)
    if job.vocabulary is None:
        raise Refusal(f"{options.checkpoint} holds no text model; `rnnc run` streams frames through it")
    begin = written(options.prompt)
    prompt = labels(begin or first(job.vocabulary), job.vocabulary)
    with patience("compiling", options.progress):
        net = job.trained(options.checkpoint, gradient=None)
    reads, writes = text_signals(net, len(job.vocabulary))
    chance = np.random.default_rng(options.seed)
    state = net.state(streams=1)
    print(begin, end="", flush=True)
    seen = net.run(**{reads: prompt[:, None]}, state=state)[writes][-1, 0]
    for _ in range(options.length):
        label = draw(seen, options.temperature, options.top_k, chance)
        print(job.vocabulary[label], end="", flush=True)
        seen = net.step(state, **{reads: np.array([label])})[writes][0]
    print()
    sys.stdout.flush()
    return 0


def written(argument: str) -> str:
    """A flag's text, UTF-8 whatever the locale: what that cannot read stands in it as single bytes."""
    try:
        return os.fsencode(argument).decode("utf-8") if any("\udc80" <= c <= "\udcff" for c in argument) else argument
    except UnicodeError:
        raise Usage("--prompt is not UTF-8 text") from None


def temperature(text: str) -> float:
    """An argument type: 0 or more."""
    value = float(number(text))
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def first(vocabulary: str) -> str:
    """What an empty prompt stands for: a text begins after a line end."""
    return "\n" if "\n" in vocabulary else vocabulary[0]


def labels(text: str, vocabulary: str):
    """Text as an array of labels; a character the model has never seen is refused by name."""
    import numpy as np
    number = {character: i for i, character in enumerate(vocabulary)}
    strange = next((c for c in text if c not in number), None)
    if strange is not None:
        raise Refusal(f"the model has never seen the character {strange!r} (U+{ord(strange):04X})")
    return np.array([number[c] for c in text], dtype=np.int32)


def text_signals(net, size: int) -> tuple[str, str]:
    """The input that takes characters and the output that scores the next one."""
    reads = [name for name, s in net.inputs.items() if s.kind == "class"]
    writes = [name for name, s in net.outputs.items() if tuple(s.shape) == (size,)]
    if len(reads) != 1 or len(net.inputs) != 1 or not writes:
        raise Refusal("the model does not read one label per frame and return a score for each of "
                      f"{size} characters")
    return reads[0], writes[0]


def draw(scores, temperature: float, top: int, chance) -> int:
    """One label: from probabilities, or from unnormalised scores if that is what the model returns."""
    import numpy as np
    scores = np.asarray(scores, dtype=np.float64)
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        scores = np.log(np.maximum(scores, 1e-300))
    if temperature == 0:
        return int(scores.argmax())
    if 0 < top < len(scores):
        scores = np.where(scores >= np.sort(scores)[-top], scores, -np.inf)
    weights = np.exp((scores - scores.max()) / temperature)
    return int(chance.choice(len(weights), p=weights / weights.sum()))
