"""The command line: start workers, look at jobs, change them. The top layer; nothing imports it.

Each module holds one group of commands. What they share is finding the app (`load`), putting things on the
screen (`render`) and turning every error into one sentence (`program`).
"""

from .beat_command import beat
from .crawl_command import crawl
from .export_command import export
from .job_commands import cancel, jobs, purge, retry
from .migrate_command import migrate
from .move_command import move_command
from .page_commands import check, fetch, parse, shell, view
from .plan_command import plan
from .program import program as main
from .queue_commands import pause, resume, status
from .schedule_commands import schedules
from .stop_command import stop
from .up_command import up
from .worker_command import worker

for _command in (
    worker, beat, up, stop, export, status, jobs, retry, cancel, purge, pause, resume, schedules, move_command, migrate,
    plan, crawl, shell, fetch, view, parse, check,
):  # fmt: skip
    main.add_command(_command)

__all__ = ["main"]
