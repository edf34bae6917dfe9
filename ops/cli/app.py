"""The `esper` command and where each of its subcommands lives; a subcommand is imported when it is used."""

from cyclopts import App, Group

TRAINING = Group("Training", sort_key=0)
STACK = Group("Stack", sort_key=1)
HISTORY = Group("History", sort_key=2)
QUESTIONS = Group("Questions", sort_key=3)
FABRIC = Group("Fabric", sort_key=4)

app = App(
    name="esper",
    help="Neural networks that grow while they train: run the local stack, and ask the log what happened and why.",
    help_epilogue=(
        "`esper why latest 1042` - why did that happen? · `esper replay latest --at 1041` - what was true then?"
    ),
    help_format="markdown",
    version_flags=(),
)

for group, target, summary in (
    (TRAINING, "ops.demo.command:demo", "Grow a small network on real images, then say what to type next."),
    (STACK, "ops.cli.stack:up", "Start the local stack in the background; ready when this returns."),
    (STACK, "ops.cli.stack:down", "Stop the local stack; the data stays."),
    (STACK, "ops.cli.stack:status", "Show who is alive and where to connect."),
    (HISTORY, "ops.cli.history:runs", "List the training runs that the log holds."),
    (HISTORY, "ops.cli.history:events", "Show what happened in a run, one sentence per event."),
    (HISTORY, "ops.cli.replay:replay", "Show a run as it stood at a position, or verify its whole history."),
    (HISTORY, "ops.cli.why:why", "Walk back from an event to what caused it, with the numbers that decided."),
    (HISTORY, "ops.cli.acknowledge:acknowledge", "Let a run go on that was halted."),
    (HISTORY, "ops.cli.fork:fork", "Make a new run of a run's past, to go on from there."),
    (TRAINING, "ops.cli.freeze:freeze", "Let nothing grow in a run any more; it trains on."),
    (TRAINING, "ops.cli.freeze:thaw", "Let the growth of a frozen run go on."),
    (HISTORY, "ops.cli.bake:bake", "Write what a run has grown to a folder that needs only torch."),
    (QUESTIONS, "ops.cli.query:query", "Ask the projections a question in SQL."),
    (QUESTIONS, "ops.cli.query:project", "Rebuild the projections from the log."),
    (QUESTIONS, "ops.cli.version:version", "Show the versions that matter in a bug report."),
):
    app.command(target, group=group, help=summary)

log = App(name="log", group=HISTORY, help="Check, copy and move the log itself.", version_flags=())
app.command(log)

for target, summary in (
    ("ops.cli.log_commands:verify", "Check every commit of the log, or of an archive file."),
    ("ops.cli.log_commands:export", "Write a run into one file that can be verified anywhere."),
    ("ops.cli.log_commands:import_", "Put an exported run into this log."),
    ("ops.cli.log_commands:backup", "Copy the whole log and its blobs, and try the copy."),
    ("ops.cli.log_commands:restore", "Put a backup back where there is no log."),
):
    log.command(target, name=target.partition(":")[2].removesuffix("_"), help=summary)
dead = App(name="dead", group=FABRIC, help="Messages that were given up: read them, queue them again, or drop them.")
app.command(dead)
for name, function, summary in (
    ("list", "list_letters", "List the dead letters, oldest first."),
    ("show", "show", "Show one dead letter whole: where it was, why it was given up, what it holds."),
    ("retry", "retry", "Queue a dead letter's command once more; recorded first."),
    ("drop", "drop", "Remove a dead letter and its bytes; recorded first."),
):
    dead.command(f"ops.cli.dead:{function}", name=name, help=summary)
blobs = App(name="blobs", group=FABRIC, help="Where weights, kernels and checkpoints are kept.", version_flags=())
app.command(blobs)
blobs.command("ops.cli.blobs:share", name="share", help="Keep them on the server, for machines that share no disk.")
blobs.command("ops.cli.blobs:sweep", name="sweep", help="Remove what only expired checkpoints hold.")
breaker = App(name="breaker", group=FABRIC, help="Paths that are left alone while they keep failing.", version_flags=())
app.command(breaker)
breaker.command("ops.cli.breaker:list_breakers", name="list", help="List the breakers and how they stand.")
breaker.command("ops.cli.breaker:force", name="force", help="Open or close a breaker by hand; recorded.")
