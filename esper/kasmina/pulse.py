"""Whether anything that the host asks of a seed still reaches what the seed is made of."""

import msgspec

from esper.kasmina.errors import SeedFault

# Steps in a row. A seed that is well feels something in every one; no draw of dropout misses a whole seed so often.
PATIENCE_STEPS = 32


class Pulse(msgspec.Struct):
    """Counts the steps in a row in which something was asked of a seed and none of its parameters felt it."""

    idle_steps: int = 0

    def beat(self, *, felt: bool) -> None:
        """Take note of one step in which something was asked.

        Raises:
            SeedFault: the seed is dead: no gradient has reached it for too long, so that it can never be another.
        """
        self.idle_steps = 0 if felt else self.idle_steps + 1
        if self.idle_steps >= PATIENCE_STEPS:
            raise SeedFault("dead", f"no gradient has reached its parameters for {self.idle_steps} steps")
