"""Which stream holds which aggregate."""

from eventstore.store import StreamName


def run_stream(run_id: str) -> StreamName:
    """The training run itself: epochs, checkpoints, resumes."""
    return StreamName("run", run_id)


def seed_stream(run_id: str, seed_id: str) -> StreamName:
    """One growth slot of a run, through all the seeds that live in it."""
    return StreamName("seed", f"{run_id}-{seed_id}")


def policy_stream(run_id: str) -> StreamName:
    """What Tamiyo decided in a run."""
    return StreamName("policy", run_id)


def report_stream(run_id: str) -> StreamName:
    """Tamiyo's field reports on a run."""
    return StreamName("report", run_id)


def kernel_stream(kernel_key: str) -> StreamName:
    """The kernels registered for one specification."""
    return StreamName("kernel", kernel_key)


def job_stream(kernel_key: str) -> StreamName:
    """The one compile job of a specification."""
    return StreamName("job", kernel_key)


def seed_id_of(stream: StreamName) -> str:
    """The slot whose stream it is."""
    return stream.aggregate_id.rpartition("-")[2]
