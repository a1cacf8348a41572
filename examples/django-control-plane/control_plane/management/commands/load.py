"""`python manage.py load FILE`: connections and jobs of a file `{"connections": [...], "jobs": [...]}`."""

import json
from pathlib import Path

from django.core.management.base import BaseCommand

from control_plane.models import Connection, Job


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **options):
        content = json.loads(file.read_text())
        for document in content["connections"]:
            Connection.objects.update_or_create(name=document["name"], defaults={"document": document})
        for document in content["jobs"]:
            Job.objects.create(document=document, enabled=document.get("enabled", True))
