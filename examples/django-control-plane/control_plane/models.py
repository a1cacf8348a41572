"""What a control plane owns: connections, jobs, and the history of runs."""

from django.db import models


class Connection(models.Model):
    """A connection document. Its `credentials` are a reference; no secret is kept here."""

    name = models.CharField(max_length=200, unique=True)
    document = models.JSONField()


class Job(models.Model):
    """A job document."""

    document = models.JSONField()
    enabled = models.BooleanField(default=True)

    def connections(self) -> list[str]:
        return [self.document["source"]["connection"], self.document["destination"]["connection"]]


class Run(models.Model):
    """One run, under the id that the engine made. It is there from its first progress or its report on."""

    run_id = models.UUIDField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="runs")
    progress = models.JSONField(null=True)
    # Set here to stop the run; the engine learns of it with its next progress.
    cancel = models.BooleanField(default=False)
    end = models.JSONField(null=True)
    seen_at = models.DateTimeField(auto_now=True)
