"""The list that threads walk through a program, as C: steps, their stages, what each waits for and costs.

In: a placed schedule. Out: the views of its steps, and the tables of runtime/crews.h and runtime/plan.h. What stages
cost says how many threads a call is worth; a program in which there is nothing to choose is run by all of them
together, and needs no other table.
"""

from rnnc.plan.crews import Work, by_streams, several, works
from rnnc.plan.needs import needs
from rnnc.plan.schedule import Fold, Schedule
from rnnc.plan.waves import small
from rnnc.target.view import StepView, Turn

KINDS = {"chunk": "RN_CHUNK", "room": "RN_ROOM", "whole": "RN_WHOLE"}


class Crews:
    def __init__(self, made: Schedule, number: int):
        """`number`: bytes of a number."""
        self.made = made
        self.several = several(made)
        self.needs = needs(made)
        self.works: tuple[Work, ...] = works(made, self.needs, number)

    def steps(self, names: list[str], parts: list[str]) -> list[StepView]:
        """`names`: the stage functions; `parts`: of a call in segments, when they have something to do."""
        table = lambda s: f"{self.made.program}_{s}_needs" if self.several and self.needs[s] else "NULL"
        turn = lambda s: Turn(names[s], s, table(s), len(self.needs[s]) * self.several,
                              isinstance(self.made.stages[s], Fold), parts[s])
        return [StepView(tuple(map(turn, step.stages)), step.direction, step.rows, step.frames, step.fine)
                for step in self.made.steps]

    def tables(self, program: str) -> list[str]:
        """Declarations, one line each."""
        if not self.several:
            return []
        lines = []
        for s, found in enumerate(self.needs):
            if found:
                entries = ", ".join(f"{{{need.stage}, {KINDS[need.kind]}}}" for need in found)
                lines.append(f"static const rn_need {program}_{s}_needs[] = {{ {entries} }};")
        ways = ", ".join(self.way(stage) for stage in self.made.stages)
        lines.append(f"static const unsigned char {program}_streams[] = {{ {ways} }};")
        return lines

    def efforts(self, program: str) -> list[str]:
        """What each stage costs, one line each."""
        if not self.works:
            return []
        lines = [f"static const rn_effort {program}_works[] = {{"]
        for w in self.works:
            counts = ", ".join(f"{value:.6g}" for value in (w.flops, w.numbers, w.bytes))
            whole = f"{w.panels}, {w.meetings}, {w.frames}, {w.wave}, {w.group}, {w.fine}, {w.step}"
            lines.append(f"    {{{counts}, {whole}}},")
        return [*lines, "};"]

    def planned(self, program: str) -> str:
        """The tables as arguments."""
        if not self.works:
            return "NULL, NULL, 0"
        return f"{program}_works, {f'{program}_streams' if self.several else 'NULL'}, {len(self.works)}"

    def way(self, stage) -> str:
        """Whether its threads may take streams (plan.h)."""
        return "RN_NEVER" if not by_streams(stage) else "RN_SMALL" if small(stage) else "RN_LARGE"
