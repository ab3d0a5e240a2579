"""Characters of the documentation that every CPython carries."""

from importlib.resources import files

import numpy as np

import rnnc
from results.harness import Found, compiled, experiment
from rnnc.cli.corpus import documentation


def bits_per_character(net, updates: int, characters: int = 400_000) -> float:
    """On the last tenth of the text, after so many updates of 16 streams of 64 frames."""
    corpus = documentation()
    text = corpus.text[:characters]
    data = rnnc.data.text(text, streams=16, frames=64, held_out=0.1, vocabulary=corpus.vocabulary)
    opt, state = rnnc.Adam(net, lambda step: 4e-3 * (1 - (step - 1) / updates), clip_norm=1.0), None
    for update in range(updates):
        epoch, index = divmod(update, len(data))
        state = state if index else net.state(streams=16)
        net.backprop(state=state, **data.batch(epoch, index))
        opt.step()
    held = data.held.window(0, data.held.length)
    return net.evaluate(**held)["loss"] / np.log(2)


# Hidden units of the flat model with as many parameters.
HIDDEN, FLAT = 128, 174


def of(sample: str, seed: int, **sizes):
    return compiled((files("rnnc.samples") / f"{sample}.rnn").read_text(), seed, **sizes)


def hierarchy_wins(found: Found) -> tuple[str, bool]:
    mean = {k: v.mean() for k, v in found.items() if "parameters" not in k}
    size = "{:,.0f} and {:,.0f} parameters".format(found["parameters"][0], found["parameters flat"][0])
    return ", ".join(f"{k} {v:.3f}" for k, v in mean.items()) + f" ({size})", \
        min(mean["two clocks"], mean["in context"]) < mean["flat"]


@experiment(known="fewer bits per character than the flat model of equal size (arXiv:1609.03777, on more text)",
            seeds=2, judge=hierarchy_wins)
def hierarchical(seed):
    """Python documentation, 400,000 characters, the last tenth held out: bits per character of the hierarchical model
    of 128 units in both forms, and of two layers of LSTM, Adam, 3,000 updates of 16 x 64"""
    corpus = documentation()
    sizes = {"vocab": len(corpus.vocabulary), "space": corpus.vocabulary.index(" ")}
    found = {}
    for variant, name in enumerate(["two clocks", "in context"]):
        net = of("hierarchical", seed, hidden=HIDDEN, variant=variant, **sizes)
        found |= {name: bits_per_character(net, 3000), "parameters": net.trainable}
    flat = of("charlm", seed, hidden=FLAT, vocab=sizes["vocab"])
    return found | {"flat": bits_per_character(flat, 3000), "parameters flat": flat.trainable}
