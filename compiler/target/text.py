"""What a program is in C: function texts, and the statements that prepare and finish a call."""

from dataclasses import dataclass, field

from rnnc.target.access import Needs
from rnnc.target.crews import Crews
from rnnc.target.view import StepView


@dataclass(frozen=True)
class Handed:
    """A value that is read ahead: its first frames go to the segment before."""

    frames: int
    bytes: str                                                  # of a row, as C
    place: str                                                  # of row r

    @property
    def bytes_of_all(self) -> str:
        """Of one stream."""
        return f"{self.frames} * (int)({self.bytes})"


@dataclass
class ProgramText:
    name: str
    finders: dict[str, str] = field(default_factory=dict)       # functions that find a row, by their names
    kernels: dict[str, str] = field(default_factory=dict)       # and those that compute some; sums, too
    stages: list[str] = field(default_factory=list)             # one function each
    steps: list[StepView] = field(default_factory=list)         # which stage functions run when
    fields: dict[str, str] = field(default_factory=dict)        # field of rn_call -> C type
    layout: list[str] = field(default_factory=list)             # statements that give out the workspace
    prepare: list[str] = field(default_factory=list)            # before the threads start
    leave: list[str] = field(default_factory=list)              # after they are done, of the state
    finish: list[str] = field(default_factory=list)             # and of everything else
    handed: list[Handed] = field(default_factory=list)          # from segment to segment
    needs: Needs = field(default_factory=Needs)
    crews: Crews | None = None                                  # what stages wait for, and what they cost
    work: int = 0                                               # floating point operations of a row, products only

    @property
    def functions(self) -> list[str]:
        """All, in their order."""
        return [*self.finders.values(), *self.kernels.values(), *self.stages]
