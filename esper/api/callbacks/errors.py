"""What a callback for another library's training loop can meet.

EsperError
├── TrainerRefused   the loop is set up to do what a growing model cannot take part in
├── TrainerAstray    the loop begins at another step than the run
└── LossUnseen       an optimizer step was made and no loss was seen
"""

from esper.api.errors import EsperError


class TrainerRefused(EsperError):
    """The loop is set up for something that growth does not work with; nothing was recorded."""

    def __init__(self, loop: str, what: str, cure: str) -> None:
        self.loop, self.what, self.cure = loop, what, cure
        super().__init__(f"{loop} is set up with {what}, which a growing model cannot take part in: {cure}")


class TrainerAstray(EsperError):
    """The loop begins at another optimizer step than the run that it is to go on with."""

    def __init__(self, loop: str, loop_step: int, run_id: str, run_step: int, cure: str) -> None:
        self.loop_step, self.run_id, self.run_step = loop_step, run_id, run_step
        super().__init__(f"{loop} begins at step {loop_step}, run {run_id} goes on from step {run_step}: {cure}")


class LossUnseen(EsperError):
    """An optimizer step was made without a loss that Esper could see."""

    def __init__(self, cure: str) -> None:
        super().__init__(f"the optimizer has stepped, and no loss was seen: {cure}")
