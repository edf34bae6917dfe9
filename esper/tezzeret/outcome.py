"""What the forge's child process leaves behind in its scratch folder, and the lines it exchanges with the forge."""

from pathlib import Path
from typing import TypeAlias

import msgspec

SPEC_FILE = "spec.bin"
OUTCOME_FILE = "outcome.json"
OUTPUT_FILE = "output.log"


class StageTiming(msgspec.Struct, frozen=True, kw_only=True):
    """One stage that was completed: its CompileStage by name, how long it took, and a digest of what it made."""

    stage: str
    duration_ms: float
    sha256: str = ""
    detail: str = ""


class Forged(msgspec.Struct, frozen=True, kw_only=True, tag="forged"):
    """A kernel was made; its parts lie beside this page. `verdict` is an EngineVerdict by name.

    While `compiling`, it is the eager kernel that can be served if the compiler crashes or takes too long.
    """

    compiling: bool = False
    guard_digest: str
    verdict: str
    eager_fallback: bool
    fallback_reason: str
    compile_ms: float
    eager_ms: tuple[float, ...]
    compiled_ms: tuple[float, ...]
    peak_rss_mib: float
    torch_version: str
    host: str
    stages: tuple[StageTiming, ...]


class NotForged(msgspec.Struct, frozen=True, kw_only=True, tag="not_forged"):
    """No kernel could be made, for one of the reasons of FailCompileAttempt."""

    reason: str
    detail: str
    stages: tuple[StageTiming, ...]


Outcome: TypeAlias = Forged | NotForged


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Leave *outcome* in *folder*, whole or not at all."""
    draft = folder / f"{OUTCOME_FILE}.draft"
    draft.write_bytes(msgspec.json.encode(outcome))
    draft.replace(folder / OUTCOME_FILE)


def read_outcome(folder: Path) -> Outcome | None:
    """Return what the child left in *folder*; None if it ended before it was done."""
    page = folder / OUTCOME_FILE
    return msgspec.json.decode(page.read_bytes(), type=Outcome) if page.exists() else None


class Forge(msgspec.Struct, frozen=True, tag="forge"):
    """To the compiler: forge the specification in the folder *scratch*."""

    scratch: str


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """To the compiler: kill what you are forging."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From the compiler: everything is loaded."""


class Started(msgspec.Struct, frozen=True, tag="started"):
    """From the compiler: the process *pid* is at work."""

    pid: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """From the compiler: that process has ended; a negative *code* is the signal that killed it."""

    code: int


Order: TypeAlias = Forge | Kill
Word: TypeAlias = Ready | Started | Ended
