"""What becomes of events in SQL: one projection per noun, all of them append-only."""

from esper.nissa.projections.decisions import DECISIONS
from esper.nissa.projections.declared import Projection
from esper.nissa.projections.epochs import EPOCHS
from esper.nissa.projections.events import EVENTS
from esper.nissa.projections.gates import GATES
from esper.nissa.projections.jobs import JOBS
from esper.nissa.projections.kernels import KERNELS
from esper.nissa.projections.reports import REPORTS
from esper.nissa.projections.runs import RUNS
from esper.nissa.projections.seeds import SEEDS
from esper.nissa.projections.strangers import STRANGERS

PROJECTIONS: tuple[Projection, ...] = (EVENTS, RUNS, EPOCHS, SEEDS, GATES, DECISIONS, REPORTS, KERNELS, JOBS, STRANGERS)

__all__ = ["PROJECTIONS", "Projection"]
