"""Every standard cell against its paper's equations, written once more in NumPy (papers.py, papers_of_memories.py).

The cells are run by the oracle. Nothing is shared but the names of the parameters.
"""

from importlib.resources import files

import numpy as np
import papers_of_memories  # noqa: F401  (which adds to PAPERS)
import pytest
from papers import FRAMES, INPUTS, PAPERS

from rnnc.errors import Source
from rnnc.front.parse import parse
from rnnc.graph import oracle
from rnnc.graph.elaborate.program import elaborate
from rnnc.graph.values import at_rest

NAMES = sorted(p.name.removesuffix(".rnn") for p in files("rnnc.grammar").joinpath("cells").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_cell_computes_what_its_paper_says(name):
    sizes, equations = PAPERS[name]
    text = f"model m {{\n input x : [{INPUTS}]\n y = {name}({sizes})(x)\n output y }}"
    graph = elaborate(parse(Source(name, text)))
    chance = np.random.default_rng(NAMES.index(name))
    params = {p.name: chance.normal(0, 0.7, p.shape) for p in graph.params}
    xs = chance.normal(size=(FRAMES, 1, INPUTS))
    found = oracle.run(graph, {"x": xs}, params).outputs["y"][:, 0]
    own = {path.removeprefix("y."): value for path, value in params.items()}
    np.testing.assert_allclose(found, equations(own, xs[:, 0]), rtol=1e-12, atol=1e-12)


def test_zoneout_at_rest_is_the_mean():
    graph = elaborate(parse(Source("z", "model m {\n input x : [3]\n y = zoneout(0.3)(x)\n output y }")))
    xs, y, want = np.random.default_rng(0).normal(size=(9, 1, 3)), 0, []
    for x in xs:
        y = 0.3 * y + 0.7 * x
        want.append(y)
    np.testing.assert_allclose(oracle.run(at_rest(graph), {"x": xs}).outputs["y"], want, rtol=1e-12)


def test_exponential_gates_do_not_overflow():
    """Kept memories of xLSTM and RWKV are scaled: keys of 200 are no more than a choice of the newest."""
    for name in ("mlstm", "slstm", "rwkv"):
        graph = elaborate(parse(Source(name, f"model m {{\n input x : [4]\n y = {name}(4)(x)\n output y }}")))
        chance = np.random.default_rng(0)
        params = {p.name: chance.normal(0, 100, p.shape) for p in graph.params}
        found = oracle.run(graph, {"x": chance.normal(size=(30, 1, 4))}, params, dtype=np.float32).outputs["y"]
        assert np.isfinite(found).all(), name
