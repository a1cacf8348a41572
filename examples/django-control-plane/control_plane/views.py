"""The contract: docs/control-plane.md."""

import json
from functools import wraps

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare

from .models import Connection, Job, Run

PAGE = 100


def refused(status: int, message: str) -> JsonResponse:
    return JsonResponse({"error": {"message": message}}, status=status)


def endpoint(method: str):
    """Checks method and token, and reads the body."""

    def wrap(view):
        @wraps(view)
        def checked(request: HttpRequest, **path) -> HttpResponse:
            if request.method != method:
                return refused(405, f"use {method}")
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            expected = settings.TRANSLOAD_TOKEN
            if kind != "Bearer" or not expected or not constant_time_compare(token, expected):
                return refused(401, "wrong token")
            if method == "GET":
                return view(request, **path)
            try:
                body = json.loads(request.body)
                known = Job.objects.filter(pk=int(body["job_id"])).exists()
            except (KeyError, TypeError, ValueError):
                return refused(400, "the body is not what the contract says")
            if not known:
                return refused(422, "there is no such job")
            return view(request, body=body, **path)

        checked.csrf_exempt = True
        return checked

    return wrap


def answer(chosen: list[Job], next_page: str | None = None) -> JsonResponse:
    names = {name for job in chosen for name in job.connections()}
    connections = Connection.objects.filter(name__in=names)
    return JsonResponse(
        {
            "jobs": [{"id": str(job.pk), "document": {**job.document, "enabled": job.enabled}} for job in chosen],
            "connections": [{**connection.document, "name": connection.name} for connection in connections],
            "next_page": next_page,
        }
    )


def number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


@endpoint("GET")
def jobs(request: HttpRequest) -> HttpResponse:
    chosen = Job.objects.order_by("pk")
    if ids := request.GET.getlist("id"):
        chosen = chosen.filter(pk__in=[pk for text in ids if (pk := number(text)) is not None])
    if request.GET.get("enabled") == "true":
        chosen = chosen.filter(enabled=True)
    # Pages by key, so that a job that comes or goes meanwhile moves no other.
    if (after := number(request.GET.get("page", "0"))) is None:
        return refused(400, "no such page")
    page = list(chosen.filter(pk__gt=after)[: PAGE + 1])
    return answer(page[:PAGE], str(page[PAGE - 1].pk) if len(page) > PAGE else None)


@endpoint("GET")
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    chosen = Job.objects.filter(pk=number(job_id)).first()
    return answer([chosen]) if chosen else refused(404, f"there is no job {job_id}")


@endpoint("PUT")
def progress(request: HttpRequest, run_id, body: dict) -> HttpResponse:
    with transaction.atomic():
        run, _ = Run.objects.select_for_update().get_or_create(run_id=run_id, defaults={"job_id": int(body["job_id"])})
        if run.end is None:  # what comes after the report is late
            run.progress = body["progress"] if "progress" in body else None
            run.save()
    return JsonResponse({"cancel": run.cancel})


@endpoint("PUT")
def report(request: HttpRequest, run_id, body: dict) -> HttpResponse:
    with transaction.atomic():
        run, _ = Run.objects.select_for_update().get_or_create(run_id=run_id, defaults={"job_id": int(body["job_id"])})
        if run.end is None:
            run.end = body
            run.save()
            return HttpResponse(status=201)
    # Sent again: its answer was lost. The very same report is nothing new.
    return HttpResponse(status=204) if run.end == body else refused(409, "another report has this id")
