"""The four paths of the contract: docs/reference/control-plane.openapi.json."""

from django.urls import path

from . import views

urlpatterns = [
    path("v1/jobs", views.jobs),
    path("v1/jobs/<str:job_id>", views.job),
    path("v1/runs/<uuid:run_id>/progress", views.progress),
    path("v1/runs/<uuid:run_id>/report", views.report),
]
