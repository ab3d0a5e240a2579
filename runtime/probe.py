"""Inner signals on demand: a variant of the net, built from the same program, that has them as outputs too; and the
variant whose `run` draws random numbers."""

from rnnc.errors import InputError, RnncError
from rnnc.runtime.wanted import names as names_of
from rnnc.runtime.words import unknown


def probed(net, probe, inputs: dict, training: bool = False):
    """`net` with the signals that `probe` names among its outputs: same parameters, same state. `training`: random
    operators are at work in `run`."""
    names = names_of("probe", probe, "signal")
    known = {p["name"]: p for p in net.manifest.get("probes") or ()}
    for name in names:
        if name not in known and name not in net.outputs:
            raise unknown("signal", name, known)
        missing = [t for t in net.targets if t not in inputs]
        if missing and (name in net.targets or known.get(name, {}).get("targets")):
            raise InputError(f"probe: {name} depends on a target; {', '.join(missing)} is missing")
    names = tuple(n for n in names if n not in net.outputs)
    training = training and bool(net.manifest.get("random"))
    if not names and training == net._training:
        return net
    if (names, training) not in net._variants:
        net._variants[names, training] = _variant(net, names, training)
    made = net._variants[names, training]
    made.seed, made.draws = net.seed, net.draws
    return made


def _variant(net, names: tuple[str, ...], training: bool):
    if net._make_variant is None:
        raise InputError(f"{'probe' if names else 'training'}: this net was loaded without its program text")
    module = net._make_variant(names, training)
    if [p["name"] for p in module.manifest["params"]] != [p["name"] for p in net.manifest["params"]]:
        raise RnncError("the variant for probe= has other parameters")
    made = type(net)(module, threads=net.threads, weights=net._weights)
    made._training = training
    return made
