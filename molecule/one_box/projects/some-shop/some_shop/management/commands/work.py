"""A worker as queues have them: one job after the other, and a request to stop is obeyed between two jobs."""

import signal
import time

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Say what it does, for the journal."""

    def add_arguments(self, parser):
        """Take the length of a job, and a text to say."""
        parser.add_argument("--seconds", type=float, default=1)
        parser.add_argument("--say", default="")

    def handle(self, **options):
        """Work until told to stop."""
        self.stopping = False
        signal.signal(signal.SIGTERM, self.stop)
        self.stdout.write(f"says {options['say']}")
        while not self.stopping:
            self.stdout.write(f"starts a job with {settings.GREETING}")
            end = time.monotonic() + options["seconds"]
            while (left := end - time.monotonic()) > 0:
                time.sleep(left)
            self.stdout.write(f"ends a job with {settings.GREETING}")

    def stop(self, _signal, _frame):
        """Remember that this job is the last one."""
        self.stopping = True
