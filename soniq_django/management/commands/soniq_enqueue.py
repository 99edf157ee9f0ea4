"""``manage.py soniq_enqueue``: enqueue one job from a shell."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from soniq.ids import uuid7_text
from soniq.job_options import EnqueueOptions
from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.options import add_database, add_json, duration, instant, json_object
from soniq_django.commands.places import place


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Enqueue a job by its name, and print its id. Name and arguments are checked against the code as "
        "in any other enqueue. Exit code 0: enqueued, or a live job has the same unique key, whose id is "
        "printed then; 1: refused, nothing was written; 2: the database could not be asked."
    )
    examples = """
        soniq_enqueue shop.jobs.rebuild_index
        soniq_enqueue shop.jobs.send_receipt --args '{"order_id": 1}' --queue emails --priority 10
        soniq_enqueue shop.jobs.ask_for_review --args '{"order_id": 1}' --in 7d
        soniq_enqueue shop.jobs.close_books --at 2026-12-31T23:00 --dedup-key books-2026
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("name", metavar="NAME", help="the job's name, such as shop.jobs.send_receipt")
        parser.add_argument(
            "--args",
            dest="arguments",
            default="{}",
            metavar="JSON",
            help='its arguments as a JSON object, as they are stored: a UUID as {"$uuid": "..."}; '
            "- reads it from the standard input (default: {})",
        )
        parser.add_argument("--queue", metavar="NAME", help="default: that of the job")
        parser.add_argument(
            "--priority", type=int, metavar="N", help="0 to 1000, lower first (default: that of the job)"
        )
        when = parser.add_mutually_exclusive_group()
        when.add_argument(
            "--at",
            type=instant,
            metavar="TIME",
            help="not before: 2026-05-01T09:00, in the project's time zone unless it names its own",
        )
        when.add_argument(
            "--in",
            dest="delay",
            type=duration,
            metavar="DURATION",
            help="not before so long from now: seconds, or 15min, 2h, 7d",
        )
        parser.add_argument(
            "--dedup-key", metavar="KEY", help="not while a job with the same name and this key is live"
        )
        parser.add_argument(
            "--unique",
            action="store_true",
            default=None,
            help="not while a job with the same name and arguments is live",
        )
        add_json(parser, 'one JSON object: {"id": …, "enqueued": …}')
        add_database(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Enqueue, and print the id."""
        producer = place(options["database"]).app.producer
        arguments = json_object("--args", options["arguments"])
        before = uuid7_text()
        job_id = producer.enqueue_stored(
            options["name"],
            arguments,
            EnqueueOptions(
                queue=options["queue"],
                priority=options["priority"],
                scheduled_at=options["delay"] if options["at"] is None else options["at"],
                unique=options["unique"],
                dedup_key=options["dedup_key"],
            ),
        )
        enqueued = job_id > before  # ids of a process grow; that of a job which was there before is smaller
        if options["json"]:
            self.stdout.write(json.dumps({"id": job_id, "enqueued": enqueued}))
            return
        self.stdout.write(job_id)
        if not enqueued and options["verbosity"] > 0:
            self.stderr.write("nothing was enqueued: this live job has the same unique key")
