"""Random expressions of the language, typed by shape and kept tame, for tests/random_programs.py.

Operators with kinks get an odd constant, so that no kink lies exactly on a start's zeros.
"""

from random_leaves import LIMIT, Leaves, Value

from rnnc.graph.ops.declared import SURROGATES


class Expressions(Leaves):
    """Draws expressions within one body: one method for each form, which may decline by None."""

    def value(self, shape: tuple[int, ...], deep: int) -> Value:
        """An expression of this shape, at most `deep` operators deep, bounded by LIMIT."""
        if deep <= 0:
            return self.tame(self.leaf(shape))
        forms = [self.whole] * (3 * self.sequences)
        forms += [self.unary, self.unary, self.binary, self.binary, self.choice, self.extreme, self.later, self.helped,
                 self.halted, self.declared, self.drawn, self.leafy]
        if len(shape) == 1:
            forms += [self.applied, self.applied, self.applied, self.joined, self.part, self.softmaxed, self.lined,
                      self.along, self.repeated, self.state_product, self.row, self.normalised, self.lingering]
        elif not shape:
            forms += [self.reduced, self.reduced, self.dotted, self.taken, self.scalar_of_condition]
        else:
            forms += [self.outer, self.outer, self.turned, self.squared, self.softmaxed, self.matrix_product]
        for _ in range(8):
            made = self.chance.choice(forms)(shape, deep - 1)
            if made is not None:
                return self.tame(made)
        return self.tame(self.leaf(shape))

    def leafy(self, shape, deep) -> Value:
        return self.leaf(shape)

    # ---------------------------------------------------------------------------------------- any shape

    def unary(self, shape, deep) -> Value:
        a = self.value(shape, deep)
        form, bound = self.chance.choice([
            ("sigmoid(%)", 1), ("tanh(%)", 1), ("relu(% + 0.137)", a.bound + 1), ("exp(-abs(% - 0.091))", 1),
            ("exp(tanh(%))", 2.8), ("log(1.3 + abs(% + 0.071))", 2), ("log(0.1 + sigmoid(%))", 2.4),
            ("sqrt(% ^ 2 + 0.2)", a.bound + 0.5), ("abs(% + 0.211)", a.bound + 0.3), ("sign(% - 0.159)", 1),
            ("floor(% + 0.377)", a.bound + 1), ("mod(% + 0.263, 1.7)", 1.7), ("sin(%)", 1), ("cos(%)", 1),
            ("erf(%)", 1), ("softplus(%)", a.bound + 1), ("silu(%)", a.bound), ("gelu(%)", a.bound),
            ("-%", a.bound), ("% ^ 2", a.bound ** 2), ("% ^ 3", a.bound ** 3), ("(abs(% + 0.113) + 0.4) ^ 0.7", 3),
            (f"clip(%, {self.number(-0.9, -0.7)}, {self.number(1, 1.3)})", 1.3),
            ("1 - %", a.bound + 1), ("% / 3", a.bound / 3), ("+%", a.bound)])
        self.note(form.replace("%", "").split("(")[0].strip() or "unary " + form)
        text = form.replace("%", a.operand)
        return Value(text, a.shape, bound, text.endswith(")") and text.startswith(form.split("(")[0] + "(")
                     and form[0].isalpha())

    def binary(self, shape, deep) -> Value:
        a = self.value(shape, deep)
        scalar = bool(shape) and self.maybe(0.3)
        b = self.value(() if scalar else shape, deep)
        if scalar:
            self.note("scalar with array")
        op = self.chance.choice(["+", "-", "*", "*", "/", "^"])
        self.note(f"binary {op}")
        if op == "/":
            return Value(f"{a.operand} / (1.2 + {b.operand} ^ 2)", shape, a.bound)
        if op == "^":
            return Value(f"(abs({a.operand} + 0.083) + 0.5) ^ tanh({b.text})", shape, a.bound + 2)
        if scalar and self.maybe(0.5):
            a, b = b, a
        bound = a.bound * b.bound if op == "*" else a.bound + b.bound
        return Value(f"{a.operand} {op} {b.operand}", shape, bound)

    def condition(self, shape, deep) -> Value:
        kind = self.chance.choice(["compare", "compare", "flag", "label", "time", "logic"])
        flag, label = self.readable(lambda s: s.kind == "flag"), self.readable(lambda s: s.kind == "class")
        if kind == "flag" and flag:
            self.note("flag")
            return self.read(flag)
        if kind == "label" and label:
            self.note("comparison of a label")
            op = self.chance.choice(["==", "!=", "<", ">", "<=", ">="])
            return Value(f"{self.read(label).text} {op} {self.chance.randrange(label.classes)}")
        if kind == "time" and not self.still:
            self.note("comparison of t")
            return Value(self.chance.choice(["mod(t, 3) == 1", "t < 4", "t >= 2", "mod(t, 2) != 0"]))
        if kind == "logic" and (deep > 0 or self.maybe(0.5)):
            op = self.chance.choice(["and", "or", "not"])
            self.note(op)
            a, b = self.condition(shape, deep - 1), self.condition(shape, deep - 1)
            text = f"not {a.operand}" if op == "not" else f"{a.operand} {op} {b.operand}"
            return Value(text, max(a.shape, () if op == "not" else b.shape, key=len))
        at = shape if self.maybe(0.6) else ()
        op = self.chance.choice(["<", ">", "<=", ">="])
        self.note(f"compare {op}")
        return Value(f"{self.value(at, deep - 1).operand} + 0.119 {op} {self.value(at, deep - 1).operand}", at)

    def choice(self, shape, deep) -> Value:
        self.note("where")
        a, b = self.value(shape, deep), self.value(shape if self.maybe(0.8) else (), deep)
        condition = self.condition(shape, deep)
        return Value(f"where({condition.text}, {a.text}, {b.text})", shape, max(a.bound, b.bound), True)

    def scalar_of_condition(self, shape, deep) -> Value:
        return Value(self.condition((), deep).operand)

    def extreme(self, shape, deep) -> Value:
        name = self.chance.choice(["min", "max"])
        self.note(f"elementwise {name}")
        a, b = self.value(shape, deep), self.value(shape if self.maybe(0.7) else (), deep)
        return Value(f"{name}({a.text}, {b.operand} + 0.147)", shape, max(a.bound, b.bound) + 0.2, True)

    def later(self, shape, deep) -> Value | None:
        """A delayed expression: its signals are delayed. Not in a loop, where it could break the loop's order."""
        if self.ring or self.still:
            return None
        self.still += 1
        a = self.value(shape, deep)
        self.still -= 1
        ahead = self.maybe(0.2) and "look-ahead" not in self.without
        self.note("delayed expression", *["look-ahead"] * ahead)
        return Value(f"({a.text})[t{'+' if ahead else '-'}{self.chance.choice([1, 1, 2, 3])}]", shape, a.bound, True)

    def helped(self, shape, deep) -> Value | None:
        found = [h for h in self.helpers if not (h[2] and (self.still or self.ring))]
        if not found:
            return None
        name, count, _ = self.chance.choice(found)
        self.note("fn")
        args = [self.value(shape, deep) for _ in range(count)]
        return Value(f"{name}({', '.join(a.text for a in args)})", shape, 2 * max(a.bound for a in args) ** 2, True)

    def halted(self, shape, deep) -> Value:
        self.note("stop_gradient")
        a = self.value(shape, deep)
        return Value(f"stop_gradient({a.text})", shape, a.bound, True)

    def declared(self, shape, deep) -> Value:
        """A value whose derivative is declared."""
        form = self.chance.choice(["spike", "quantize", "quantize", "straight_through"])
        self.note(form)
        a = self.value(shape, deep)
        if form == "spike":
            surrogate = self.chance.choice(["", *(f", surrogate = {name}" for name in SURROGATES)])
            slope = self.chance.choice(["", f", slope = {self.number(0.5, 3)}"])
            return Value(f"spike({a.operand} - 0.161{surrogate}{slope})", shape, 1.0, True)
        if form == "quantize":
            step = self.number(0.1, 0.9) if self.maybe(0.7) else f"({self.param(())} ^ 2 + 0.2)"
            bits = self.chance.choice([2, 3, 4, 8])
            return Value(f"quantize({a.text}, {bits}, {step})", shape, a.bound + 1, True)
        b = self.value(shape if self.maybe(0.8) else (), deep)
        return Value(f"straight_through(sign({a.operand} + 0.157), {b.text})", shape, 1.0, True)

    def drawn(self, shape, deep) -> Value:
        """A value with something random in it."""
        per = self.chance.choice(["", "", ", per = frame", ", per = sequence"])
        a = self.value(shape, deep)
        if self.maybe(0.6):
            self.note("dropout per sequence" if "sequence" in per else "dropout")
            return Value(f"dropout({a.text}, {self.number(0.1, 0.7)}{per})", shape, 3 * a.bound, True)
        self.note("noise")
        std = self.number(0.01, 0.3) if self.maybe(0.7) else f"0.1 * {self.value(shape, deep).operand}"
        return Value(f"{a.operand} + noise({std}{per})", shape, a.bound + 2)

    def whole(self, shape, deep) -> Value:
        """Made of all frames of a sequence; inside a loop, of what the loop does not make."""
        ring, self.ring = self.ring, None
        a = self.value(shape, deep)
        self.ring = ring
        form, bound = self.chance.choice([
            ("last(%)", a.bound), ("last(%)", a.bound), ("sum_over(t, %)", 20 * a.bound), ("mean_over(t, %)", a.bound),
            ("max_over(t, % + 0.3 * sin(0.7 * t + 0.2))", a.bound + 0.3), ("softmax_over(t, %)", 1.0),
            (f"permute_time(%, {self.order()})", a.bound)])
        self.note(form.split("(")[0])
        return Value(form.replace("%", a.operand), shape, bound, True)

    def order(self) -> list[int]:
        places = list(range(self.chance.choice([1, 2, 3, 4, 7])))
        self.chance.shuffle(places)
        return places

    def softmaxed(self, shape, deep) -> Value:
        name = self.chance.choice(["softmax", "softmax", "logsoftmax"])
        a = self.value(shape, deep)
        axis = f", axis = {self.chance.randrange(2)}" if len(shape) == 2 else ""
        self.note(name + (" of a matrix" if axis else ""))
        return Value(f"{name}({a.text}{axis})", shape, 1 if name == "softmax" else 2 * a.bound + 3, True)

    # ---------------------------------------------------------------------------------------- vectors

    def applied(self, shape, deep) -> Value:
        """A matrix times a vector, or the column of a label."""
        label = self.readable(lambda s: s.kind == "class")
        if label and not self.generic and self.maybe(0.2):
            self.note("column")
            read = self.read(label).text
            if self.sequences and not self.ring and self.maybe(0.4):
                self.note("label of a sequence")
                read = f"last({read})" if self.maybe(0.5) else f"permute_time({read}, {self.order()})"
            return Value(f"{self.matrix(shape[0], label.classes)} @ {read}", shape, 1.5)
        a = self.vector(deep)
        self.note("matrix times vector")
        return Value(f"{self.matrix(shape[0], a.shape[0])} @ {a.operand}", shape, 1.5 * a.bound)

    def joined(self, shape, deep) -> Value | None:
        if shape[0] < 2 or self.generic:
            return None
        k = self.chance.randint(1, shape[0] - 1)
        a, b = self.value((k,), deep), self.value((shape[0] - k,), deep)
        self.note("concat")
        return Value(f"concat({a.text}, {b.text})", shape, max(a.bound, b.bound), True)

    def part(self, shape, deep) -> Value | None:
        if self.generic:
            return None
        signal = self.readable(lambda s: s.kind == "real" and len(s.shape) == 1 and s.shape[0] >= shape[0])
        more = self.chance.randint(0, 3)
        a = self.read(signal) if signal else self.value((shape[0] + more,), deep)
        low = self.chance.randint(0, a.shape[0] - shape[0])
        self.note("slice")
        return Value(f"{a.operand}[{low}:{low + shape[0]}]", shape, a.bound, True)

    def lined(self, shape, deep) -> Value | None:
        """A matrix laid out as a vector."""
        rows = next((k for k in (2, 3, 4) if shape[0] % k == 0), None)
        if self.generic or rows is None:
            return None
        a = self.value((rows, shape[0] // rows), deep)
        self.note("reshape to a vector")
        return Value(f"reshape({a.text}, {self.sizes(shape)})", shape, a.bound, True)

    def along(self, shape, deep) -> Value | None:
        """A reduction along one axis of a matrix."""
        if shape[0] > 8 and not self.generic:
            return None
        other = self.known_size() if self.generic else self.chance.choice([2, 3, 5])
        axis = self.chance.randrange(2)
        a = self.value((other, shape[0]) if axis == 0 else (shape[0], other), deep)
        name = self.chance.choice(["sum", "mean", "max", "min", "logsumexp"])
        self.note(f"{name} along an axis")
        bound = {"sum": a.bound * 5, "logsumexp": a.bound + 5}.get(name, a.bound)
        a = self.untied(a) if name in ("max", "min") else a
        return Value(f"{name}({a.text}, axis = {axis})", shape, bound, True)

    def repeated(self, shape, deep) -> Value | None:
        """A static repetition over a family of matrices and several frames."""
        if self.still or self.ring and self.ring.direction < 0:
            return None
        if self.ring:
            signal = self.readable(lambda s: s.name in self.ring.least and len(s.shape) == 1)
            first = max(1, self.ring.least.get(signal.name, 1)) if signal else 1
        else:
            signal, first = self.readable(lambda s: s.kind == "real" and len(s.shape) == 1), self.chance.randint(0, 2)
        if signal is None:
            return None
        k = self.chance.randint(2, 3)
        self.reads.setdefault(signal.name, set()).update(range(first, first + k))
        back = f"{signal.name}[t-i-{first}]" if first else f"{signal.name}[t-i]"
        over = f"0..{k}" if self.maybe(0.7) else f"[{', '.join(str(i) for i in range(k))}]"
        form = self.chance.choice(["sum", "sum", "max", "product", "concat", "window"])
        self.note(f"repetition {form}")
        if form == "window" and first == 0 and not self.ring and not self.generic:
            return Value(f"{self.param((shape[0], k * signal.shape[0]))} @ window({signal.name}, {k})", shape, 3.0)
        if form == "concat" and not self.generic:
            weights = self.param((shape[0], k * signal.shape[0]))
            return Value(f"{weights} @ concat(i in {over} : {back})", shape, 3.0)
        self.note("family")
        family = self.param((shape[0], signal.shape[0]), family=k)
        form = form if form in ("max", "product") else "sum"
        each = f"{family}[i] @ {back}" + (" + 0.173 * i" if form == "max" else "")
        if form == "product":
            each = f"0.5 * {each} + 0.3"
        return Value(f"{form}(i in {over} : {each})", shape, 3.0 * signal.bound, True)

    def state_product(self, shape, deep) -> Value | None:
        """A matrix signal times a vector."""
        signal = self.readable(lambda s: s.kind == "real" and len(s.shape) == 2 and shape[0] in s.shape)
        if signal is None:
            return None
        turned = signal.shape[0] != shape[0]
        inner = signal.shape[0] if turned else signal.shape[1]
        a = self.read(signal)
        self.note("matrix signal times vector")
        text = f"transpose({a.text})" if turned else a.text
        return Value(f"{text} @ {self.value((inner,), deep).operand}", shape, 3 * signal.bound)

    def row(self, shape, deep) -> Value | None:
        """An embedding: the row or the place that a label names."""
        label = self.readable(lambda s: s.kind == "class")
        if label is None or self.generic:
            return None
        self.note("one_hot" if label.classes == shape[0] else "take a row")
        if label.classes == shape[0]:
            return Value(f"one_hot({self.read(label).text})", shape, 1.0, True)
        return Value(f"take({self.param((label.classes, shape[0]))}, {self.read(label).text})", shape, 1.0, True)

    def normalised(self, shape, deep) -> Value | None:
        if "cells" in self.without or shape[0] < 2:
            return None
        name = self.chance.choice(["layer_norm", "rms_norm"])
        self.note(name)
        return Value(f"{name}(0.1)({self.value(shape, deep).text})", shape, 4.0, True)

    def lingering(self, shape, deep) -> Value | None:
        """A value that may hold still; in a loop forwards it joins the loop."""
        if "cells" in self.without or self.still or self.ring and self.ring.direction < 0:
            return None
        self.note("zoneout")
        a = self.value(shape, deep)
        return Value(f"zoneout({self.number(0.1, 0.6)})({a.text})", shape, a.bound, True)

    # ---------------------------------------------------------------------------------------- scalars

    def reduced(self, shape, deep) -> Value:
        a = self.value((self.known_size(), self.known_size()), deep) if self.maybe(0.15) else self.vector(deep)
        name = self.chance.choice(["sum", "mean", "max", "min", "logsumexp", "norm"])
        self.note(name)
        a = self.untied(a) if name in ("max", "min") else a
        text = f"norm({a.operand} + 0.1)" if name == "norm" else f"{name}({a.text})"
        return Value(text, (), {"mean": 1, "max": 1, "min": 1}.get(name, 6) * a.bound, True)

    def untied(self, value: Value) -> Value:
        """The value with a parameter added: after a start all entries may be equal, and none of them the largest."""
        apart = self.param(value.shape, rule="~ uniform(-0.6, 0.6)")
        return Value(f"{value.operand} + {apart}", value.shape, value.bound + 0.6)

    def dotted(self, shape, deep) -> Value:
        a = self.vector(deep)
        self.note("dot")
        return Value(f"dot({a.text}, {self.value(a.shape, deep).text}) / {self.size(a.shape[0])}", (), a.bound * LIMIT)

    def taken(self, shape, deep) -> Value | None:
        a = self.vector(deep)
        label = self.readable(lambda s: s.kind == "class")
        self.note("take")
        if label and self.maybe(0.5):
            return Value(f"take({a.text}, {self.read(label).text})", (), a.bound, True)
        if self.maybe(0.5) and not self.still:
            return Value(f"take({a.text}, mod(t, {self.chance.choice([2, 3, 5])}))", (), a.bound, True)
        self.note("argmax")
        b = self.vector(deep)
        bias = self.param(b.shape)
        return Value(f"take({a.text}, argmax({b.operand} + {bias}))", (), a.bound, True)

    # ---------------------------------------------------------------------------------------- matrices

    def outer(self, shape, deep) -> Value:
        a, b = self.value(shape[:1], deep), self.value(shape[1:], deep)
        self.note("outer")
        return Value(f"outer({a.text}, {b.text})", shape, a.bound * b.bound, True)

    def turned(self, shape, deep) -> Value:
        a = self.value(shape[::-1], deep)
        self.note("transpose")
        return Value(f"transpose({a.text})", shape, a.bound, True)

    def squared(self, shape, deep) -> Value | None:
        if self.generic:
            return None
        a = self.value((shape[0] * shape[1],), deep)
        self.note("reshape to a matrix")
        return Value(f"reshape({a.text}, {self.sizes(shape)})", shape, a.bound, True)

    def matrix_product(self, shape, deep) -> Value:
        inner = self.known_size() if self.generic else self.chance.choice([2, 3])
        if self.maybe(0.6):
            self.note("matrix times matrix signal")
            return Value(f"{self.matrix(shape[0], inner)} @ {self.value((inner, shape[1]), deep).operand}", shape, 6.0)
        self.note("product of matrix signals")
        a, b = self.value((shape[0], inner), deep), self.value((inner, shape[1]), deep)
        return Value(f"{a.operand} @ {b.operand}", shape, 8.0)
