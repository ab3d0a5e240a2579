"""rnnc: an ahead-of-time compiler for recurrent neural networks.

    net = rnnc.compile("charlm.rnn", hidden=256)
    out = net.run(x=x)

Importing this loads nothing else; every name below comes from its own file when it is first asked for.
"""

__version__ = "0.1.0"

_HOME = {
    "rnnc.errors": ("RnncError", "CompileError", "InputError", "NumberError", "ToolchainError"),
    "rnnc.runtime.net": ("Net",),
    "rnnc.runtime.state": ("State",),
    "rnnc.runtime.arrays": ("Signal",),
    "rnnc.runtime.optimisers": ("SGD", "Momentum", "Nesterov", "RMSprop", "Adadelta", "Adam", "AdamW"),
    "rnnc.runtime.few_numbers": ("SGDSaI", "Apollo", "GaLore"),
    "rnnc.runtime.fit": ("fit",),
    "rnnc.runtime.data": ("data",),            # the module itself
}
_PLACE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["compile", "load", *_PLACE]


def compile(source, model=None, *, dtype="float32", target="native", threads=None, gradient="parameters",
            weights="float32", memory_limit=None, check_numbers=False, seed=0, cache=True, sizes=None, **named_sizes):
    """The net of a program: a path, or program text (contains a newline).

    dtype     "float32" | "float64"
    threads   the most that a call may take, of the cores this process may use (None: all): the first calls of a shape
              try one thread and several, in every way the planner finds; the bits are the same
    gradient  None (inference only) | "parameters" | "all" (also inputs and initial state)
    weights   "float32" | "bfloat16": how the matrices that products inside loops read are packed | "int8": how those
              are that `quantize` gives 8 bits or fewer, to the same results; parameters, sums, gradients and optimisers
              stay float32
    memory_limit  bytes that a call of backprop may work in: a longer one goes in segments, each computed twice
    Sizes of the model are given by name; `sizes` is for names that are taken here.
    """
    from rnnc.runtime import ask
    settings = ask.options(dtype=dtype, target=target, threads=threads, gradient=gradient, weights=weights,
                           memory_limit=memory_limit, check_numbers=check_numbers, seed=seed, cache=cache)
    source, sizes = ask.source(source), ask.sizes(sizes, named_sizes)
    from rnnc import pipeline
    return pipeline.compile_net(source, ask.model(model), pipeline.Options(**settings), sizes)


def load(path):
    """The net of a module that was built before: the folder that holds it."""
    from rnnc.runtime.module import load as load_module
    from rnnc.runtime.net import Net
    return Net(load_module(path))


def __getattr__(name):
    from importlib import import_module
    if name not in _PLACE:
        raise AttributeError(f"module 'rnnc' has no attribute {name!r}")
    module = import_module(_PLACE[name])
    globals()[name] = value = module if name == "data" else getattr(module, name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
