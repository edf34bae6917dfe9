"""One live line while the network trains; plain lines where there is no terminal."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import EpochFacts
from ops.demo.endings import Ending

SHOWN_STAGES = (
    Stage.SEED_STAGE_GERMINATED,
    Stage.SEED_STAGE_TRAINING,
    Stage.SEED_STAGE_BLENDING,
    Stage.SEED_STAGE_SHADOWING,
    Stage.SEED_STAGE_PROBATIONARY,
    Stage.SEED_STAGE_FOSSILIZED,
    Stage.SEED_STAGE_CULLED,
)


class Progress:
    """Shows each epoch as it ends. A context manager: the line stays on screen when it is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._epochs = 0

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print *text* above the live line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start(self, run_id: str, epochs_done: int, epochs: int) -> None:
        """Say which run this is, and where it continues if it is a resumed one."""
        self._epochs = epochs
        continued = f", continued after epoch {epochs_done}" if epochs_done else ""
        self.say(f"run {run_id}{continued}")

    def epoch_ended(self, facts: EpochFacts, endings: Sequence[Ending]) -> None:
        """Show what was measured about the epoch that ended, and which seeds ended with it."""
        for ending in endings:
            self.say(str(ending))
        line = epoch_line(facts, self._epochs)
        if self._live is not None:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.say(line)


def epoch_line(facts: EpochFacts, epochs: int) -> str:
    """Return epoch, loss, score, parameters and the number of seeds in each stage, in one line."""
    score = f"{facts.score:.2%}" if facts.HasField("score") else "not measured"
    growing = f" (+{facts.growing_parameters:,} growing)" if facts.growing_parameters else ""
    return (
        f"epoch {facts.at.epoch}/{epochs} · loss {facts.train_loss:.4f} · held-out {score}"
        f" · {facts.model_parameters:,} parameters{growing} · {seeds_by_stage(facts)}"
    )


def seeds_by_stage(facts: EpochFacts) -> str:
    """Return how many seeds are in each stage, as words."""
    counted = Counter(seed.stage for seed in facts.seeds)
    shown = [f"{counted[stage]} {stage_word(stage)}" for stage in SHOWN_STAGES if counted[stage]]
    return ", ".join(shown) if shown else "no seed now"


def stage_word(stage: Stage) -> str:
    """Return the stage as a plain word: "training"."""
    return Stage.Name(stage).removeprefix("SEED_STAGE_").lower()
