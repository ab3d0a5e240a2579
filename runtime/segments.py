"""Training calls within a limit of memory: how many frames of a call are kept at a time.

A call that fits is computed at once. A longer one goes in segments (P_backprop_in_segments): forwards keeping only the
state at each segment's start, then back, running each segment once more. It costs a second run forwards, and the
memory of the longest segments that fit, plus a state for each. Segments are whole chunks of the schedule, and the bits
are those of the call at once.
"""

from rnnc.errors import InputError
from rnnc.runtime.trial import tried


def backwards(net, function, call, state, loss) -> int:
    """One training call, whole or in segments; the C's code. `function`: P_backprop."""
    length = segment(net, net.memory_limit, call.frames, call.streams)
    if length is None:
        work, packed = net._workspace(("backprop", call.frames, call.streams)), net._pack()
        return tried(net, "backprop", call, lambda threads: function(
            packed, state._pointer, call.struct, net.module.ffi.NULL, call.frames, call.streams, work, threads,
            net._vector(net.gradient), loss))
    work = net._workspace(("backprop", call.frames, call.streams, length))
    return net.module.function("backprop_in_segments")(
        net._pack(), state._pointer, call.struct, call.frames, call.streams, length, work, net._threads(),
        net._vector(net.gradient), loss)


def segment(net, limit: int | None, frames: int, streams: int) -> int | None:
    """Frames of a segment; None: all at once."""
    if limit is None or frames == 0:
        return None
    if not net.manifest.get("segments"):
        raise InputError("memory_limit: this net cannot go in segments; compile it with memory_limit=bytes")
    whole = net._bytes("backprop", frames, streams)
    if whole <= limit:
        return None
    each = net.module.function("segment_frames")(streams)
    chunks = -(-frames // each)
    least, best, longest = whole, frames, chunks
    while longest > 1:
        longest = min(longest - 1, longest * 8 // 9)            # nearly the longest that fits
        length = longest * each
        needed = net._bytes("backprop", frames, streams, length)
        if needed <= limit:
            return length
        if needed < least:
            least, best = needed, length
    raise InputError(f"memory_limit: {limit} bytes are too few for {frames} frames of {streams} "
                     f"stream{'s' * (streams != 1)}, which need at least {least} (in segments of {best})")
